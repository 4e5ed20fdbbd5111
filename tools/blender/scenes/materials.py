"""Procedural materials: paint, wood, fabric, tiles and pictures painted with numpy."""

import functools
import warnings

import bpy
import numpy as np

warnings.filterwarnings("ignore", category=DeprecationWarning)
NO_RETURN = 1  # pass index of surfaces that send little of the infrared pattern back (black, shiny)
NEVER = 2  # pass index of windows, which send none back


class Graph:
    """A material's node tree with terse helpers; values may be numbers, tuples or sockets."""

    def __init__(self, name, no_return=False):
        self.mat = bpy.data.materials.new(name)
        self.mat.use_nodes = True
        self.mat.pass_index = int(no_return)
        self.nodes, self.links = self.mat.node_tree.nodes, self.mat.node_tree.links
        self.shader = self.nodes["Principled BSDF"]

    def feed(self, socket, value):
        """Link a socket or set a constant."""
        if isinstance(value, bpy.types.NodeSocket):
            self.links.new(value, socket)
        else:
            if isinstance(value, tuple) and len(value) == 3 and socket.type == "RGBA":
                value = (*value, 1.0)
            socket.default_value = value

    def add(self, kind, props=None, **inputs):
        """Add a node; keyword names are input names with _ for a space."""
        node = self.nodes.new("ShaderNode" + kind)
        for key, value in (props or {}).items():
            setattr(node, key, value)
        for key, value in inputs.items():
            self.feed(node.inputs[key.replace("_", " ")], value)
        return node

    def coords(self, scale=(1, 1, 1), kind="Object", jitter=True):
        """Object coordinates in metres, scaled, and shifted by a random amount per object."""
        vector = self.add("TexCoord").outputs[kind]
        if jitter:
            shift = self.add("VectorMath", {"operation": "SCALE"})
            self.feed(shift.inputs[0], (7.0, 3.0, 5.0))
            self.feed(shift.inputs["Scale"], self.add("ObjectInfo").outputs["Random"])
            plus = self.add("VectorMath", {"operation": "ADD"})
            self.feed(plus.inputs[0], vector)
            self.feed(plus.inputs[1], shift.outputs[0])
            vector = plus.outputs[0]
        return self.add("Mapping", Vector=vector, Scale=scale).outputs[0]

    def noise(self, vector, scale, detail=4.0, distortion=0.0):
        """Fractal noise, 0..1."""
        return self.add("TexNoise", Vector=vector, Scale=scale, Detail=detail, Distortion=distortion).outputs[
            0
        ]

    def ramp(self, factor, stops):
        """Colour ramp through [(position, rgb), ...]."""
        node = self.add("ValToRGB")
        self.feed(node.inputs[0], factor)
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(0.5)
        for element, (pos, rgb) in zip(elements, stops):
            element.position, element.color = pos, (*rgb, 1.0)
        return node.outputs[0]

    def mix(self, factor, a, b, blend="MIX"):
        """Blend two colours."""
        node = self.add("Mix", {"data_type": "RGBA", "blend_type": blend})
        for i, value in ((0, factor), (6, a), (7, b)):
            self.feed(node.inputs[i], value)
        return node.outputs[2]

    def math(self, op, a, b=0.0):
        """A scalar operation."""
        node = self.add("Math", {"operation": op})
        self.feed(node.inputs[0], a)
        self.feed(node.inputs[1], b)
        return node.outputs[0]

    def bump(self, height, strength=0.3, distance=0.005):
        """Perturb the normal by a height field."""
        node = self.add("Bump", Strength=strength, Distance=distance, Height=height)
        self.feed(self.shader.inputs["Normal"], node.outputs[0])

    def finish(self, **inputs):
        """Set shader inputs and return the material."""
        for key, value in inputs.items():
            self.feed(self.shader.inputs[key.replace("_", " ")], value)
        return self.mat


def dim(rgb, k):
    """Scale a colour."""
    return tuple(min(c * k, 1.0) for c in rgb)


@functools.cache
def plain(rgb, rough=0.5, metallic=0.0, no_return=False, coat=0.0):
    """One slightly mottled colour: plastic, lacquer, metal, ceramics."""
    g = Graph("plain", no_return)
    colour = g.mix(g.noise(g.coords(), 9.0), dim(rgb, 0.88), dim(rgb, 1.08))
    return g.finish(Base_Color=colour, Roughness=rough, Metallic=metallic, Coat_Weight=coat)


@functools.cache
def paint(rgb, rough=0.85):
    """Rolled wall paint with faint stains."""
    g = Graph("paint")
    c = g.coords(jitter=False)
    g.bump(g.noise(c, 160.0, 2.0), 0.12, 0.002)
    return g.finish(Base_Color=g.mix(g.noise(c, 1.3, 5.0), dim(rgb, 0.9), dim(rgb, 1.05)), Roughness=rough)


