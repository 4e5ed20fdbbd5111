"""Furniture. Things that stand against a wall have their back at y = 0 and face -y; others are centred."""

import math

from . import art
from . import materials as m
from .kit import box, cushion, cylinder, drape, group, lathe, panel, pillow, tube
from .props import book_row, book_stack, small_things


def bed(loc, rot, frame, bedding, cover, pillows, throw=None, w=1.5, length=2.0, seed=0):
    """A made bed: frame, mattress, a simulated cover hanging over the sides, pillows and a throw."""
    with group("bed", loc, rot):
        box(frame, (w + 0.12, 0.05, 0.72), (0, -0.03, 0.34), bevel=0.015)
        box(frame, (w + 0.16, 0.07, 0.05), (0, -0.03, 1.05), bevel=0.02)
        for s in (-1, 1):
            box(frame, (0.09, 0.07, 1.06), (s * (w / 2 + 0.03), -0.03, 0), bevel=0.012)
            box(frame, (0.035, length, 0.16), (s * (w / 2 + 0.005), -length / 2 - 0.05, 0.16))
            box(frame, (0.08, 0.08, 0.36), (s * (w / 2 - 0.02), -length - 0.04, 0), bevel=0.01)
        box(frame, (w, 0.035, 0.2), (0, -length - 0.06, 0.16))
        cushion(bedding, (w, length, 0.2), (0, -length / 2 - 0.06, 0.2), puff=0.01, wrinkle=0.004, power=16)
        mattress = cushion(
            bedding,
            (w, length, 0.22),
            (0, -length / 2 - 0.06, 0.37),
            puff=0.02,
            wrinkle=0.006,
            seed=seed,
            power=14,
        )
        quilt = drape(
            cover,
            (w + 0.66, length - 0.12),
            (0.02, -length / 2 - 0.38, 0.68),
            [mattress],
            cells=72,
            stiffness=0.25,
            thickness=0.02,
            seed=seed,
        )
        fold = cushion(
            bedding, (w + 0.06, 0.3, 0.05), (0, -0.62, 0.60), (3, 0, 1), puff=0.15, wrinkle=0.012, seed=3
        )
        fold.scale.z = 0.8
        if throw:
            drape(
                throw,
                (w + 0.5, 0.62),
                (0.0, -length + 0.28, 0.74),
                [quilt],
                cells=52,
                stiffness=0.4,
                rot=4,
                thickness=0.008,
                seed=seed + 1,
                gap=0.004,
            )
        for k, (mat, size, x, y, z, tip, turn) in enumerate(pillows):
            pillow(mat, size, (x, y, z), (tip, 0, turn), seed=seed + 1.7 * k)


def drawers(mat, knob, w, d, h, rows, cols=1, loc=(0, 0, 0), rot=0, feet=0.06, top=None, ajar=None):
    """A chest of drawers: dresser, night stand, filing cabinet."""
    with group("drawers", loc, rot):
        box(mat, (w, d - 0.02, h - feet - 0.025), (0, -d / 2 + 0.005, feet), bevel=0.004)
        box(top or mat, (w + 0.03, d + 0.01, 0.028), (0, -d / 2, h - 0.028), bevel=0.008)
        for s in (-1, 1):
            for y in (-0.05, -d + 0.05):
                box(mat, (0.05, 0.05, feet + 0.02), (s * (w / 2 - 0.035), y, 0))
        fh, fw = (h - feet - 0.06) / rows, (w - 0.03) / cols
        for r in range(rows):
            for c in range(cols):
                x, z = -w / 2 + 0.015 + fw * (c + 0.5), feet + 0.02 + fh * r
                out = 0.07 if ajar == (r, c) else 0.0
                box(mat, (fw - 0.012, 0.022 + out, fh - 0.012), (x, -d - out / 2, z), bevel=0.006)
                for kx in (-0.25, 0.25) if fw > 0.55 else (0,):
                    lathe(
                        knob,
                        [(0.006, 0), (0.006, 0.012), (0.015, 0.018), (0.016, 0.026), (0, 0.032)],
                        (x + kx * fw, -d - 0.008 - out, z + fh / 2 - 0.006),
                        (90, 0, 0),
                        16,
                    )


