"""A bedroom: bed, night stands with lamps, dresser with mirror, window, pictures, door, rug, chair."""

from . import art, lamps
from . import clutter as c
from . import furniture as f
from . import materials as m
from . import props as p
from . import room as r
from .kit import box, drape, group, lathe

CAMERA = {"loc": (0.85, 0.15, 1.5), "target": (-0.12, 3.6, 0.66), "roll": 0.6, "exposure": 0.15}


def build():
    """Build the scene."""
    oak = m.wood((0.16, 0.075, 0.03), (0.36, 0.19, 0.085))
    brass = m.plain((0.65, 0.5, 0.25), 0.3, 1.0)
    white = m.plain(r.WHITE, 0.4)
    win = (0.62, 1.72, 0.92, 2.1)
    room = r.Room(
        4.4, 4.6, 2.55, m.paint((0.55, 0.49, 0.36)), m.carpet((0.33, 0.26, 0.19)), openings={"left": [win]}
    )
    linen, cream = m.fabric((0.66, 0.64, 0.6)), m.fabric((0.6, 0.45, 0.22), blotch=0.08)
    blue = m.fabric((0.04, 0.09, 0.22), (0.07, 0.13, 0.28))
    cover = m.floral((0.62, 0.63, 0.6), (0.14, 0.25, 0.45), 26.0)
    f.bed(
        (-0.7, 4.55, 0),
        0,
        oak,
        linen,
        cover,
        [
            (linen, (0.66, 0.44, 0.2), -0.38, -0.28, 0.82, 52, 2),
            (linen, (0.66, 0.44, 0.2), 0.37, -0.28, 0.82, 50, -3),
            (blue, (0.55, 0.4, 0.18), -0.33, -0.46, 0.79, 42, -5),
            (cover, (0.55, 0.4, 0.18), 0.32, -0.46, 0.79, 40, 4),
            (cream, (0.36, 0.36, 0.15), 0.03, -0.62, 0.79, 38, 8),
        ],
        throw=m.fabric((0.3, 0.05, 0.045), (0.5, 0.38, 0.24), stripe=5.0),
    )
    shade = m.translucent((0.85, 0.75, 0.55), 0.5)
    for x, seed in ((-1.85, 1), (0.45, 2)):
        f.drawers(oak, brass, 0.5, 0.42, 0.58, 2, 1, (x, 4.56, 0))
        lamps.table_lamp(
            shade, m.plain((0.25, 0.35, 0.38), 0.15, coat=0.6), (x - 0.05, 4.36, 0.58), watts=7, shape=0
        )
        p.book_stack((x + 0.1, 4.24, 0.58), 1 + seed, seed, 0.18)
    c.alarm_clock((0.6, 4.24, 0.58 + 0.1), -15)
    p.mug((-1.71, 4.4, 0.58), (0.75, 0.72, 0.65), 30)
    with room.side("back"):
        r.picture(
            art.landscape(4, warm=True), 0.66, (-0.7, 0, 1.4), m.plain((0.3, 0.2, 0.08), 0.3, 0.5), 0.04
        )
        f.drawers(oak, brass, 1.15, 0.46, 0.86, 4, 2, (1.42, -0.02, 0), ajar=(2, 0))
        r.mirror(0.72, 0.8, (1.42, 0, 1.02), oak)
        for k, (x, rgb) in enumerate(
            ((1.0, (0.6, 0.25, 0.3)), (1.09, (0.15, 0.25, 0.5)), (1.17, (0.7, 0.6, 0.4)))
        ):
            p.bottle((x, -0.22 - 0.05 * k, 0.86), rgb, 0.16 + 0.03 * k, 0.027, (0.85, 0.83, 0.78))
        p.photo_frame((1.8, -0.2, 0.86), 3, -14, 0.16)
        p.vase_flowers((1.6, -0.2, 0.86), (0.5, 0.5, 0.45), (0.75, 0.3, 0.35), 2)
        box(m.fabric((0.3, 0.14, 0.07)), (0.24, 0.17, 0.1), (1.34, -0.24, 0.86), (0, 0, 6), bevel=0.01)
        r.switch((0.78, 0, 1.15))
    with room.side("right"):
        r.door(white, (-1.3, 0, 0))
    r.window(room, "left", *win, strength=4.0)
    with room.side("left"):
        drape_mat = m.fabric((0.36, 0.42, 0.46), blotch=0.08)
        r.curtain_rail(m.plain((0.1, 0.07, 0.05), 0.3, 0.8), 1.95, (1.17, -0.17, 2.28))
        r.curtain(drape_mat, 0.42, 2.14, (0.48, -0.17, 0.12), 5, seed=1)
        r.curtain(drape_mat, 0.42, 2.14, (1.9, -0.17, 0.12), 5, seed=2)
    r.daylight(room, "left", 1.17, 1.5, (1.0, 1.1), 40)
    r.rug(
        m.fabric((0.12, 0.14, 0.2), (0.45, 0.36, 0.24), stripe=3.0),
        1.1,
        1.7,
        (0.72, 2.5, 0),
        4,
        m.fabric((0.7, 0.62, 0.48)),
    )
    c.shoes((0.45, 2.9, 0.015), 150)
    p.book_stack((-0.95, 3.5, 0.635), 2, 9, 0.22, 35)
    with group("hamper", (1.5, 3.4, 0)):
        lathe(
            m.fabric((0.5, 0.36, 0.2), (0.32, 0.2, 0.1), weave=90.0),
            [(0, 0), (0.17, 0), (0.21, 0.45), (0.225, 0.46), (0.2, 0.45), (0.16, 0.03), (0, 0.03)],
        )
    seat = box(m.wood((0.1, 0.05, 0.02), (0.22, 0.12, 0.06)), (0.34, 0.34, 0.02), (1.5, 3.4, 0.42), bevel=0)
    drape(
        m.fabric((0.15, 0.28, 0.3)),
        (0.6, 0.5),
        (1.52, 3.4, 0.55),
        [seat],
        cells=36,
        stiffness=0.2,
        frames=28,
        thickness=0.006,
    )
    r.ceiling_lamp(room, (0.3, 2.3), 36)
    r.area_light((0.6, 0.3, 2.2), (1.2, 0.8), 10, (1, 0.93, 0.84), (35, 0, 0))
