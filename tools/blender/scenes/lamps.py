"""Lamps with their bulbs."""

import math

import bpy

from . import materials as m
from .kit import cylinder, group, lathe, tube


def floor_lamp(shade, loc, h=1.6, r=0.22, watts=18, metal=None):
    """A standing lamp with a cloth shade and a warm bulb."""
    metal = metal or m.plain((0.12, 0.09, 0.07), 0.35, 0.9)
    with group("floor lamp", loc):
        lathe(metal, [(0, 0), (0.14, 0), (0.14, 0.015), (0.03, 0.03), (0.013, 0.05), (0.013, h - 0.3)])
        lamp_shade(shade, r * 0.62, r, 0.3, (0, 0, h - 0.3), watts)


def table_lamp(shade, base, loc, h=0.46, r=0.15, watts=8, shape=0):
    """A bedside lamp: a turned base, a cone shade, a warm bulb."""
    prof = [
        [
            (0, 0),
            (0.07, 0),
            (0.075, 0.012),
            (0.03, 0.03),
            (0.06, 0.09),
            (0.07, 0.14),
            (0.03, 0.21),
            (0.012, h - 0.2),
        ],
        [(0, 0), (0.08, 0), (0.08, 0.02), (0.015, 0.035), (0.012, 0.12), (0.022, 0.14), (0.012, h - 0.2)],
    ][shape]
    with group("lamp", loc):
        lathe(base, prof)
        lamp_shade(shade, r * 0.6, r, 0.2, (0, 0, h - 0.2), watts)


def lamp_shade(mat, r_top, r_low, h, loc, watts):
    """An open cone of cloth around a bulb."""
    lathe(mat, [(r_low, 0), (r_low * 0.5 + r_top * 0.5, h / 2), (r_top, h)], loc, segments=40)
    data = bpy.data.lights.new("bulb", "POINT")
    data.energy, data.color, data.shadow_soft_size = watts, (1.0, 0.72, 0.42), 0.04
    obj = bpy.data.objects.new("bulb", data)
    with group("bulb", (loc[0], loc[1], loc[2] + h * 0.5)) as g:
        bpy.context.scene.collection.objects.link(obj)
        obj.parent = g


def desk_lamp(loc, rot=0, rgb=(0.02, 0.02, 0.022)):
    """A jointed desk lamp, switched on."""
    mat = m.plain(rgb, 0.35, coat=0.3)
    with group("desk lamp", loc, rot):
        cylinder(mat, 0.085, 0.025)
        tube(mat, [(0, 0, 0.02), (-0.12, 0, 0.3)], 0.008, smooth=False)
        tube(mat, [(-0.12, 0, 0.3), (0.16, 0, 0.46)], 0.008, smooth=False)
        cylinder(mat, 0.016, 0.03, (-0.12, 0.015, 0.3), (90, 0, 0))
        with group("head", (0.16, 0, 0.46)) as head:
            lathe(
                mat,
                [(0.02, 0.06), (0.035, 0.05), (0.04, 0.0), (0.085, -0.09), (0.08, -0.09), (0.036, 0.0)],
                rot=(0, -25, 0),
            )
            lathe(
                m.glow((1.0, 0.85, 0.6), 25.0),
                [(0, -0.06), (0.025, -0.045), (0.028, -0.02), (0.015, 0.0)],
                rot=(0, -25, 0),
            )
            light = bpy.data.objects.new("bulb", bpy.data.lights.new("bulb", "SPOT"))
            light.data.energy, light.data.color, light.data.spot_size, light.data.shadow_soft_size = (
                22,
                (1, 0.8, 0.55),
                2.0,
                0.03,
            )
            light.location, light.rotation_euler.y = (0.03, 0, -0.06), math.radians(-25)
            bpy.context.scene.collection.objects.link(light)
            light.parent = head
