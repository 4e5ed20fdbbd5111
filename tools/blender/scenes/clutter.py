"""Clutter: papers, boxes, bags, shoes, clocks, a keyboard, a waste bin, a towel."""

import math
import random

import numpy as np

from . import materials as m
from .kit import box, cushion, cylinder, fbm, group, lathe, panel, surface, tube
from .props import book_row


def papers(loc, n=5, seed=0, spread=0.12):
    """Loose printed sheets and an open notebook look."""
    rng = random.Random(seed)
    for k in range(n):
        img = np.ones((60, 42, 3)) * rng.uniform(0.86, 0.96)
        for row in range(7, 54, 4):
            img[row : row + 2, 5 : rng.randint(20, 38)] = 0.35
        panel(
            m.image(img),
            (0.21, 0.297),
            (
                loc[0] + rng.uniform(-spread, spread),
                loc[1] + rng.uniform(-spread, spread) * 0.6,
                loc[2] + 0.002 + 0.0015 * k,
            ),
            (-90, 0, rng.uniform(-35, 35)),
        )


def cardboard_box(loc, size=(0.42, 0.32, 0.3), rot=0, is_open=True):
    """A moving box with flaps and tape."""
    card, tape = m.fabric((0.5, 0.35, 0.2), weave=60.0, sheen=0.0), m.plain((0.6, 0.48, 0.28), 0.25)
    w, d, h = size
    with group("carton", loc, rot):
        for s in (-1, 1):
            box(card, (w, 0.006, h), (0, s * d / 2, 0), bevel=0.002)
            box(card, (0.006, d, h), (s * w / 2, 0, 0), bevel=0.002)
        box(card, (w, d, 0.006), (0, 0, 0), bevel=0)
        if is_open:
            for s, tilt in ((-1, 28), (1, -38)):
                box(
                    card,
                    (w, d / 2, 0.005),
                    (0, s * (d / 2 + d / 4 * math.cos(math.radians(tilt))), h - 0.09 if s < 0 else h - 0.1),
                    (-s * abs(tilt), 0, 0),
                    bevel=0,
                )
            book_row(w - 0.04, h, d * 0.8, (-w / 2 + 0.02, d * 0.35, 0.03), 7)
        else:
            box(card, (w, d, 0.006), (0, 0, h), bevel=0.002)
            box(tape, (w + 0.004, 0.05, 0.004), (0, 0, h + 0.004), bevel=0)
            box(tape, (0.004, 0.05, 0.1), (w / 2 + 0.003, 0, h - 0.09), bevel=0)


def bin_basket(loc, r=0.14, h=0.3, rgb=(0.08, 0.08, 0.09)):
    """A waste bin with crumpled paper."""
    with group("bin", loc):
        lathe(
            m.plain(rgb, 0.5),
            [
                (0, 0),
                (r * 0.78, 0),
                (r, h),
                (r * 1.04, h),
                (r * 1.04, h - 0.01),
                (r * 0.95, h - 0.02),
                (r * 0.76, 0.02),
                (0, 0.02),
            ],
        )
        for k in range(4):
            cushion(
                m.plain((0.8, 0.8, 0.78), 0.9),
                (0.11, 0.1, 0.1),
                (0.06 * math.cos(k * 1.9), 0.06 * math.sin(k * 1.9), h - 0.09),
                wrinkle=0.05,
                seed=k,
                power=3,
            )


def alarm_clock(loc, rot=0):
    """A small digital clock."""
    with group("clock", loc, rot):
        box(m.plain((0.03, 0.03, 0.03), 0.3), (0.15, 0.07, 0.07), bevel=0.012)
        panel(m.glow((0.9, 0.08, 0.03), 3.0), (0.09, 0.03), (0, -0.036, 0.02))


