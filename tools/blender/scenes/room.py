"""The shell of a room and what belongs to its walls: windows, curtains, doors, pictures, switches."""

import itertools
import math
import random

import bpy
import numpy as np

from . import art
from . import materials as m
from .kit import box, cylinder, fbm, group, lathe, mesh, panel, place, surface, tube

WHITE = (0.83, 0.81, 0.77)


class Room:
    """A box of a room: x in -w/2..w/2, y in 0..d, z in 0..h; the camera stands near y = 0."""

    def __init__(self, w, d, h, wall, floor, ceiling=None, trim=None, openings=None):
        self.w, self.d, self.h = w, d, h
        self.trim = trim or m.plain(WHITE, 0.4)
        mesh("floor", [(-w / 2, 0, 0), (w / 2, 0, 0), (w / 2, d, 0), (-w / 2, d, 0)], [(0, 1, 2, 3)], floor)
        mesh(
            "ceiling",
            [(-w / 2, 0, h), (w / 2, 0, h), (w / 2, d, h), (-w / 2, d, h)],
            [(3, 2, 1, 0)],
            ceiling or m.paint((0.86, 0.85, 0.82)),
        )
        openings = openings or {}
        for side in ("back", "left", "right", "front"):
            self._wall(side, wall, openings.get(side, []))

    def side(self, name):
        """A group in a wall's frame: x runs right and y outwards when facing the wall, y = 0 on its face."""
        loc, rot = {
            "back": ((0, self.d, 0), 0),
            "left": ((-self.w / 2, self.d / 2, 0), 90),
            "right": ((self.w / 2, self.d / 2, 0), -90),
            "front": ((0, 0, 0), 180),
        }[name]
        return group(name, loc, rot)

    def _wall(self, side, mat, openings):
        length = self.w if side in ("back", "front") else self.d
        xs = sorted({-length / 2, length / 2, *[v for o in openings for v in o[:2]]})
        zs = sorted({0, self.h, *[v for o in openings for v in o[2:]]})
        verts, faces = [], []
        for x0, x1 in itertools.pairwise(xs):
            for z0, z1 in itertools.pairwise(zs):
                if any(o[0] <= x0 and x1 <= o[1] and o[2] <= z0 and z1 <= o[3] for o in openings):
                    continue
                k = len(verts)
                verts += [(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)]
                faces.append((k, k + 1, k + 2, k + 3))
        with self.side(side):
            mesh("wall", verts, faces, mat)
            start = -length / 2
            for x0, x1 in sorted([o[:2] for o in openings if o[2] < 0.05] + [(length / 2, length / 2)]):
                if x0 - start > 0.02:
                    box(self.trim, (x0 - start, 0.016, 0.09), ((x0 + start) / 2, -0.008, 0), bevel=0.004)
                start = x1


def area_light(loc, size, watts, rgb=(1, 1, 1), rot=(0, 0, 0), visible=False):
    """A rectangular light, pointing down unless turned."""
    data = bpy.data.lights.new("area", "AREA")
    data.shape, data.size, data.size_y, data.energy, data.color = "RECTANGLE", size[0], size[1], watts, rgb
    obj = bpy.data.objects.new("area", data)
    bpy.context.scene.collection.objects.link(obj)
    obj.visible_camera = visible
    return place(obj, loc, rot)


def window(room, side, x0, x1, z0, z1, strength=5.0, bars=2, seed=3, sill=True):
    """A casement with a bright view behind it; give the Room the same opening."""
    w, h, cx = x1 - x0, z1 - z0, (x0 + x1) / 2
    t = room.trim
    with room.side(side):
        for x in (x0, x1):
            box(t, (0.08, 0.03, h + 0.16), (x + (0.04 if x == x1 else -0.04), -0.012, z0 - 0.08))
            box(t, (0.02, 0.16, h), (x, 0.08, z0), bevel=0)
            box(t, (0.05, 0.05, h), (x + (-0.025 if x == x1 else 0.025), 0.1, z0))
        for z in (z0 - 0.08, z1):
            box(t, (w + 0.2, 0.032, 0.08), (cx, -0.012, z))
        for z in (z0, z1 - 0.05):
            box(t, (w, 0.05, 0.05), (cx, 0.1, z))
            box(t, (w, 0.16, 0.02), (cx, 0.08, z if z == z0 else z1), bevel=0)
        for k in range(1, bars):
            box(t, (0.05, 0.05, h), (x0 + w * k / bars, 0.1, z0))
        box(t, (w, 0.03, 0.03), (cx, 0.1, z0 + h * 0.62))
        if sill:
            box(t, (w + 0.2, 0.16, 0.03), (cx, -0.05, z0 - 0.03))
        view = panel(
            m.image(art.outside(seed), emission=strength, no_return=m.NEVER),
            (w * 1.6, h * 1.6),
            (cx, 0.45, z0 - h * 0.3),
        )
        view.visible_shadow = False
        pane = panel(m.glass(), (w, h), (cx, 0.1, z0))
        pane.visible_shadow = False