def cabinet(mat, handle, w, d, h, doors, loc=(0, 0, 0), rot=0, kick=0.08, top=None, drawer=0.0, sunk=0.0):
    """A cabinet with framed doors, and a row of drawers above them if drawer > 0; sunk: room for a sink."""
    with group("cabinet", loc, rot):
        box(mat, (w, d - 0.02, h - kick - sunk), (0, -d / 2 + 0.01, kick), bevel=0.003)
        if kick:
            box(m.plain((0.05, 0.045, 0.04)), (w, d - 0.08, kick), (0, -d / 2 + 0.04, 0), bevel=0)
        if top:
            box(top, (w + 0.02, d + 0.02, 0.03), (0, -d / 2 - 0.005, h), bevel=0.006)
        fw = w / doors
        for k in range(doors):
            x, dh = -w / 2 + fw * (k + 0.5), h - kick - drawer - 0.01
            box(mat, (fw - 0.008, 0.016, dh - 0.006), (x, -d + 0.006, kick + 0.006), bevel=0.003)
            rim = min(0.06, fw * 0.2)
            for s in (-1, 1):
                box(
                    mat,
                    (rim, 0.012, dh - 0.006),
                    (x + s * (fw - 0.008 - rim) / 2, -d - 0.004, kick + 0.006),
                    bevel=0.003,
                )
            for z in (kick + 0.006, kick + dh - rim):
                box(mat, (fw - 0.008 - 2 * rim, 0.012, rim), (x, -d - 0.004, z), bevel=0.003)
            if drawer:
                box(mat, (fw - 0.008, 0.024, drawer - 0.008), (x, -d + 0.002, h - drawer), bevel=0.004)
                tube(
                    handle,
                    [
                        (x - 0.05, -d - 0.01, h - drawer / 2),
                        (x - 0.04, -d - 0.035, h - drawer / 2),
                        (x + 0.04, -d - 0.035, h - drawer / 2),
                        (x + 0.05, -d - 0.01, h - drawer / 2),
                    ],
                    0.005,
                )
            hx = x + (fw / 2 - 0.04) * (1 if k % 2 == 0 else -1)
            hz = kick + dh - 0.2 if kick else kick + 0.12
            tube(
                handle,
                [
                    (hx, -d - 0.008, hz),
                    (hx, -d - 0.035, hz + 0.01),
                    (hx, -d - 0.035, hz + 0.1),
                    (hx, -d - 0.008, hz + 0.11),
                ],
                0.005,
            )


def bookshelf(mat, w, h, loc, rot=0, shelves=5, d=0.28, seed=0, fill=0.85):
    """A bookcase filled with books, stacks and a few small things."""
    with group("bookshelf", loc, rot):
        back = m.plain((0.25, 0.17, 0.1)) if isinstance(mat, tuple) else mat
        box(back, (w, 0.01, h - 0.02), (0, -0.005, 0.01), bevel=0)
        for s in (-1, 1):
            box(mat, (0.025, d, h), (s * (w / 2 - 0.0125), -d / 2, 0), bevel=0.003)
        pitch = (h - 0.09) / shelves
        for k in range(shelves + 1):
            box(mat, (w - 0.05, d - 0.01, 0.024), (0, -d / 2, 0.06 + k * pitch), bevel=0.003)
        box(mat, (w - 0.05, 0.02, 0.06), (0, -d + 0.02, 0), bevel=0)
        for k in range(shelves):
            z, s = 0.085 + k * pitch, seed * 31 + k
            part = (1.0, 0.62, 0.8, 0.55, 0.9)[s % 5] * fill
            used = book_row((w - 0.08) * part, pitch - 0.05, d, (-w / 2 + 0.035, -0.02, z), s)
            rest = w - 0.08 - used
            if rest > 0.3:
                book_stack((w / 2 - rest / 2 - 0.02, -d / 2, z), 3 + s % 4, s, 0.2)
                small_things((w / 2 - rest / 2 - 0.02, -d / 2, z + 0.035 * (3 + s % 4)), s)
            elif rest > 0.14:
                small_things((w / 2 - rest / 2 - 0.02, -d / 2, z), s)


