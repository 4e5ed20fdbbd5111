"""The tools that an agent can call; each is one endpoint of the HTTP API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from app.mcp.caller import Caller, Refused
from ktb import __version__

INSTRUCTIONS = """Segment an RGB image with a second sensor's image X (depth, HHA, thermal, events, near
infrared, polarization, LiDAR), and ask which sensor the result rests on. Send a file with POST
/gradio_api/upload of this server (multipart field "files"); the path that it returns is the file's name for
one tool call. A small file may be given as a data: address instead. Files of results are links that live for
ten minutes. Results are measurements of a model that may be wrong: read `warnings` and `x.facts`, which say
how X was read."""
FILE = (
    'the path that POST /gradio_api/upload returned, or "data:MIME;base64,..." (add ";name=FILE.npy" before '
    '";base64" where the ending matters); no other path and no web address is read'
)
Rgb = Annotated[str, Field(description=f"The RGB image: {FILE}.")]
Files = Annotated[list[str], Field(description=f"The files of X, usually one; each is {FILE}.", min_length=1)]
X = Annotated[
    list[str] | None, Field(description=f"The files of X, usually one; each is {FILE}. None: no X.")
]
Model = Annotated[
    str | None, Field(description='A name that list_models returns, or "auto". Default: the first one.')
]
Options = Annotated[
    dict[str, Any] | None,
    Field(description='Known properties of X, such as {"unit": "mm"}; what is left out is detected.'),
]
LONG = {
    "inspect": ("points", "references", "attention", "weight_x", "x_led"),
    "attribute": ("rgb", "x"),
}
"""Values of an endpoint with thousands of numbers, which an agent does not get."""


def make_server() -> MCPServer:
    """A server with all tools."""
    server = MCPServer("KTB", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING")
    tools = (
        list_models,
        segment,
        read_x,
        sensor_need,
        what_if,
        inspect_pixel,
        attribute_pixel,
        score,
        export,
    )
    for tool in tools:
        server.tool()(tool)
    return server


async def list_models(context: Context) -> dict[str, Any]:
    """List the models: name, classes, and which X each takes (modality and encoding)."""
    found = await _call(context, "models", {})
    return {"models": [{key: one[key] for key in ("name", "classes", "x")} for one in found]}


async def segment(
    context: Context,
    rgb: Rgb,
    x: X = None,
    model: Model = None,
    options: Options = None,
) -> dict[str, Any]:
    """Segment an RGB image with X, or alone.

    Returns the class tables of the fused head and of the heads of each sensor (share of the image, mean
    confidence), how X was read, warnings, and links to the masks (indexed PNG and in colour) and an overlay.
    """
    return await _on_pair(context, "segment", rgb, x, model, options)


async def read_x(
    context: Context,
    x: Files,
    rgb: Annotated[str | None, Field(description=f"The RGB image, if there is one: {FILE}.")] = None,
    model: Model = None,
    options: Options = None,
) -> dict[str, Any]:
    """Read X as the model would, without a run: modality, facts (unit, range …), warnings, previews."""
    return await _call(context, "read_x", {"rgb": rgb, "x": x}, model=model, options=options)


async def sensor_need(
    context: Context,
    rgb: Rgb,
    x: Files,
    model: Model = None,
    options: Options = None,
) -> dict[str, Any]:
    """Measure which sensor the result rests on, by ablating each.

    Returns the shares of pixels whose class stays with either sensor alone, needs rgb, needs X, or needs
    both, a link to the map of these four, and the class tables of all three runs.
    """
    return await _on_pair(context, "sensors", rgb, x, model, options)


async def what_if(
    context: Context,
    rgb: Rgb,
    x: X = None,
    drop: Annotated[Literal["rgb", "x"] | None, Field(description="Ablate this sensor.")] = None,
    darken: Annotated[float | None, Field(ge=0, le=1, description="Remove this share of the light.")] = None,
    blur_sigma: Annotated[float | None, Field(ge=0, description="Blur rgb, in pixels.")] = None,
    shift_xy: Annotated[tuple[int, int] | None, Field(description="Shift X: pixels right, down.")] = None,
    region: Annotated[
        tuple[int, int, int, int] | None,
        Field(description="Ablate only in this rectangle: left, top, right, bottom in pixels."),
    ] = None,
    model: Model = None,
    options: Options = None,
) -> dict[str, Any]:
    """Run a pair with and without a change of its inputs, and compare.

    Returns the class tables of both runs, the share of pixels that change their class, the largest changes,
    and of a region the shares that change inside and outside.
    """
    given = {"drop": drop, "darken": darken, "blur_sigma": blur_sigma, "shift_xy": shift_xy, "region": region}
    change = {name: value for name, value in given.items() if value is not None}
    return await _on_pair(context, "what_if", rgb, x, model, options, change=change)


async def inspect_pixel(
    context: Context,
    rgb: Rgb,
    row: Annotated[int, Field(ge=0, description="Row of the RGB image, from the top.")],
    column: Annotated[int, Field(ge=0, description="Column of the RGB image, from the left.")],
    x: X = None,
    level: Annotated[int, Field(ge=0, le=3, description="Level of the fusion, 0 is the finest.")] = 2,
    model: Model = None,
    options: Options = None,
) -> dict[str, Any]:
    """What the fusion attends to at a pixel: balance between the sensors, entropy, shares of what reached the
    fused feature, and the class probabilities of every head. Attention is no proof of need: sensor_need and
    attribute_pixel measure it.
    """
    at = {"row": row, "column": column, "level": level}
    return await _on_pair(context, "inspect", rgb, x, model, options, **at)


async def attribute_pixel(
    context: Context,
    rgb: Rgb,
    row: Annotated[int, Field(ge=0, description="Row of the RGB image, from the top.")],
    column: Annotated[int, Field(ge=0, description="Column of the RGB image, from the left.")],
    x: X = None,
    target: Annotated[
        Literal["pixel", "region", "class"],
        Field(description="The pixel, the connected region around it, or all pixels of its class."),
    ] = "pixel",
    class_name: Annotated[str, Field(description="The class of the score; empty: the predicted one.")] = "",
    model: Model = None,
    options: Options = None,
) -> dict[str, Any]:
    """How much each sensor contributes to the score of a class (input × gradient), and how the score changes
    when each sensor is ablated.
    """
    at = {"row": row, "column": column, "target": target, "class_name": class_name}
    return await _on_pair(context, "attribute", rgb, x, model, options, **at)


async def score(
    context: Context,
    rgb: Rgb,
    label_image: Annotated[str, Field(description=f"A lossless image of the true class indices: {FILE}.")],
    x: X = None,
    numbering: Annotated[
        Literal["auto", "stored", "from_one"],
        Field(description="from_one: value k is class k - 1, and 0 is not labelled."),
    ] = "auto",
    model: Model = None,
    options: Options = None,
) -> dict[str, Any]:
    """Score a segmentation against true classes: mean IoU and pixel accuracy of every head, and where the
    fusion helped or hurt.
    """
    files = {"label_picture": label_image}
    return await _on_pair(context, "truth", rgb, x, model, options, files, numbering=numbering)


async def export(
    context: Context,
    rgb: Rgb,
    x: X = None,
    kind: Annotated[
        Literal["html", "svg", "pdf", "png", "npz", "zip"],
        Field(description="A report, a figure, arrays, or an archive of the masks."),
    ] = "html",
    model: Model = None,
    options: Options = None,
) -> dict[str, Any]:
    """Export a segmentation as one file; returns a link to it."""
    return await _on_pair(context, "export", rgb, x, model, options, kind=kind)


async def _on_pair(
    context: Context,
    endpoint: str,
    rgb: str,
    x: list[str] | None,
    model: str | None,
    options: dict[str, Any] | None,
    more: dict[str, Any] | None = None,
    **given: Any,
) -> dict[str, Any]:
    files = {"rgb": rgb, "x": x or None, **(more or {})}
    source = "file" if x else "none"
    return await _call(context, endpoint, files, model=model, options=options, x_source=source, **given)


async def _call(context: Context, endpoint: str, files: dict[str, Any], **given: Any) -> Any:
    request = context.request_context.request
    assert request is not None  # there is no other transport than HTTP
    try:
        answer = await Caller(request).call(endpoint, files, **given)
    except Refused as error:
        raise ToolError(str(error)) from error
    for name in LONG.get(endpoint, ()):
        answer.pop(name, None)
    return answer