@functools.cache
def wood(dark, light, rough=0.4, rings=5.0):
    """Varnished wood; three materials with the grain along x, y and z."""
    mats = []
    for axis in range(3):
        g = Graph("wood")
        scale = [1.0, 1.0, 1.0]
        scale[axis] = 0.12
        c = g.coords(tuple(scale))
        bands = g.add(
            "TexWave",
            {"wave_type": "RINGS"},
            Vector=c,
            Scale=rings,
            Distortion=7.0,
            Detail=3.0,
            Detail_Scale=0.9,
        ).outputs[1]
        fibre = g.noise(c, 110.0, 3.0)
        middle = tuple((a + b) / 2 for a, b in zip(dark, light))
        colour = g.mix(
            0.45, g.ramp(bands, [(0.0, dark), (0.7, light)]), g.mix(g.noise(c, 7.0), middle, light)
        )
        colour = g.mix(0.3, colour, g.ramp(fibre, [(0.3, dim(dark, 0.8)), (0.7, light)]))
        g.bump(fibre, 0.08, 0.002)
        mats.append(g.finish(Base_Color=colour, Roughness=rough))
    return tuple(mats)


@functools.cache
def fabric(rgb, rgb2=None, weave=260.0, blotch=0.14, stripe=0.0, sheen=0.06):
    """Woven cloth: thread bump, soft blotches, and stripes `stripe` metres apart (or none)."""
    g = Graph("fabric")
    c = g.coords(jitter=False)
    colour = g.mix(g.noise(c, 4.0), dim(rgb, 1 - blotch), dim(rgb, 1 + blotch))
    if rgb2:
        if stripe:
            w = g.add("TexWave", Vector=g.coords(kind="UV", jitter=False), Scale=stripe).outputs[1]
            mask = g.ramp(w, [(0.55, (0, 0, 0)), (0.62, (1, 1, 1))])
        else:
            mask = g.noise(c, weave * 0.5, 1.0)
        colour = g.mix(mask, colour, rgb2)
    g.bump(g.math("ADD", g.noise(c, weave, 1.0), g.math("MULTIPLY", g.noise(c, 22.0), 2.0)), 0.35, 0.003)
    return g.finish(Base_Color=colour, Roughness=0.95, Sheen_Weight=sheen, Sheen_Roughness=0.5)


@functools.cache
def floral(ground, petals, scale=9.0):
    """Printed cotton: scattered soft dots and leaves on a ground colour (uses UVs)."""
    g = Graph("floral")
    c = g.coords(kind="UV", jitter=False)
    warp = g.add("VectorMath", {"operation": "ADD"})
    g.feed(warp.inputs[0], c)
    wob = g.add("TexNoise", Vector=c, Scale=scale * 2.5)
    k = g.add("VectorMath", {"operation": "SCALE"})
    g.feed(k.inputs[0], wob.outputs[1])
    g.feed(k.inputs["Scale"], 0.05)
    g.feed(warp.inputs[1], k.outputs[0])
    cells = g.add("TexVoronoi", Vector=warp.outputs[0], Scale=scale)
    mask = g.ramp(cells.outputs[0], [(0.24, (1, 1, 1)), (0.30, (0, 0, 0))])
    tone = g.ramp(g.noise(c, scale * 1.7), [(0.4, petals), (0.6, dim(petals, 0.45))])
    colour = g.mix(mask, g.mix(g.noise(c, 6.0), dim(ground, 0.9), ground), tone)
    g.bump(g.noise(g.coords(jitter=False), 24.0), 0.3, 0.004)
    return g.finish(Base_Color=colour, Roughness=0.95, Sheen_Weight=0.05)


@functools.cache
def carpet(rgb):
    """Cut-pile carpet."""
    g = Graph("carpet")
    c = g.coords(jitter=False)
    fine = g.noise(c, 170.0, 2.0)
    colour = g.mix(fine, dim(rgb, 0.55), dim(rgb, 1.25))
    colour = g.mix(g.noise(c, 2.2, 5.0), dim(rgb, 0.75), colour, "SOFT_LIGHT")
    g.bump(g.math("ADD", fine, g.noise(c, 12.0)), 0.8, 0.008)
    return g.finish(Base_Color=colour, Roughness=1.0, Sheen_Weight=0.1)


@functools.cache
def planks(dark, light, width=0.12, length=1.1, rough=0.32, gap=0.0015):
    """Floorboards along y in the xy plane."""
    g = Graph("planks")
    c = g.add("Mapping", Vector=g.coords(jitter=False), Rotation=(0, 0, np.pi / 2)).outputs[0]
    brick = g.add(
        "TexBrick",
        {"offset": 0.37, "offset_frequency": 2},
        Vector=c,
        Color1=(0.1,) * 3,
        Color2=(0.9,) * 3,
        Mortar=(0.0,) * 3,
        Scale=1.0,
        Mortar_Size=gap,
        Brick_Width=length,
        Row_Height=width,
    )
    tone = brick.outputs[0]
    shifted = g.add("VectorMath", {"operation": "ADD"})
    g.feed(shifted.inputs[0], g.add("Mapping", Vector=c, Scale=(0.14, 1, 1)).outputs[0])
    g.feed(shifted.inputs[1], g.mix(1.0, tone, (9.0, 9.0, 9.0), "MULTIPLY"))
    grain = g.noise(shifted.outputs[0], 34.0, 5.0, 1.2)
    base = g.mix(g.math("ADD", g.math("MULTIPLY", grain, 0.9), -0.05), dark, light)
    colour = g.mix(0.45, base, g.mix(tone, dim(dark, 0.8), dim(light, 1.1)))
    colour = g.mix(brick.outputs[1], colour, dim(dark, 0.25))
    g.bump(g.math("SUBTRACT", grain, brick.outputs[1]), 0.15, 0.003)
    return g.finish(Base_Color=colour, Roughness=rough)


