"""Small things: books, cups, plants, boxes, clothes, desk clutter, kitchen ware."""

import math
import random

import numpy as np

from . import art
from . import materials as m
from .kit import box, cushion, cylinder, group, lathe, mesh, panel, surface, tube

COVERS = [
    (0.45, 0.05, 0.04),
    (0.05, 0.1, 0.3),
    (0.04, 0.2, 0.1),
    (0.75, 0.68, 0.5),
    (0.08, 0.07, 0.07),
    (0.7, 0.35, 0.05),
    (0.8, 0.78, 0.74),
    (0.25, 0.1, 0.25),
    (0.1, 0.3, 0.38),
    (0.6, 0.12, 0.1),
    (0.3, 0.2, 0.1),
    (0.85, 0.65, 0.12),
    (0.2, 0.35, 0.5),
    (0.5, 0.5, 0.48),
]
PAPER = (0.78, 0.72, 0.6)


def _tinted(parts, loc, rot=0):
    """One mesh of many boxes [(centre, size, lean degrees about y, rgb)], coloured by attribute."""
    verts, faces, tints = [], [], []
    for (cx, cy, cz), (sx, sy, sz), lean, rgb in parts:
        k, a = len(verts), math.radians(lean)
        for dx, dy, dz in [(x, y, z) for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)]:
            x, z = dx * sx / 2, dz * sz / 2
            verts.append(
                (
                    cx + x * math.cos(a) + z * math.sin(a),
                    cy + dy * sy / 2,
                    cz - x * math.sin(a) + z * math.cos(a),
                )
            )
        for f in [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]:
            faces.append([k + i for i in f])
            tints.append((*rgb, 1.0))
    obj = mesh("books", verts, faces, m.attribute())
    layer = obj.data.attributes.new("tint", "FLOAT_COLOR", "FACE")
    layer.data.foreach_set("color", np.array(tints, dtype=np.float32).ravel())
    obj.location, obj.rotation_euler.z = loc, math.radians(rot)
    return obj


def book_row(width, height, depth, loc, seed=0):
    """Standing books with title bands, from loc to the right, their backs at y = 0; returns the width."""
    rng, parts, x = random.Random(seed), [], 0.0
    series = None
    while True:
        if series is None or rng.random() < 0.72:
            series = (
                rng.uniform(0.014, 0.045),
                rng.uniform(0.62, 0.96) * height,
                rng.uniform(0.6, 0.9),
                rng.choice(COVERS),
            )
        t, h, deep, rgb = series
        if x + t > width:
            break
        rgb = m.dim(rgb, rng.uniform(0.8, 1.25))
        d = min(deep * depth, 0.24)
        lean = rng.choice((0, 0, 0, 0, 0, rng.uniform(4, 9)))
        shift = 0.5 * h * math.sin(math.radians(lean)) * 1.6
        x += shift
        cx, y0 = x + t / 2, -depth + 0.03 + rng.uniform(0, 0.03)
        parts.append(((cx, y0 + d / 2, h / 2), (t, d, h), lean, rgb))
        band = rng.choice([(0.85, 0.8, 0.6), (0.8, 0.65, 0.25), (0.9, 0.9, 0.88), (0.05, 0.05, 0.05)])
        a = math.radians(lean)
        for where, size in rng.choice(
            [((0.28, 0.14), (-0.36, 0.03)), ((0.1, 0.45),), ((0.36, 0.02), (-0.36, 0.02), (0.05, 0.3)), ()]
        ):
            w = t * (0.5 if size > 0.2 else 0.97)
            parts.append(
                (
                    (cx + where * h * math.sin(a), y0 - 0.0005, h / 2 + where * h * math.cos(a)),
                    (w, 0.002, size * h),
                    lean,
                    band,
                )
            )
        x += t + 0.001 + shift * 0.2
    _tinted(parts, loc)
    return x


