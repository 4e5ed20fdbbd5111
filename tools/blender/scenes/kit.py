"""A small modelling kit on top of bpy: boxes, lathes, tubes, cushions and draped cloth.

Lengths are metres, angles degrees, z points up. A material may be a tuple of three (grain along x, y, z).
"""

import math
import random
from contextlib import contextmanager

import bpy
import numpy as np
from mathutils import Vector, noise

_parents = []


@contextmanager
def group(name, loc=(0, 0, 0), rot=0.0):
    """Collect the objects made inside the block, then place them together."""
    empty = bpy.data.objects.new(name, None)
    _link(empty)
    _parents.append(empty)
    try:
        yield empty
    finally:
        _parents.pop()
    empty.location = loc
    empty.rotation_euler.z = math.radians(rot)


def _link(obj):
    bpy.context.scene.collection.objects.link(obj)
    if _parents:
        obj.parent = _parents[-1]
    return obj


def place(obj, loc=(0, 0, 0), rot=(0, 0, 0)):
    """Set location and rotation (degrees); returns the object."""
    obj.location = loc
    obj.rotation_euler = [math.radians(a) for a in rot]
    return obj


def mesh(name, verts, faces, mat, smooth=False, uvs=None):
    """Make an object from lists; uvs holds one pair per vertex."""
    data = bpy.data.meshes.new(name)
    data.from_pydata([tuple(map(float, v)) for v in verts], [], [tuple(map(int, f)) for f in faces])
    data.materials.append(mat[2] if isinstance(mat, tuple) else mat)
    if smooth:
        data.shade_smooth()
        data.set_sharp_from_angle(angle=math.radians(40))
    if uvs is not None:
        layer = data.uv_layers.new()
        for loop in data.loops:
            layer.data[loop.index].uv = uvs[loop.vertex_index]
    return _link(bpy.data.objects.new(name, data))


def box(mat, size, loc=(0, 0, 0), rot=(0, 0, 0), bevel=0.006):
    """A bevelled box centred on loc in x and y and standing on loc's z."""
    sx, sy, sz = size[0] / 2, size[1] / 2, size[2]
    verts = [(x, y, z) for z in (0, sz) for y in (-sy, sy) for x in (-sx, sx)]
    faces = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    if isinstance(mat, tuple):
        mat = mat[int(np.argmax(size))]
    obj = place(mesh("box", verts, faces, mat), loc, rot)
    if bevel:
        mod = obj.modifiers.new("Bevel", "BEVEL")
        mod.width, mod.segments = min(bevel, min(size) * 0.4), 2
    return obj


def panel(mat, size, loc=(0, 0, 0), rot=(0, 0, 0)):
    """An upright rectangle in the xz plane, facing -y, with UVs for an image material."""
    w, h = size[0] / 2, size[1]
    verts = [(-w, 0, 0), (w, 0, 0), (w, 0, h), (-w, 0, h)]
    return place(mesh("panel", verts, [(0, 1, 2, 3)], mat, uvs=[(0, 0), (1, 0), (1, 1), (0, 1)]), loc, rot)


def sheet_faces(nu, nv):
    """Quads of a grid whose vertices run u fastest."""
    return [
        (j * nu + i, j * nu + i + 1, (j + 1) * nu + i + 1, (j + 1) * nu + i)
        for j in range(nv - 1)
        for i in range(nu - 1)
    ]


def surface(mat, func, nu, nv, loc=(0, 0, 0), rot=(0, 0, 0), thickness=0.0):
    """A smooth sheet func(u, v) -> (x, y, z) sampled over the unit square."""
    uv = [(u, v) for v in np.linspace(0, 1, nv) for u in np.linspace(0, 1, nu)]
    obj = place(mesh("sheet", [func(u, v) for u, v in uv], sheet_faces(nu, nv), mat, True, uv), loc, rot)
    if thickness:
        solidify(obj, thickness)
    return obj