def wall_clock(loc, r=0.15):
    """A round wall clock (in a wall's frame)."""
    x, y, z = loc
    lathe(
        m.plain((0.05, 0.05, 0.05), 0.3),
        [(0, 0), (r, 0), (r, 0.03), (r * 0.9, 0.035), (r * 0.88, 0.02)],
        (x, y, z),
        (90, 0, 0),
        40,
    )
    cylinder(m.plain((0.9, 0.89, 0.86), 0.5), r * 0.88, 0.022, (x, y, z), (90, 0, 0))
    dark = m.plain((0.02, 0.02, 0.02))
    for k in range(12):
        a = math.radians(30 * k)
        box(
            dark,
            (0.008, 0.003, 0.024),
            (x + 0.74 * r * math.sin(a), y - 0.024, z + 0.74 * r * math.cos(a) - 0.012),
            (0, 30 * k, 0),
            bevel=0,
        )
    for turn, length in ((-60, 0.5), (55, 0.72)):
        box(dark, (0.009, 0.003, r * length), (x, y - 0.026, z), (0, turn, 0), bevel=0)


def keyboard(loc, rot=0, w=0.44, d=0.15):
    """A computer keyboard with rows of keys, and a mouse beside it."""
    black, key = m.plain((0.03, 0.03, 0.035), 0.5), m.plain((0.07, 0.07, 0.075), 0.6)
    with group("keyboard", loc, rot):
        box(black, (w, d, 0.018), (0, 0, 0), bevel=0.006)
        for r in range(5):
            for c in range(16):
                box(
                    key,
                    (0.022, 0.022, 0.008),
                    (-w / 2 + 0.028 + c * 0.0257, -d / 2 + 0.024 + r * 0.0257, 0.018),
                    bevel=0.003,
                )
        cushion(black, (0.062, 0.105, 0.036), (w / 2 + 0.09, -0.01, 0), wrinkle=0, power=3)


def backpack(loc, rot=0, rgb=(0.12, 0.16, 0.3)):
    """A school bag leaning on something."""
    mat, dark = m.fabric(rgb, weave=300.0), m.plain((0.03, 0.03, 0.03), 0.6)
    with group("bag", loc, rot):
        cushion(mat, (0.32, 0.2, 0.44), (0, 0, 0), (-8, 0, 0), puff=0.12, wrinkle=0.03, power=5, seed=2)
        cushion(mat, (0.25, 0.1, 0.22), (0, -0.11, 0.04), (-5, 0, 0), puff=0.2, wrinkle=0.02, power=4, seed=5)
        tube(dark, [(-0.06, 0.05, 0.43), (-0.03, 0.02, 0.52), (0.03, 0.02, 0.52), (0.06, 0.05, 0.43)], 0.012)
        tube(
            dark,
            [(-0.14, -0.02, 0.38), (-0.05, -0.115, 0.31), (0.06, -0.115, 0.31), (0.14, -0.02, 0.38)],
            0.005,
        )


def shoes(loc, rot=0, rgb=(0.1, 0.06, 0.04)):
    """A pair of shoes."""
    mat, sole = m.plain(rgb, 0.45), m.plain((0.5, 0.48, 0.44), 0.7)
    with group("shoes", loc, rot):
        for s, turn in ((-0.07, 4), (0.075, -12)):
            with group("shoe", (s, 0.03 * turn / 10, 0), turn):
                box(sole, (0.09, 0.27, 0.02), bevel=0.009)
                cushion(mat, (0.092, 0.26, 0.075), (0, 0, 0.015), wrinkle=0.006, power=3.2)
                cushion(mat, (0.085, 0.14, 0.11), (0, 0.055, 0.015), wrinkle=0.006, power=4, seed=3)


def towel(mat, w, h, loc, seed=0):
    """A towel hanging over a rail, in a wall's frame."""

    def shape(u, v):
        x = (u - 0.5) * w * (1 - 0.05 * math.sin(3 * v))
        return x, 0.012 * math.sin(u * 9 + 2 * v) * (1 - v) + 0.008 * fbm((x, v, 0), 4, seed), (v - 1) * h

    surface(mat, shape, 30, 20, loc, thickness=0.008)
