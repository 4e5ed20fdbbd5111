"""A study: desk with monitor and lamp, swivel chair, bookshelves, whiteboard, window, boxes."""

from . import art, lamps
from . import clutter as c
from . import furniture as f
from . import materials as m
from . import props as p
from . import room as r
from .kit import box, group, panel, tube

CAMERA = {"loc": (0.55, 0.15, 1.5), "target": (-0.1, 3.3, 0.86), "roll": 0.9, "exposure": 0.05}


def build():
    """Build the scene."""
    beech = m.wood((0.38, 0.22, 0.1), (0.56, 0.37, 0.19))
    dark = m.wood((0.09, 0.045, 0.02), (0.22, 0.12, 0.06))
    metal = m.plain((0.32, 0.33, 0.33), 0.4)
    steel = m.plain((0.6, 0.6, 0.6), 0.3, 1.0)
    win = (0.55, 1.75, 0.95, 2.15)
    room = r.Room(
        4.2, 4.2, 2.6, m.paint((0.66, 0.65, 0.6)), m.carpet((0.2, 0.22, 0.25)), openings={"left": [win]}
    )
    with room.side("back"):
        f.desk(beech, beech, 1.6, 0.75, (-0.45, -0.06, 0), knob=steel)
        c.keyboard((-0.5, -0.58, 0.74), 3)
        f.monitor((-0.5, -0.28, 0.74), 4, 0.54)
        lamps.desk_lamp((-1.1, -0.25, 0.74), 12)
        p.book_stack((0.14, -0.25, 0.74), 5, 3, 0.24, 10)
        c.papers((0.05, -0.58, 0.742), 5, 2, 0.1)
        p.mug((-0.92, -0.55, 0.74), (0.55, 0.1, 0.06), 200)
        p.photo_frame((-0.02, -0.2, 0.74), 2, -20, 0.14)
        with group("pens", (-0.86, -0.28, 0.74)):
            p.mug((0, 0, 0), (0.05, 0.05, 0.06))
            for k, rgb in enumerate(((0.6, 0.1, 0.1), (0.1, 0.2, 0.6), (0.8, 0.6, 0.1), (0.05, 0.05, 0.05))):
                tube(
                    m.plain(rgb, 0.4),
                    [(0.01 * k - 0.015, 0.005, 0.02), (0.022 * k - 0.033, 0.01 * (k % 2), 0.17)],
                    0.004,
                    smooth=False,
                )
        r.picture(art.whiteboard(), 1.3, (-0.5, 0, 1.32), m.plain((0.6, 0.61, 0.62), 0.3, 0.8), 0.03, 0)
        f.bookshelf(dark, 0.95, 2.0, (1.2, -0.02, 0), 0, 5, 0.3, seed=5, fill=1.0)
        c.cardboard_box((1.2, -0.17, 2.0), (0.5, 0.28, 0.22), 0, False)
        panel(m.image(art.calendar()), (0.3, 0.43), (0.48, -0.004, 1.4))
        r.switch((-1.5, 0, 0.3), True)
    with room.side("right"):
        f.drawers(metal, steel, 0.46, 0.6, 1.05, 3, 1, (-0.15, -0.02, 0), feet=0.02)
        p.plant((-0.15, -0.3, 1.05), 0.48, 18, (0.75, 0.73, 0.68), 3)
        r.picture(art.landscape(15), 0.6, (0.8, 0, 1.35))
        r.door(beech, (1.3, 0, 0))
        c.wall_clock((-0.15, 0, 1.95))
    f.office_chair(m.fabric((0.05, 0.07, 0.13), (0.08, 0.1, 0.17)), (-0.42, 2.95, 0), 152)
    r.window(room, "left", *win, strength=4.5, seed=8)
    with room.side("left"):
        r.blinds(m.plain((0.78, 0.76, 0.7), 0.4), 1.22, 0.8, (1.15, -0.045, 2.2))
        f.bookshelf(beech, 1.2, 0.78, (0.85, -0.02, 0), 0, 2, 0.3, seed=8, fill=1.0)
        p.plant((0.6, -0.16, 0.78), 0.4, 14, (0.5, 0.24, 0.14), 6)
        p.book_stack((1.25, -0.16, 0.78), 4, 8, 0.24)
        box(m.plain((0.1, 0.1, 0.1), 0.5), (0.3, 0.24, 0.14), (0.9, -0.16, 0.78), bevel=0.01)
    r.daylight(room, "left", 1.15, 1.5, (1.1, 1.1), 48)
    c.cardboard_box((1.0, 2.75, 0), (0.46, 0.36, 0.3), 20)
    c.backpack((0.62, 3.3, 0), -12, (0.35, 0.06, 0.05))
    c.bin_basket((-1.42, 3.85, 0))
    p.book_stack((-1.05, 2.5, 0), 6, 21, 0.27, 30)
    r.ceiling_lamp(room, (0.1, 2.2), 40, (1, 0.92, 0.8))
    r.area_light((0.3, 0.3, 2.2), (1.2, 0.8), 12, (1, 0.95, 0.88), (35, 0, 0))