def daylight(room, side, x, z, size, watts, rgb=(0.85, 0.93, 1.0)):
    """A soft light just inside a window, shining into the room."""
    with room.side(side) as g:
        lamp = area_light((x, -0.12, z), size, watts, rgb, (-90, 0, 0))
        lamp.parent = g


def curtain(mat, width, height, loc, folds=7, depth=0.045, seed=0, gather=0.0):
    """A hanging curtain with folds; gather pulls its foot to one side."""

    def shape(u, v):
        amp = depth * (0.55 + 0.45 * (1 - v)) * (1 + 0.5 * fbm((u * 3, v * 0.6, 0), 1.0, seed))
        phase = 2 * math.pi * folds * (u + 0.05 * fbm((u * 2, v * 1.2, 1), 1.0, seed + 5))
        pull = gather * (1 - v) ** 1.5
        x = (u - 0.5) * width * (1 + 0.05 * (1 - v)) + pull * (0.5 - u)
        return x, amp * math.sin(phase) - 0.3 * depth * math.cos(2 * phase + 3 * v), v * height

    return surface(mat, shape, folds * 14, 26, loc, thickness=0.004)


def curtain_rail(mat, width, loc):
    """A rod with knobs at its ends."""
    x, y, z = loc
    tube(mat, [(x - width / 2, y, z), (x, y, z), (x + width / 2, y, z)], 0.014, smooth=False)
    for s in (-1, 1):
        lathe(
            mat,
            [(0, -0.03), (0.025, -0.015), (0.028, 0), (0.025, 0.015), (0, 0.03)],
            (x + s * width / 2, y, z),
        )


def blinds(mat, width, height, loc, tilt=35, gap=0.028):
    """Horizontal slats hanging from loc's z."""
    x, y, z = loc
    box(mat, (width, 0.05, 0.045), (x, y, z - 0.045))
    n = int((height - 0.06) / gap)
    for k in range(n):
        box(mat, (width - 0.01, 0.026, 0.0016), (x, y, z - 0.06 - k * gap), (tilt, 0, 0), bevel=0)
    box(mat, (width, 0.03, 0.015), (x, y, z - height))
    for s in (-0.35, 0, 0.35):
        tube(
            mat, [(x + s * width, y - 0.016, z), (x + s * width, y - 0.016, z - height)], 0.002, smooth=False
        )


def door(
    mat, loc, width=0.86, height=2.03, handle=None, trim=None, angle=0, panels=((0.16, 0.62), (0.86, 1.04))
):
    """A panelled door leaf in its frame, in a wall's frame; hinged left."""
    trim = trim or m.plain(WHITE, 0.4)
    handle = handle or m.plain((0.6, 0.55, 0.45), 0.25, 1.0, True)
    with group("door", loc):
        for s in (-1, 1):
            box(trim, (0.09, 0.05, height + 0.09), (s * (width / 2 + 0.045), -0.015, 0))
        box(trim, (width + 0.22, 0.055, 0.09), (0, -0.015, height))
        with group("leaf", (-width / 2, -0.005, 0), angle):
            cx = width / 2
            box(mat, (width, 0.03, height - 0.01), (cx, 0, 0.008))
            for z, h in panels:
                for s in (-1, 1):
                    x = cx + s * width * 0.22
                    frame_rect(mat, width * 0.32, h, (x, -0.018, z), 0.022, 0.016)
                    box(mat, (width * 0.32 - 0.09, 0.02, h - 0.09), (x, -0.012, z + 0.045), bevel=0.008)
            lathe(
                handle,
                [
                    (0, 0),
                    (0.028, 0),
                    (0.028, 0.008),
                    (0.011, 0.014),
                    (0.011, 0.04),
                    (0.026, 0.05),
                    (0.029, 0.065),
                    (0.02, 0.08),
                    (0, 0.083),
                ],
                (width - 0.07, -0.015, 0.98),
                (90, 0, 0),
            )


