"""A living room: sofa, armchair, coffee table, television, bookshelf, lamp, window, rug."""

from . import art, lamps
from . import clutter as c
from . import furniture as f
from . import materials as m
from . import props as p
from . import room as r
from .kit import box, cushion, group

CAMERA = {"loc": (-0.4, 0.1, 1.48), "target": (0.2, 3.6, 0.7), "roll": -0.8, "exposure": 0.25}


def build():
    """Build the scene."""
    walnut = m.wood((0.07, 0.03, 0.015), (0.2, 0.1, 0.05))
    pine = m.wood((0.3, 0.16, 0.06), (0.52, 0.32, 0.15))
    win = (0.25, 1.8, 0.85, 2.1)
    room = r.Room(
        4.6,
        4.9,
        2.6,
        m.paint((0.66, 0.67, 0.58)),
        m.planks((0.16, 0.075, 0.03), (0.38, 0.21, 0.1)),
        openings={"back": [win]},
    )
    grey = m.fabric((0.23, 0.2, 0.17), (0.3, 0.27, 0.24))
    red, teal = m.fabric((0.42, 0.07, 0.05)), m.fabric((0.06, 0.25, 0.28), (0.1, 0.35, 0.36))
    print_cotton = m.floral((0.7, 0.64, 0.5), (0.5, 0.16, 0.08), 7.0)
    f.sofa(
        grey,
        (1.05, 4.6, 0),
        0,
        3,
        0.62,
        [(red, -0.74, 0.42, 8), (print_cotton, -0.3, 0.4, -10), (teal, 0.5, 0.42, -8)],
    )
    f.sofa(m.fabric((0.16, 0.07, 0.03)), (2.1, 3.0, 0), -68, 1, 0.6, [(print_cotton, 0.0, 0.4, 6)])
    with group("corner", (-1.8, 4.55, 0), 35):
        f.cabinet(walnut, m.plain((0.5, 0.48, 0.42), 0.3, 1.0), 1.0, 0.42, 0.5, 2, top=walnut)
        f.television(0.92, (0, -0.2, 0.53), 0, art.show(), 1.1)
        p.photo_frame((0.44, -0.32, 0.53), 1, -10, 0.13)
    with room.side("left"):
        r.picture(art.abstract(2), 0.5, (1.5, 0, 1.5))
    with room.side("back"):
        f.bookshelf(walnut, 0.68, 1.9, (-0.78, -0.02, 0), 0, 5, seed=3)
        r.picture(art.landscape(9), 0.5, (-1.6, 0, 1.5), m.plain((0.06, 0.04, 0.03), 0.35), 0.035)
        r.switch((-0.45, 0, 0.25), True)
        r.curtain_rail(m.plain((0.3, 0.22, 0.12), 0.3, 0.9), 2.3, (1.03, -0.17, 2.3))
        cloth = m.fabric((0.3, 0.06, 0.04), (0.35, 0.1, 0.06))
        r.curtain(cloth, 0.46, 2.2, (0.12, -0.17, 0.08), 6, seed=1, gather=0.1)
        r.curtain(cloth, 0.46, 2.2, (1.95, -0.17, 0.08), 6, seed=2, gather=-0.1)
        p.plant((2.2, -0.35, 0), 1.2, 24, seed=2)
    with room.side("right"):
        r.door(m.plain(r.WHITE, 0.4), (0.4, 0, 0))
    r.window(room, "back", *win, strength=5.0)
    r.daylight(room, "back", 1.03, 1.5, (1.6, 1.2), 45)
    r.rug(m.image(art.carpet(), 1.0), 2.1, 1.5, (0.25, 2.75, 0), 2, m.fabric((0.66, 0.6, 0.48)))
    f.table(pine, pine, 1.05, 0.58, 0.43, (0.3, 2.75, 0.012), 3, shelf=True, leg_w=0.06)
    p.book_stack((0.05, 2.85, 0.442), 3, 11, 0.26, 12)
    p.mug((0.42, 2.68, 0.442), (0.08, 0.2, 0.35), -40)
    p.bowl_of_fruit((0.6, 2.9, 0.442))
    c.papers((0.2, 2.66, 0.442), 2, 5, 0.05)
    box(m.plain((0.03, 0.03, 0.03), 0.4), (0.045, 0.17, 0.022), (0.32, 2.95, 0.442), (0, 0, 50), bevel=0.008)
    p.book_stack((0.35, 2.8, 0.165), 4, 17, 0.28, -20)
    lamps.floor_lamp(m.translucent((0.9, 0.78, 0.58), 0.5), (-0.27, 4.62, 0), 1.6, 0.23, 16)
    with group("toys", (-1.15, 2.9, 0)):
        box(m.plain((0.6, 0.08, 0.05), 0.4), (0.09, 0.09, 0.09), (0, 0, 0), (0, 0, 30))
        box(m.plain((0.1, 0.25, 0.55), 0.4), (0.09, 0.09, 0.09), (0.16, 0.1, 0), (0, 0, 70))
        cushion(m.plain((0.75, 0.5, 0.08), 0.5), (0.2, 0.2, 0.2), (-0.1, 0.25, 0), wrinkle=0, power=2)
    c.backpack((-0.75, 4.35, 0), 15, (0.1, 0.13, 0.2))
    r.ceiling_lamp(room, (0.2, 2.4), 34)
    r.area_light((-0.4, 0.3, 2.2), (1.2, 0.8), 12, (1, 0.93, 0.84), (35, 0, 0))
