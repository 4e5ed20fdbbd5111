"""A kitchen: cabinets, counter, sink under a window, cooker, microwave, refrigerator, table and chairs."""

import math

from . import art
from . import clutter as c
from . import furniture as f
from . import materials as m
from . import props as p
from . import room as r
from .kit import box, cylinder, group, lathe, panel, tube

CAMERA = {"loc": (-0.65, 0.15, 1.52), "target": (0.1, 3.3, 0.8), "roll": 0.7, "exposure": 0.1}
STEEL = (0.55, 0.56, 0.57)


def fridge(loc):
    """A white refrigerator with a freezer above, handles, and papers on the door."""
    white, grey = m.plain((0.74, 0.74, 0.71), 0.3, coat=0.3), m.plain((0.3, 0.3, 0.3), 0.5)
    with group("refrigerator", loc):
        box(white, (0.72, 0.6, 1.74), (0, -0.32, 0.03), bevel=0.012)
        box(white, (0.72, 0.06, 1.12), (0, -0.66, 0.07), bevel=0.018)
        box(white, (0.72, 0.06, 0.55), (0, -0.66, 1.21), bevel=0.018)
        box(grey, (0.68, 0.05, 0.05), (0, -0.64, 0.01), bevel=0)
        for z, h in ((0.72, 0.42), (1.25, 0.26)):
            tube(
                white,
                [(0.3, -0.68, z), (0.3, -0.73, z + 0.03), (0.3, -0.73, z + h - 0.03), (0.3, -0.68, z + h)],
                0.014,
            )
        for k, (x, z, w, pic) in enumerate(
            (
                (-0.14, 1.3, 0.2, art.landscape(21)),
                (-0.1, 0.8, 0.19, art.abstract(4)),
                (0.1, 0.98, 0.13, art.portrait(6)),
                (-0.22, 1.02, 0.11, art.abstract(5)),
            )
        ):
            h = w * pic.shape[0] / pic.shape[1]
            panel(m.image(pic), (w, h), (x, -0.6925, z), (0, 4 * (-1) ** k, 0))
            cylinder(m.plain(p.COVERS[k * 3], 0.4), 0.014, 0.012, (x, -0.69, z + h - 0.02), (90, 0, 0))


def cooker(loc):
    """A cooker with an oven door, rings, knobs, a pan and a kettle."""
    white, black = m.plain((0.72, 0.72, 0.7), 0.25, coat=0.3), m.plain((0.012, 0.012, 0.013), 0.15, 0, True)
    steel = m.plain(STEEL, 0.22, 1.0, True)
    with group("cooker", loc):
        box(white, (0.6, 0.58, 0.88), (0, -0.3, 0.02), bevel=0.008)
        box(white, (0.58, 0.03, 0.5), (0, -0.605, 0.24), bevel=0.01)
        box(black, (0.42, 0.012, 0.26), (0, -0.617, 0.34), bevel=0.004)
        box(white, (0.58, 0.03, 0.14), (0, -0.605, 0.06), bevel=0.01)
        tube(
            steel,
            [(-0.24, -0.62, 0.69), (-0.23, -0.66, 0.69), (0.23, -0.66, 0.69), (0.24, -0.62, 0.69)],
            0.011,
        )
        for k in range(5):
            cylinder(black, 0.02, 0.03, (-0.22 + 0.11 * k, -0.59, 0.82), (90, 0, 0))
        box(black, (0.58, 0.54, 0.012), (0, -0.31, 0.9), bevel=0.004)
        box(white, (0.6, 0.05, 0.16), (0, -0.03, 0.9), bevel=0.01)
        for x in (-0.14, 0.14):
            for y in (-0.44, -0.2):
                for radius in (0.05, 0.08):
                    ring = [(radius * math.cos(a * 0.785), radius * math.sin(a * 0.785), 0) for a in range(9)]
                    tube(m.plain((0.05, 0.05, 0.05), 0.5), ring, 0.006, (x, y, 0.918))
        lathe(
            m.plain((0.5, 0.05, 0.04), 0.2, coat=0.5),
            [
                (0, 0),
                (0.1, 0),
                (0.105, 0.01),
                (0.105, 0.12),
                (0.112, 0.122),
                (0.09, 0.135),
                (0.02, 0.148),
                (0.02, 0.165),
                (0, 0.17),
            ],
            (-0.14, -0.2, 0.925),
        )
        lathe(
            steel,
            [
                (0, 0),
                (0.09, 0),
                (0.095, 0.02),
                (0.085, 0.1),
                (0.05, 0.15),
                (0.03, 0.155),
                (0.012, 0.175),
                (0, 0.178),
            ],
            (0.14, -0.44, 0.925),
        )
        tube(
            m.plain((0.03, 0.03, 0.03), 0.4),
            [(0.07, -0.44, 1.06), (0.09, -0.44, 1.16), (0.19, -0.44, 1.16), (0.21, -0.44, 1.06)],
            0.01,
        )
        tube(steel, [(0.21, -0.46, 0.97), (0.27, -0.5, 1.03), (0.29, -0.51, 1.05)], 0.013)