def table(top, leg, w, d, h, loc, rot=0, thick=0.03, leg_w=0.05, shelf=False, inset=0.04):
    """A table with four legs and an apron, centred on loc; shelf adds a lower board."""
    with group("table", loc, rot):
        box(top, (w, d, thick), (0, 0, h - thick), bevel=0.008)
        for sx in (-1, 1):
            for sy in (-1, 1):
                box(
                    leg,
                    (leg_w, leg_w, h - thick),
                    (sx * (w / 2 - inset), sy * (d / 2 - inset), 0),
                    bevel=0.006,
                )
        for s in (-1, 1):
            box(leg, (w - 2 * inset, 0.02, 0.07), (0, s * (d / 2 - inset), h - thick - 0.07))
            box(leg, (0.02, d - 2 * inset, 0.07), (s * (w / 2 - inset), 0, h - thick - 0.07))
        if shelf:
            box(top, (w - 2 * inset, d - 2 * inset, 0.02), (0, 0, 0.13))


def chair(mat, seat, loc, rot=0, back_h=0.92):
    """A wooden dining chair with a slatted back and a padded seat; faces -y."""
    with group("chair", loc, rot):
        for s in (-1, 1):
            tube(mat, [(s * 0.19, -0.2, 0), (s * 0.185, -0.195, 0.44)], 0.019, smooth=False)
            tube(
                mat,
                [
                    (s * 0.18, 0.24, 0),
                    (s * 0.18, 0.2, 0.44),
                    (s * 0.18, 0.22, 0.7),
                    (s * 0.175, 0.29, back_h),
                ],
                0.018,
            )
            tube(mat, [(s * 0.185, -0.19, 0.2), (s * 0.18, 0.22, 0.2)], 0.011, smooth=False)
        tube(mat, [(-0.18, 0.0, 0.2), (0.18, 0.0, 0.2)], 0.011, smooth=False)
        box(mat, (0.43, 0.43, 0.035), (0, 0, 0.425), bevel=0.012)
        cushion(seat, (0.41, 0.4, 0.05), (0, -0.005, 0.45), puff=0.1, wrinkle=0.004)
        for k, z in enumerate((0.6, 0.71, 0.82)):
            y = 0.205 + 0.028 * k
            tube(mat, [(-0.18, y, z), (0, y + 0.025, z + 0.005), (0.18, y, z)], 0.012)
        box(mat, (0.38, 0.025, 0.09), (0, 0.285, back_h - 0.06), (-14, 0, 0), bevel=0.01)


def office_chair(fabric, loc, rot=0):
    """A swivel chair with five castors, arms, a padded seat and back; faces -y."""
    black, steel = m.plain((0.02, 0.02, 0.022), 0.45, 0.0, True), m.plain((0.6, 0.6, 0.62), 0.25, 1.0)
    with group("office chair", loc, rot):
        for k in range(5):
            a = math.radians(72 * k + 20)
            x, y = math.cos(a) * 0.3, math.sin(a) * 0.3
            tube(black, [(0, 0, 0.13), (x * 0.6, y * 0.6, 0.1), (x, y, 0.075)], 0.02)
            cylinder(black, 0.03, 0.05, (x - 0.025 * math.sin(a), y, 0.03), (0, 90, 0))
        cylinder(steel, 0.025, 0.32, (0, 0, 0.1))
        cylinder(black, 0.09, 0.04, (0, 0, 0.4))
        cushion(fabric, (0.5, 0.48, 0.1), (0, -0.02, 0.43), puff=0.08, wrinkle=0.004, seed=2)
        tube(black, [(0, 0.15, 0.43), (0, 0.29, 0.45), (0, 0.31, 0.7)], 0.022)
        cushion(fabric, (0.46, 0.5, 0.09), (0, 0.29, 0.6), (80, 0, 0), puff=0.1, wrinkle=0.004, seed=4)
        for s in (-1, 1):
            tube(black, [(s * 0.2, 0, 0.44), (s * 0.29, 0, 0.47), (s * 0.29, 0.02, 0.64)], 0.016)
            box(black, (0.055, 0.26, 0.03), (s * 0.29, 0, 0.645), bevel=0.012)