def book_stack(loc, n=4, seed=0, size=0.22, rot=0):
    """Books lying on top of each other, covers out and pages visible; returns the height."""
    rng, z = random.Random(seed + 100), 0.0
    with group("stack", loc, rot):
        for _ in range(n):
            t, w, d = rng.uniform(0.02, 0.045), size * rng.uniform(0.8, 1.1), size * rng.uniform(0.62, 0.78)
            rgb, turn = rng.choice(COVERS), rng.uniform(-14, 14)
            _tinted(
                [
                    ((0, 0, 0.002), (w, d, 0.004), 0, rgb),
                    ((0, 0, t - 0.002), (w, d, 0.004), 0, rgb),
                    ((0, -d / 2 + 0.002, t / 2), (w, 0.004, t), 0, rgb),
                    ((0, 0.002, t / 2), (w - 0.01, d - 0.01, t - 0.006), 0, PAPER),
                ],
                (0, 0, z),
                turn + (180 if rng.random() < 0.3 else 0),
            )
            z += t
    return z


def mug(loc, rgb=(0.6, 0.1, 0.08), rot=0, size=1.0):
    """A mug with a handle."""
    mat = m.plain(rgb, 0.2, coat=0.5)
    s = size
    with group("mug", loc, rot):
        lathe(
            mat,
            [
                (0, 0),
                (0.036 * s, 0),
                (0.04 * s, 0.006),
                (0.041 * s, 0.095 * s),
                (0.037 * s, 0.095 * s),
                (0.035 * s, 0.01),
                (0, 0.01),
            ],
        )
        tube(
            mat,
            [
                (0.038 * s, 0, 0.075 * s),
                (0.066 * s, 0, 0.07 * s),
                (0.066 * s, 0, 0.03 * s),
                (0.038 * s, 0, 0.02 * s),
            ],
            0.006 * s,
        )


def bottle(loc, rgb=(0.05, 0.2, 0.08), h=0.28, r=0.036, label=None, cap=None, clear=False):
    """A bottle with a label and a cap."""
    mat = m.glass(rgb, 0.02) if clear else m.plain(rgb, 0.2, coat=0.3)
    with group("bottle", loc):
        lathe(
            mat,
            [
                (0, 0),
                (r * 0.95, 0),
                (r, 0.01),
                (r, h * 0.58),
                (r * 0.8, h * 0.68),
                (r * 0.38, h * 0.78),
                (r * 0.36, h * 0.95),
            ],
        )
        cylinder(m.plain(cap or (0.7, 0.7, 0.68), 0.4), r * 0.42, h * 0.07, (0, 0, h * 0.93))
        if label:
            cylinder(m.plain(label, 0.6), r * 1.02, h * 0.3, (0, 0, h * 0.18))


def bowl_of_fruit(loc, rgb=(0.75, 0.72, 0.65)):
    """Apples and oranges in a bowl."""
    rng = random.Random(1)
    with group("bowl", loc):
        lathe(
            m.plain(rgb, 0.25),
            [
                (0, 0),
                (0.06, 0),
                (0.07, 0.012),
                (0.115, 0.05),
                (0.145, 0.085),
                (0.14, 0.086),
                (0.1, 0.045),
                (0, 0.02),
            ],
        )
        for k, rgb_f in enumerate(
            [
                (0.55, 0.05, 0.03),
                (0.85, 0.35, 0.03),
                (0.35, 0.45, 0.05),
                (0.8, 0.3, 0.02),
                (0.6, 0.08, 0.03),
                (0.8, 0.62, 0.08),
            ]
        ):
            a = k * 1.26
            r, z = (0.075, 0.075) if k < 5 else (0.0, 0.12)
            lathe(
                m.plain(rgb_f, 0.35),
                [
                    (0, -0.036),
                    (0.024, -0.031),
                    (0.037, -0.006),
                    (0.035, 0.014),
                    (0.018, 0.033),
                    (0.006, 0.028),
                    (0, 0.024),
                ],
                (r * math.cos(a), r * math.sin(a), z),
                (rng.uniform(-30, 30), rng.uniform(-30, 30), 0),
                20,
            )