def solidify(obj, thickness):
    """Give a sheet some thickness and round it off."""
    mod = obj.modifiers.new("Solidify", "SOLIDIFY")
    mod.thickness, mod.offset = thickness, 1.0
    mod = obj.modifiers.new("Subsurf", "SUBSURF")
    mod.levels = mod.render_levels = 1


def lathe(mat, profile, loc=(0, 0, 0), rot=(0, 0, 0), segments=28):
    """Revolve [(radius, z), ...] about the z axis."""
    verts, n = [], segments
    for r, z in profile:
        for k in range(n):
            a = 2 * math.pi * k / n
            verts.append((max(r, 1e-4) * math.cos(a), max(r, 1e-4) * math.sin(a), z))
    faces = [
        (j * n + k, j * n + (k + 1) % n, (j + 1) * n + (k + 1) % n, (j + 1) * n + k)
        for j in range(len(profile) - 1)
        for k in range(n)
    ]
    return place(mesh("lathe", verts, faces, mat, True), loc, rot)


def cylinder(mat, r, h, loc=(0, 0, 0), rot=(0, 0, 0), r2=None, segments=24):
    """A closed cylinder or cone frustum standing on loc."""
    r2 = r if r2 is None else r2
    e = min(0.004, 0.2 * h, 0.3 * max(r, r2))
    return lathe(mat, [(0, 0), (r - e, 0), (r, e), (r2, h - e), (r2 - e, h), (0, h)], loc, rot, segments)


def tube(mat, points, r=0.01, loc=(0, 0, 0), rot=(0, 0, 0), smooth=True):
    """A round tube through the points."""
    curve = bpy.data.curves.new("tube", "CURVE")
    curve.dimensions, curve.bevel_depth, curve.bevel_resolution = "3D", r, 3
    curve.use_fill_caps, curve.resolution_u = True, 8
    spline = curve.splines.new("BEZIER" if smooth else "POLY")
    items = spline.bezier_points if smooth else spline.points
    items.add(len(points) - 1)
    for item, p in zip(items, points):
        if smooth:
            item.co, item.handle_left_type, item.handle_right_type = p, "AUTO", "AUTO"
        else:
            item.co = (*p, 1.0)
    curve.materials.append(mat[2] if isinstance(mat, tuple) else mat)
    return place(_link(bpy.data.objects.new("tube", curve)), loc, rot)


def fbm(p, scale, seed=0.0, octaves=3):
    """Smooth fractal noise, about -1..1."""
    return noise.fractal(Vector((p[0] * scale + seed, p[1] * scale - seed, p[2] * scale)), 1.0, 2.0, octaves)


def _cube_sphere(n):
    """Vertices and quads of a cube surface with n x n cells a side, in [-1, 1]^3, shared edges merged."""
    index, verts, faces = {}, [], []

    def vertex(p):
        key = tuple(round(c * n) for c in p)
        if key not in index:
            index[key] = len(verts)
            verts.append(p)
        return index[key]

    ticks = np.linspace(-1, 1, n + 1)
    for axis in range(3):
        for sign in (-1, 1):
            for i in range(n):
                for j in range(n):
                    quad = []
                    for a, b in ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)):
                        p = [0.0, 0.0, 0.0]
                        p[axis], p[(axis + 1) % 3], p[(axis + 2) % 3] = sign, ticks[a], ticks[b]
                        quad.append(vertex(tuple(p)))
                    faces.append(quad if sign > 0 else quad[::-1])
    return verts, faces


def cushion(mat, size, loc=(0, 0, 0), rot=(0, 0, 0), puff=0.12, wrinkle=0.012, seed=0, power=7.0):
    """An upholstered block: a rounded box, puffed up in the middle and slightly wrinkled; stands on loc."""
    verts, faces = _cube_sphere(22)
    half, out = np.array(size) / 2, []
    for p in np.array(verts):
        r = (np.abs(p) ** power).sum() ** (1 / power)
        q = p / r
        grow = 1 + puff * np.array(
            [
                (1 - q[1] ** 2) * (1 - q[2] ** 2),
                (1 - q[0] ** 2) * (1 - q[2] ** 2),
                2.2 * (1 - q[0] ** 2) * (1 - q[1] ** 2),
            ]
        )
        w = q * grow * half
        w += q / np.linalg.norm(q) * wrinkle * (fbm(w, 5.0, seed * 7.1) + 0.5 * fbm(w, 13.0, seed * 3.3))
        out.append(w + (0, 0, half[2]))
    return place(mesh("cushion", out, faces, mat, True), loc, rot)