def microwave(loc, w=0.52):
    """A microwave oven."""
    black = m.plain((0.015, 0.015, 0.016), 0.18, 0, True)
    with group("microwave", loc):
        box(m.plain((0.6, 0.6, 0.58), 0.35), (w, 0.36, 0.29), (0, -0.18, 0.01), bevel=0.01)
        box(black, (w * 0.68, 0.012, 0.24), (-w * 0.13, -0.362, 0.035), bevel=0.004)
        box(black, (w * 0.2, 0.01, 0.24), (w * 0.36, -0.362, 0.035), bevel=0.003)
        panel(m.glow((0.1, 0.9, 0.5), 1.5), (w * 0.12, 0.025), (w * 0.36, -0.369, 0.22))
        for k in range(12):
            box(
                m.plain((0.5, 0.5, 0.5)),
                (0.02, 0.004, 0.012),
                (w * 0.36 + 0.028 * (k % 3 - 1), -0.368, 0.06 + 0.03 * (k // 3)),
                bevel=0,
            )


def sink(loc, counter, x0, x1, w=0.68):
    """A counter from x0 to x1 with a steel sink let into it, and a tap."""
    steel = m.plain(STEEL, 0.25, 1.0, True)
    with group("counter", loc):
        for a, b in ((x0, -w / 2), (w / 2, x1)):
            box(counter, (b - a, 0.64, 0.04), ((a + b) / 2, -0.32, 0), bevel=0.008)
        box(counter, (w, 0.13, 0.04), (0, -0.575, 0), bevel=0.008)
        box(counter, (w, 0.1, 0.04), (0, -0.05, 0), bevel=0.004)
        for x, y, a, b in (
            (-w / 2, -0.305, 0.012, 0.43),
            (w / 2, -0.305, 0.012, 0.43),
            (0, -0.52, w, 0.012),
            (0, -0.095, w, 0.012),
            (0.04, -0.305, 0.02, 0.42),
        ):
            box(steel, (a, b, 0.19), (x, y, -0.145), bevel=0.004)
        box(steel, (w, 0.43, 0.01), (0, -0.305, -0.15), bevel=0)
        for y in (-0.53, -0.085):
            box(steel, (w + 0.04, 0.025, 0.006), (0, y, 0.04), bevel=0.002)
        for x in (-w / 2, w / 2):
            box(steel, (0.025, 0.46, 0.006), (x, -0.307, 0.04), bevel=0.002)
        chrome = m.plain((0.8, 0.8, 0.8), 0.08, 1.0, True)
        cylinder(chrome, 0.026, 0.05, (0, -0.06, 0.04))
        tube(chrome, [(0, -0.06, 0.06), (0, -0.06, 0.27), (0, -0.14, 0.33), (0, -0.23, 0.27)], 0.012)
        tube(chrome, [(0.02, -0.06, 0.08), (0.09, -0.07, 0.11)], 0.008)
        p.bottle((0.27, -0.05, 0.04), (0.1, 0.4, 0.15), 0.2, 0.028, (0.8, 0.8, 0.2))
        for k in range(5):
            cylinder(m.plain((0.78, 0.77, 0.74), 0.2), 0.1, 0.012, (0.5 + 0.035 * k, -0.34, 0.16), (0, 78, 0))
        for y in (-0.46, -0.2):
            tube(steel, [(0.42, y, 0.06), (0.76, y, 0.06)], 0.006, smooth=False)


def build():
    """Build the scene."""
    maple = m.wood((0.24, 0.11, 0.04), (0.42, 0.23, 0.1))
    handle = m.plain((0.45, 0.44, 0.4), 0.3, 1.0)
    counter = m.stone((0.16, 0.15, 0.14), (0.4, 0.37, 0.32))
    win = (0.35, 1.35, 1.14, 2.05)
    room = r.Room(
        4.0,
        4.1,
        2.5,
        m.paint((0.6, 0.56, 0.4)),
        m.tiles((0.42, 0.34, 0.25), (0.2, 0.17, 0.14), 0.33, rough=0.35),
        openings={"back": [win]},
    )
    with room.side("back"):
        tile = m.tiles((0.68, 0.66, 0.58), (0.5, 0.48, 0.44), 0.1, wall=True)
        for x0, x1, z1 in ((-1.22, 0.25, 1.45), (0.25, 1.45, 1.05), (1.45, 2.0, 1.45)):
            panel(tile, (x1 - x0, z1 - 0.9), ((x0 + x1) / 2, -0.004, 0.9))
        fridge((-1.6, -0.03, 0))
        f.cabinet(maple, handle, 0.58, 0.6, 0.87, 1, (-0.92, -0.01, 0), drawer=0.16)
        box(counter, (0.6, 0.64, 0.04), (-0.92, -0.32, 0.87), bevel=0.008)
        cooker((-0.31, -0.01, 0))
        f.cabinet(maple, handle, 0.42, 0.6, 0.87, 1, (0.21, -0.01, 0), drawer=0.16)
        f.cabinet(maple, handle, 0.9, 0.6, 0.87, 2, (0.87, -0.01, 0), drawer=0.16, sunk=0.22)
        f.cabinet(maple, handle, 0.68, 0.6, 0.87, 2, (1.66, -0.01, 0), drawer=0.16)
        sink((0.86, 0, 0.87), counter, -0.86, 1.14)
        for x, w, z, h, n in (
            (-0.92, 0.6, 1.45, 0.75, 2),
            (-0.31, 0.6, 1.78, 0.42, 2),
            (0.14, 0.28, 1.45, 0.75, 1),
            (1.72, 0.5, 1.45, 0.75, 1),
            (-1.6, 0.74, 1.86, 0.34, 2),
        ):
            f.cabinet(maple, handle, w, 0.32, h, n, (x, -0.01, z), kick=0)
        with group("hood", (-0.31, -0.01, 1.62)):
            box(m.plain((0.7, 0.7, 0.68), 0.3), (0.6, 0.48, 0.13), (0, -0.24, 0.02), bevel=0.02)
        microwave((1.66, -0.06, 0.91))
        p.bottle((-1.1, -0.15, 0.91), (0.3, 0.25, 0.04), 0.3, 0.034, (0.8, 0.75, 0.5))
        p.bottle((-1.0, -0.12, 0.91), (0.25, 0.04, 0.03), 0.24, 0.032, None, (0.1, 0.3, 0.1))
        box(
            m.wood((0.1, 0.05, 0.02), (0.25, 0.13, 0.06)),
            (0.11, 0.16, 0.2),
            (-0.78, -0.2, 0.91),
            (-14, 0, 0),
            bevel=0.006,
        )
        for k in range(4):
            box(
                m.plain((0.02, 0.02, 0.02)),
                (0.018, 0.03, 0.1),
                (-0.815 + 0.024 * k, -0.17, 1.09),
                (-14, 0, 0),
            )
        cylinder(m.plain((0.85, 0.85, 0.83), 0.9), 0.06, 0.24, (0.12, -0.16, 0.92))
        cylinder(handle, 0.008, 0.3, (0.12, -0.16, 0.91))
        p.mug((0.32, -0.35, 0.91), (0.1, 0.25, 0.5), 30)
        p.mug((1.28, -0.5, 0.91), (0.7, 0.65, 0.5), -50)
        p.plant((0.6, 0.06, 1.14), 0.26, 12, (0.45, 0.2, 0.1), 2)
        c.towel(
            m.fabric((0.55, 0.1, 0.08), (0.7, 0.65, 0.58), stripe=3.0), 0.34, 0.42, (-0.31, -0.685, 0.7), 1
        )
        c.wall_clock((0.85, 0, 2.3), 0.12)
        r.switch((1.4, -0.004, 1.12), True)
    r.window(room, "back", *win, strength=5.0, seed=11)
    r.daylight(room, "back", 0.85, 1.6, (0.95, 0.85), 34)
    with room.side("right"):
        r.door(m.plain(r.WHITE, 0.4), (-0.84, 0, 0))
    chairs = m.wood((0.2, 0.09, 0.035), (0.34, 0.18, 0.08))
    f.table(maple, maple, 1.15, 0.8, 0.74, (0.95, 2.05, 0), 6)
    f.chair(chairs, m.fabric((0.1, 0.18, 0.12)), (0.12, 2.0, 0), 97)
    f.chair(chairs, m.fabric((0.1, 0.18, 0.12)), (0.95, 2.68, 0), -8)
    p.bowl_of_fruit((1.0, 2.2, 0.74))
    cylinder(m.plain((0.78, 0.76, 0.7), 0.25), 0.125, 0.012, (0.62, 1.98, 0.74))
    p.mug((0.78, 2.2, 0.74), (0.65, 0.35, 0.06), 120)
    c.papers((0.98, 1.85, 0.742), 3, 4, 0.06)
    r.rug(
        m.fabric((0.12, 0.2, 0.28), (0.45, 0.42, 0.34), stripe=4.0),
        0.95,
        0.55,
        (0.55, 3.05, 0),
        2,
        fringe=False,
    )
    c.bin_basket((-0.98, 3.2, 0), 0.15, 0.36, (0.35, 0.36, 0.37))
    r.ceiling_lamp(room, (0.0, 2.2), 40)
    r.area_light((-0.4, 0.3, 2.2), (1.2, 0.8), 12, (1, 0.94, 0.86), (35, 0, 0))