@functools.cache
def tiles(rgb, grout, size=0.3, aspect=1.0, offset=0.0, wall=False, rough=0.25):
    """Glazed tiles in the xy plane, or in the xz plane for a wall."""
    g = Graph("tiles")
    c = g.coords(jitter=False)
    if wall:
        c = g.add("Mapping", Vector=c, Rotation=(-np.pi / 2, 0, 0)).outputs[0]
    brick = g.add(
        "TexBrick",
        {"offset": offset},
        Vector=c,
        Color1=dim(rgb, 0.92),
        Color2=dim(rgb, 1.04),
        Mortar=grout,
        Scale=1.0,
        Mortar_Size=0.004,
        Mortar_Smooth=0.2,
        Brick_Width=size * aspect,
        Row_Height=size,
    )
    blot = g.noise(c, 7.0, 6.0)
    colour = g.mix(0.5, brick.outputs[0], g.ramp(blot, [(0.3, dim(rgb, 0.72)), (0.7, dim(rgb, 1.05))]))
    colour = g.mix(brick.outputs[1], colour, grout)
    g.bump(g.math("MULTIPLY", brick.outputs[1], -1.0), 0.5, 0.003)
    return g.finish(Base_Color=colour, Roughness=rough)


@functools.cache
def stone(rgb, fleck, rough=0.18):
    """Speckled polished stone for worktops."""
    g = Graph("stone")
    c = g.coords(jitter=False)
    speck = g.ramp(g.noise(c, 90.0, 3.0), [(0.42, dim(rgb, 0.5)), (0.5, rgb), (0.62, fleck)])
    return g.finish(Base_Color=g.mix(g.noise(c, 6.0), speck, rgb), Roughness=rough)


@functools.cache
def attribute(rough=0.55):
    """Colour from the mesh attribute 'tint' (rows of books)."""
    g = Graph("tint")
    colour = g.add("Attribute", {"attribute_name": "tint"}).outputs[0]
    worn = g.mix(
        0.25, colour, g.mix(g.noise(g.coords(), 25.0), (0.1, 0.1, 0.1), (0.8, 0.8, 0.75)), "SOFT_LIGHT"
    )
    return g.finish(Base_Color=worn, Roughness=rough)


@functools.cache
def glow(rgb, strength, no_return=False):
    """A light-emitting surface."""
    return Graph("glow", no_return).finish(
        Base_Color=(0, 0, 0), Emission_Color=rgb, Emission_Strength=strength
    )


@functools.cache
def glass(rgb=(1, 1, 1), rough=0.0):
    """Clear or tinted glass."""
    return Graph("glass", NEVER).finish(Base_Color=rgb, Roughness=rough, Transmission_Weight=1.0, IOR=1.45)


@functools.cache
def translucent(rgb, strength=0.5, folds=True):
    """Thin cloth that lets light through (lamp shades, sheer curtains)."""
    g = Graph("translucent")
    c = g.coords(jitter=False)
    colour = g.mix(g.noise(c, 200.0, 1.0), dim(rgb, 0.85), rgb)
    thin = g.add("BsdfTranslucent", Color=colour)
    blend = g.add("MixShader")
    g.feed(blend.inputs[0], strength)
    g.feed(blend.inputs[1], g.shader.outputs[0])
    g.feed(blend.inputs[2], thin.outputs[0])
    g.links.new(blend.outputs[0], g.nodes["Material Output"].inputs[0])
    return g.finish(Base_Color=colour, Roughness=0.95)


def image(array, rough=0.6, emission=0.0, no_return=False):
    """A material showing an (h, w, 3) array of 0..1 sRGB values through the UVs."""
    h, w = array.shape[:2]
    img = bpy.data.images.new("picture", w, h)
    img.pixels.foreach_set(np.dstack([array[::-1], np.ones((h, w))]).astype(np.float32).ravel())
    img.pack()
    g = Graph("image", no_return)
    tex = g.add("TexImage", {"image": img}).outputs[0]
    if emission:
        return g.finish(
            Base_Color=(0.01,) * 3, Roughness=rough, Emission_Color=tex, Emission_Strength=emission
        )
    return g.finish(Base_Color=tex, Roughness=rough)