def pillow(mat, size, loc=(0, 0, 0), rot=(0, 0, 0), seed=0):
    """A stuffed pillow (width, depth, thickness) with pinched corners, lying flat, centred on loc."""
    n, verts, uvs = 36, [], []
    for side in (1, -1):
        for v in np.linspace(-1, 1, n):
            for u in np.linspace(-1, 1, n):
                t = max((1 - u**4) * (1 - v**4), 0.0) ** 0.55
                x = u * (1 - 0.07 * (1 - v * v) * u * u) * size[0] / 2
                y = v * (1 - 0.07 * (1 - u * u) * v * v) * size[1] / 2
                edge = abs(u) ** 3 + abs(v) ** 3
                dent = 0.16 * fbm((u, v, side), 1.3, seed) + 0.07 * fbm((u, v, side), 5.0, seed) * (
                    0.4 + edge
                )
                crease = 0.05 * math.sin(9 * math.atan2(v, u) + seed) * min(edge, 1.0)
                verts.append((x, y, side * size[2] / 2 * t * (1 + dent + crease)))
                uvs.append((u * size[0], v * size[1]))
    quads = sheet_faces(n, n)
    obj = mesh("pillow", verts, quads + [tuple(i + n * n for i in f[::-1]) for f in quads], mat, True, uvs)
    mod = obj.modifiers.new("Weld", "WELD")
    mod.merge_threshold = 0.002
    return place(obj, loc, rot)


def drape(
    mat, size, loc, colliders, frames=45, cells=56, stiffness=6.0, rot=0.0, thickness=0.012, seed=0, gap=0.01
):
    """Let a rectangular cloth fall on the colliders with Blender's cloth solver and keep the result."""
    rng = random.Random(seed)
    nu = cells
    nv = max(8, round(cells * size[1] / size[0]))
    a = math.radians(rot)
    verts = []
    for v in np.linspace(-0.5, 0.5, nv):
        for u in np.linspace(-0.5, 0.5, nu):
            x, y = u * size[0], v * size[1]
            z = 0.02 * fbm((x, y, 0), 3.0, seed + 2.5) + rng.uniform(-0.002, 0.002)
            verts.append(
                (
                    loc[0] + x * math.cos(a) - y * math.sin(a),
                    loc[1] + x * math.sin(a) + y * math.cos(a),
                    loc[2] + z,
                )
            )
    uvs = [(u, v) for v in np.linspace(0, 1, nv) for u in np.linspace(0, 1, nu)]
    obj = mesh("cloth", verts, sheet_faces(nu, nv), mat, True, uvs)
    for other in colliders:
        other.modifiers.new("Collision", "COLLISION")
        other.collision.thickness_outer, other.collision.cloth_friction = gap, 25.0
    cloth = obj.modifiers.new("Cloth", "CLOTH")
    cloth.settings.quality, cloth.settings.mass, cloth.settings.air_damping = 6, 0.4, 2.0
    cloth.settings.tension_stiffness = cloth.settings.compression_stiffness = 20
    cloth.settings.bending_stiffness = stiffness
    cloth.collision_settings.distance_min = gap
    cloth.point_cache.frame_start, cloth.point_cache.frame_end = 1, frames
    scene = bpy.context.scene
    for frame in range(1, frames + 1):
        scene.frame_set(frame)
    result = bpy.data.meshes.new_from_object(obj.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    obj.modifiers.clear()
    obj.data = result
    for other in colliders:
        other.modifiers.remove(other.modifiers["Collision"])
    solidify(obj, thickness)
    scene.frame_set(1)
    return obj