def sofa(mat, loc, rot=0, seats=3, seat_w=0.62, cushions=(), leg=None, d=0.92):
    """A sofa or armchair with soft cushions, rounded arms and short feet."""
    w = seats * seat_w
    leg = leg or m.wood((0.08, 0.04, 0.02), (0.16, 0.09, 0.05))
    with group("sofa", loc, rot):
        cushion(mat, (w + 0.36, d - 0.06, 0.24), (0, -d / 2, 0.09), puff=0.01, wrinkle=0.004, power=18)
        cushion(mat, (w + 0.3, 0.26, 0.72), (0, -0.14, 0.1), puff=0.02, wrinkle=0.008, power=10)
        for s in (-1, 1):
            cushion(
                mat,
                (0.21, d, 0.52),
                (s * (w / 2 + 0.1), -d / 2, 0.09),
                puff=0.05,
                wrinkle=0.008,
                seed=s,
                power=6,
            )
            for y in (-0.1, -d + 0.1):
                cylinder(leg[2], 0.022, 0.1, (s * (w / 2 + 0.1), y, 0), r2=0.032)
        for k in range(seats):
            x = (k - (seats - 1) / 2) * seat_w
            cushion(
                mat,
                (seat_w - 0.004, d - 0.24, 0.17),
                (x, -d / 2 - 0.11, 0.31),
                (-2, 0, 0),
                puff=0.09,
                wrinkle=0.014,
                seed=k + 3,
                power=8,
            )
            cushion(
                mat,
                (seat_w - 0.008, 0.19, 0.46),
                (x, -0.33, 0.46),
                (-13, 0, 1.5 * (k % 2)),
                puff=0.1,
                wrinkle=0.02,
                seed=k + 9,
                power=9,
            )
        for k, (pm, x, size, turn) in enumerate(cushions):
            pillow(pm, (size, size, 0.17), (x, -0.50, 0.46 + size / 2), (68, 0, turn), seed=k * 2.3)


def television(w, loc, rot=0, picture=None, power=1.0):
    """A flat television on its foot; centred on loc."""
    black = m.plain((0.012, 0.012, 0.014), 0.22, 0.0, True)
    h = w * 0.57
    with group("television", loc, rot):
        box(black, (w * 0.45, 0.22, 0.015), (0, 0, 0), bevel=0.006)
        box(black, (0.09, 0.04, 0.09), (0, 0.02, 0.01))
        box(black, (w, 0.05, h), (0, 0, 0.07), bevel=0.01)
        screen = (
            m.image(picture, 0.12, power, True)
            if picture is not None
            else m.plain((0.02, 0.022, 0.026), 0.1, 0, True)
        )
        panel(screen, (w - 0.06, h - 0.07), (0, -0.0262, 0.11))


def desk(top, leg, w, d, loc, rot=0, h=0.74, knob=None, side=1):
    """A desk with a drawer unit at one side; its back at y = 0."""
    knob = knob or m.plain((0.6, 0.6, 0.6), 0.3, 1.0)
    with group("desk", loc, rot):
        box(top, (w, d, 0.032), (0, -d / 2, h - 0.032), bevel=0.006)
        for y in (-0.05, -d + 0.05):
            box(leg, (0.05, 0.05, h - 0.03), (-side * (w / 2 - 0.05), y, 0))
        box(leg, (0.03, d - 0.1, 0.06), (-side * (w / 2 - 0.05), -d / 2, h - 0.1))
        box(leg, (w - 0.1, 0.02, 0.3), (0, -0.08, h - 0.34))
        drawers(leg, knob, 0.42, d - 0.08, h - 0.035, 3, 1, (side * (w / 2 - 0.23), -0.03, 0))


def monitor(loc, rot=0, w=0.5, seed=0):
    """A computer monitor showing a desktop."""
    with group("monitor", loc, rot):
        television(w, (0, 0, 0), 0, art.desktop(seed), 1.6)
