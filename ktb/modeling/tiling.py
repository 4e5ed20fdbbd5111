"""Images that are too large for one pass: the network in tiles, with the result of one pass.

The fusion looks at the whole image: tiles that are segmented one by one and blended differ from one pass in
6 to 14 per cent of the pixels. So only what looks at its surroundings is run in tiles, each with as much
overlap as its output depends on: embedding, stages, heads. Between them the features are put together, and
the fusion sees all of them, in blocks of queries as always. No seam has to be blended, and the trace is that
of one pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from ktb.config import BRANCHES
from ktb.modeling.layers import Reach
from ktb.modeling.model import HEAD_STRIDE, KTB, KTBOutput, mask_streams

SIZE_MULTIPLE = 32
MIN_TILE = 256
DEFAULT_TILE = 2048
"""Pixels of a tile's side."""


@dataclass(frozen=True)
class Span:
    """Of one axis: what a tile is run on (`outer`), and what of it is kept (`core`)."""

    outer: slice
    core: slice

    @property
    def inner(self) -> slice:
        """The core, counted from the start of the outer span."""
        return slice(self.core.start - self.outer.start, self.core.stop - self.outer.start)


Part = Callable[[slice, slice], Sequence[Tensor]]
"""(rows, columns) of the output's grid → tensors (N, rows, columns, C) there."""


def spans(length: int, tile: int, reach: Reach) -> Iterator[Span]:
    """Cut 0..length into cores of at most about `tile` cells, each with its reach on both sides.

    Everything begins and ends at multiples of `reach.step`, or at the border.
    """
    step = reach.step
    margin = step * math.ceil(reach.cells / step)
    core = step * max(1, round((tile - 2 * margin) / step))
    count = 1 if length <= tile else math.ceil(length / core)
    core = step * math.ceil(length / count / step)  # all of about one size
    for start in range(0, length, core):
        stop = min(length, start + core)
        yield Span(slice(max(0, start - margin), min(length, stop + margin)), slice(start, stop))


def assemble(part: Part, size_hw: tuple[int, int], tile: int, reach: Reach) -> list[Tensor]:
    """The tensors (N, h, w, C) of a part of the network, run tile by tile."""
    wholes: list[Tensor] = []
    for rows in spans(size_hw[0], tile, reach):
        for columns in spans(size_hw[1], tile, reach):
            found = part(rows.outer, columns.outer)
            if (rows.core, columns.core) == (slice(0, size_hw[0]), slice(0, size_hw[1])):
                return list(found)
            wholes = wholes or [v.new_empty(len(v), *size_hw, v.shape[-1]) for v in found]
            for whole, values in zip(wholes, found, strict=True):
                whole[:, rows.core, columns.core] = values[:, rows.inner, columns.inner]
    return wholes


def tiled_forward(
    model: KTB,
    rgb: Tensor,
    modal_x: Tensor,
    mask_rgb: Tensor | None = None,
    mask_x: Tensor | None = None,
    trace: bool = False,
    branches: Sequence[str] = BRANCHES,
    *,
    tile: int = DEFAULT_TILE,
) -> KTBOutput:
    """What `KTB.forward` gives at a quarter of the size (`logits_hw`), with the memory of tiles.

    Beside the tiles the features of all levels are held, and the logits.

    Args:
        rgb, modal_x, mask_rgb, mask_x, trace, branches: as `KTB.forward`; H and W are multiples of 32.
        tile: side of a tile of the first stage in pixels; later stages, whose cells are larger, take tiles
            of as many cells.

    Raises:
        ValueError: for another size, or a tile below 256.
    """
    check_tile(tile)
    height, width = rgb.shape[-2:]
    if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
        raise ValueError(f"the images are {height}×{width} pixels; tiles need multiples of {SIZE_MULTIPLE}.")
    cells, grid = tile // HEAD_STRIDE, (height // HEAD_STRIDE, width // HEAD_STRIDE)

    def embed(rows: slice, columns: slice) -> Sequence[Tensor]:
        at = (..., _scaled(rows, HEAD_STRIDE), _scaled(columns, HEAD_STRIDE))
        return [model.backbone.embed(rgb[at], modal_x[at])]

    (tokens,) = assemble(embed, grid, cells, model.backbone.reach(None))
    tokens = mask_streams(tokens, mask_rgb, mask_x)
    in_tiles = partial(_level_features, model, cells), partial(_head_logits, model, cells)
    return model.from_tokens(tokens, grid, trace, branches, *in_tiles)


def check_tile(tile: int) -> None:
    """Refuse a tile that would be all overlap (ValueError)."""
    if tile < MIN_TILE:
        raise ValueError(f"a tile of {tile} pixels is too small; give at least {MIN_TILE}.")


def _level_features(model: KTB, cells: int, tokens: Tensor, level: int, trace: bool) -> Sequence[Tensor]:
    """As `KTB.level_features`."""
    stride = 2 if level else 1

    def run(rows: slice, columns: slice) -> Sequence[Tensor]:
        tile = tokens[:, _scaled(rows, stride), _scaled(columns, stride)]
        after, rgb, modal_x, *change = model.level_features(tile, level, trace)
        return [after, rgb, modal_x, *(values.permute(0, 2, 3, 1) for values in change)]

    size_hw = tuple(side // stride for side in tokens.shape[1:3])
    after, rgb, modal_x, *change = assemble(run, size_hw, cells, model.backbone.reach(level))
    return [after, rgb, modal_x, *(values.permute(0, 3, 1, 2) for values in change)]


def _head_logits(model: KTB, cells: int, branch: str, feats: Sequence[Tensor]) -> Tensor:
    """As `KTB.head_logits`; a head reads one cell of the coarsest level around."""
    coarsest = 2 ** (len(feats) - 1)

    def run(rows: slice, columns: slice) -> Sequence[Tensor]:
        parts = [
            feat[:, _divided(rows, 2**level), _divided(columns, 2**level)] for level, feat in enumerate(feats)
        ]
        return [model.head_logits(branch, parts).permute(0, 2, 3, 1)]

    (logits,) = assemble(run, tuple(feats[0].shape[1:3]), cells, Reach(coarsest, coarsest))
    return logits.permute(0, 3, 1, 2)


def _scaled(span: slice, by: int) -> slice:
    return slice(span.start * by, span.stop * by)


def _divided(span: slice, by: int) -> slice:
    return slice(span.start // by, span.stop // by)