def frame_rect(mat, w, h, loc, bar=0.03, depth=0.025):
    """A rectangular frame of four bars standing on loc."""
    x, y, z = loc
    for s in (-1, 1):
        box(mat, (bar, depth, h), (x + s * (w - bar) / 2, y, z), bevel=0.004)
    for dz in (0, h - bar):
        box(mat, (w - 2 * bar, depth, bar), (x, y, z + dz), bevel=0.004)


def picture(array, w, loc, frame=None, bar=0.03, mat_border=0.14):
    """A framed picture hanging on a wall, its lower edge at loc."""
    frame = frame or m.plain((0.05, 0.04, 0.035), 0.4)
    if mat_border:
        array = art.matted(array, mat_border)
    h = w * array.shape[0] / array.shape[1]
    x, y, z = loc
    panel(m.image(array, 0.25), (w, h), (x, y - 0.012, z))
    frame_rect(frame, w + 2 * bar * 0.8, h + 2 * bar * 0.8, (x, y - 0.014, z - bar * 0.8), bar, 0.028)


def mirror(w, h, loc, frame, bar=0.05):
    """A framed mirror."""
    x, y, z = loc
    panel(m.plain((0.9, 0.9, 0.9), 0.02, 1.0, True), (w, h), (x, y - 0.015, z))
    frame_rect(frame, w + bar * 1.6, h + bar * 1.6, (x, y - 0.018, z - bar * 0.8), bar, 0.036)


def switch(loc, socket=False):
    """A light switch or a wall socket plate."""
    plate = m.plain((0.85, 0.84, 0.8), 0.35)
    x, y, z = loc
    box(plate, (0.075, 0.012, 0.115), (x, y - 0.005, z), bevel=0.004)
    if socket:
        for dz in (0.03, 0.07):
            box(m.plain((0.2, 0.2, 0.2)), (0.03, 0.004, 0.018), (x, y - 0.0125, z + dz), bevel=0.002)
    else:
        box(plate, (0.014, 0.02, 0.03), (x, y - 0.01, z + 0.043), (20, 0, 0), bevel=0.003)


def ceiling_lamp(room, loc=(0, 2), watts=60, rgb=(1, 0.86, 0.68)):
    """A round opal ceiling fitting with a soft light below it."""
    x, y = loc
    lathe(m.glow((1, 0.9, 0.75), 6.0), [(0, -0.1), (0.1, -0.09), (0.16, -0.05), (0.18, 0)], (x, y, room.h))
    cylinder(m.plain((0.7, 0.65, 0.55), 0.3, 1.0), 0.19, 0.02, (x, y, room.h - 0.02))
    area_light((x, y, room.h - 0.13), (0.5, 0.5), watts, rgb)


def rug(mat, w, d, loc, rot=0, border=None, seed=0, fringe=True):
    """A rug lying on the floor with slightly wavy edges."""

    def shape(u, v):
        x, y = (u - 0.5) * w, (v - 0.5) * d
        return (
            x + 0.012 * fbm((y, 0, 1), 3, seed),
            y + 0.012 * fbm((x, 2, 0), 3, seed),
            0.008 + 0.004 * fbm((x, y, 0), 2.5, seed),
        )

    with group("rug", loc, rot):
        surface(mat, shape, 40, 30, thickness=0.008)
        rng = random.Random(seed)
        if fringe:
            for s in (-1, 1):
                for k in np.linspace(-d / 2, d / 2, 60):
                    box(
                        border or mat,
                        (0.06, 0.008, 0.004),
                        (s * (w / 2 + 0.025), k, 0.006),
                        (0, 0, rng.uniform(-15, 15)),
                        bevel=0,
                    )
