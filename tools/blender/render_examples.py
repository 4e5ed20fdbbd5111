"""Render the example inputs: furnished rooms as seen by a Kinect (RGB and depth), with Blender's bpy.

    pip install bpy numpy opencv-python-headless    # Python 3.11; not needed by the demo itself
    python tools/blender/render_examples.py --scene bedroom --samples 24 --out assets/examples

Everything is modelled and textured in code (tools/blender/scenes), so the images are free to use.
Each scene gives NAME_rgb.png (8-bit) and NAME_depth.png (16-bit millimetres, 0 = no measurement).
NAME_event.png beside them is an event frame, simulated from NAME_rgb.png (seed 0, no margin) and renamed:

    python -m training.simulate_events --rgb "assets/examples/*_rgb.png" --out events
"""

import argparse
import importlib
import math
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
import bpy
import cv2
import numpy as np
from mathutils import Matrix, Vector

sys.path.insert(0, str(Path(__file__).resolve().parent))
from scenes import kinect, materials

SCENES = ("bedroom", "living_room", "office", "kitchen")


def setup(width, samples, threads):
    """Set up an empty scene with Cycles on the CPU, denoising and a filmic view transform."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    for value in vars(materials).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = width, width * 3 // 4
    scene.render.threads_mode, scene.render.threads = "FIXED", threads
    cycles = scene.cycles
    cycles.samples, cycles.seed, cycles.use_denoising = samples, 7, True
    cycles.use_adaptive_sampling, cycles.adaptive_threshold = True, 0.02
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 7, 5, 3
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4.0
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"
    world = scene.world = bpy.data.worlds.new("world")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs[0].default_value = (0.75, 0.85, 1.0, 1.0)
    world.node_tree.nodes["Background"].inputs[1].default_value = 0.6
    return scene


def add_camera(scene, loc, target, roll=0.0, exposure=0.0):
    """A Kinect-like camera at loc looking at target."""
    data = bpy.data.cameras.new("kinect")
    data.sensor_width, data.lens = 36.0, 36.0 * kinect.FX / 640
    data.clip_start, data.clip_end = 0.02, 50.0
    cam = bpy.data.objects.new("kinect", data)
    scene.collection.objects.link(cam)
    turn = (Vector(target) - Vector(loc)).to_track_quat("-Z", "Y").to_matrix().to_4x4()
    cam.matrix_world = Matrix.Translation(loc) @ turn @ Matrix.Rotation(math.radians(roll), 4, "Z")
    scene.camera = cam
    scene.view_settings.exposure = exposure
    return cam


def add_passes(scene, folder):
    """Write depth, normal and material index next to the picture as float images."""
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_normal = layer.use_pass_material_index = True
    tree = scene.compositing_node_group = bpy.data.node_groups.new("passes", "CompositorNodeTree")
    source = tree.nodes.new("CompositorNodeRLayers")
    for name, kind in (("Depth", "FLOAT"), ("Normal", "RGBA"), ("Material Index", "FLOAT")):
        sink = tree.nodes.new("CompositorNodeOutputFile")
        sink.directory, sink.file_name = str(folder), name.split()[0].lower()
        sink.format.media_type = "IMAGE"
        sink.format.file_format, sink.format.color_depth = "OPEN_EXR", "32"
        sink.file_output_items.new(kind, "_")
        tree.links.new(source.outputs[name], sink.inputs["_"])


def read(folder, name):
    """The float image (h, w, 3) a pass was written to."""
    path = next(p for p in Path(folder).iterdir() if p.name.startswith(name))
    img = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return img[..., 2::-1]


def incidence(normal, cam, fx):
    """Cosine of the angle between each pixel's ray and the surface normal."""
    h, w = normal.shape[:2]
    yy, xx = np.mgrid[0:h, 0:w]
    rays = np.dstack([(xx + 0.5 - w / 2) / fx, -(yy + 0.5 - h / 2) / fx, -np.ones((h, w))])
    rays = rays / np.linalg.norm(rays, axis=2, keepdims=True) @ np.array(cam.matrix_world.to_3x3()).T
    return np.abs((rays * normal[..., :3]).sum(2))


def render(name, out, samples=24, width=640, threads=1, raw=False):
    """Build and render one scene into out/NAME_rgb.png and out/NAME_depth.png."""
    start = time.time()
    scene = setup(width, samples, threads)
    module = importlib.import_module("scenes." + name)
    module.build()
    cam = add_camera(scene, **module.CAMERA)
    built = time.time()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        add_passes(scene, folder)
        scene.render.filepath = str(Path(folder) / "view.png")
        bpy.ops.render.render(write_still=True)
        rgb = cv2.imread(scene.render.filepath)[..., ::-1]
        z, normal, index = (read(folder, n) for n in ("depth", "normal", "material"))
    cos = incidence(normal, cam, kinect.FX * width / 640)
    depth = kinect.depth(z[..., 0], cos, np.round(index[..., 0]), seed=11)
    if not raw:
        rgb = kinect.colour(rgb, seed=5)
    cv2.imwrite(
        str(out / f"{name}_rgb.png"), np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 9]
    )
    cv2.imwrite(str(out / f"{name}_depth.png"), depth, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(
        f"{name}: built in {built - start:.0f} s, rendered in {time.time() - built:.0f} s, "
        f"{(depth == 0).mean():.1%} of the depth missing"
    )
    return z[..., 0], cam


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", choices=SCENES, help="one scene (default: all)")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument(
        "--width", type=int, default=640, help="image width; the height is three quarters of it"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--raw", action="store_true", help="do not simulate the colour camera")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parents[2] / "assets" / "examples"
    )
    args = parser.parse_args()
    for name in [args.scene] if args.scene else SCENES:
        render(name, args.out, args.samples, args.width, args.threads, args.raw)


if __name__ == "__main__":
    main()