def vase_flowers(loc, rgb=(0.2, 0.35, 0.45), petals=(0.8, 0.35, 0.3), seed=0):
    """A vase with a loose bunch of flowers."""
    rng = random.Random(seed)
    stem = m.plain((0.08, 0.22, 0.05), 0.6)
    with group("vase", loc):
        lathe(
            m.plain(rgb, 0.2),
            [
                (0, 0),
                (0.04, 0),
                (0.06, 0.06),
                (0.055, 0.12),
                (0.03, 0.17),
                (0.04, 0.19),
                (0.034, 0.19),
                (0.025, 0.17),
            ],
        )
        for _ in range(11):
            a, r, h = rng.uniform(0, 6.3), rng.uniform(0.03, 0.13), rng.uniform(0.26, 0.4)
            x, y = r * math.cos(a), r * math.sin(a)
            tube(stem, [(0, 0, 0.15), (x * 0.4, y * 0.4, h * 0.7), (x, y, h)], 0.003)
            cushion(
                m.plain(m.dim(petals, rng.uniform(0.8, 1.3)), 0.8),
                (0.055, 0.055, 0.04),
                (x, y, h - 0.02),
                wrinkle=0.012,
                seed=rng.random(),
                power=2,
            )


def plant(loc, h=0.9, n=26, pot=(0.45, 0.2, 0.12), seed=0, leaf=(0.07, 0.22, 0.05)):
    """A house plant: arching stems with bent leaves in a clay pot."""
    rng = random.Random(seed)
    ph = 0.26 * min(1.0, h)
    with group("plant", loc):
        lathe(
            m.plain(pot, 0.8),
            [
                (0, 0),
                (ph * 0.36, 0),
                (ph * 0.5, ph * 0.86),
                (ph * 0.56, ph * 0.86),
                (ph * 0.56, ph),
                (ph * 0.48, ph),
                (ph * 0.46, ph * 0.9),
                (0, ph * 0.9),
            ],
        )
        for k in range(n):
            a, rise = k * 2.4 + rng.uniform(-0.3, 0.3), rng.uniform(0.25, 1.0)
            reach, top = h * (0.42 - 0.22 * rise) * rng.uniform(0.8, 1.2), ph + (h - ph) * rise
            size = h * rng.uniform(0.2, 0.3)
            x, y = reach * math.cos(a), reach * math.sin(a)
            tube(
                m.plain((0.1, 0.2, 0.05), 0.6),
                [(0, 0, ph * 0.8), (x * 0.3, y * 0.3, top * 0.75), (x, y, top)],
                0.005,
            )
            droop = rng.uniform(0.5, 1.3)

            def blade(u, v, size=size, droop=droop):
                half = 0.22 * size * math.sin(math.pi * min(v * 0.95 + 0.03, 1.0)) ** 0.8
                return (
                    v * size,
                    (u - 0.5) * 2 * half,
                    -droop * size * 0.45 * v * v + abs(u - 0.5) * 0.35 * half,
                )

            surface(
                m.plain(m.dim(leaf, rng.uniform(0.7, 1.5)), 0.45),
                blade,
                5,
                9,
                (x, y, top),
                (rng.uniform(-15, 15), rng.uniform(-30, 5), math.degrees(a)),
            )


def small_things(loc, seed=0):
    """One of a few ornaments, chosen by seed."""
    kind = seed % 5
    if kind == 0:
        mug(loc, (0.15, 0.3, 0.5), 40)
    elif kind == 1:
        lathe(
            m.plain((0.5, 0.25, 0.12), 0.3),
            [(0, 0), (0.03, 0), (0.05, 0.05), (0.035, 0.1), (0.018, 0.13), (0.026, 0.15), (0.02, 0.15)],
            loc,
        )
    elif kind == 2:
        photo_frame(loc, seed, 12)
    elif kind == 3:
        plant(loc, 0.22, 12, (0.75, 0.72, 0.68), seed)
    else:
        box(m.fabric((0.45, 0.3, 0.16), (0.3, 0.2, 0.1)), (0.16, 0.16, 0.12), loc, (0, 0, 8))


def photo_frame(loc, seed=0, rot=0, w=0.13):
    """A photograph in a standing frame."""
    with group("photo", loc, rot):
        box(m.plain((0.35, 0.25, 0.12), 0.3, 0.6), (w, 0.015, w * 1.25), (0, 0, 0), (-10, 0, 0), bevel=0.005)
        panel(m.image(art.portrait(seed), 0.2), (w * 0.8, w * 1.02), (0, -0.009, w * 0.11), (-10, 0, 0))
