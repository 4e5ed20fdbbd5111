"""Tiled inference for images too large for one pass, with the result of one pass.

The fusion attends to the whole image: blending independently segmented tiles changes 6 to 14 per cent of the
pixels. Therefore only operations with a local receptive field run in tiles: embedding, stages and heads. Each
tile overlaps its neighbours by that receptive field. The tiles' features are assembled before the fusion,
which sees all of them and processes queries in chunks. No tile border is blended, and the trace is that of
one pass.
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
"""Side of a tile in pixels."""


@dataclass(frozen=True)
class Span:
    """A tile along one axis: `outer` is computed, and its `core` is kept."""

    outer: slice
    core: slice

    @property
    def inner(self) -> slice:
        """The core relative to the start of the outer span."""
        return slice(self.core.start - self.outer.start, self.core.stop - self.outer.start)


Part = Callable[[slice, slice], Sequence[Tensor]]
"""Function from (rows, columns) of the output's grid to tensors (N, rows, columns, C)."""


def spans(length: int, tile: int, reach: Reach) -> Iterator[Span]:
    """Split 0..length into cores of about `tile` cells at most, each with its reach on both sides.

    All spans begin and end at multiples of `reach.step` or at the border.
    """
    step = reach.step
    margin = step * math.ceil(reach.cells / step)
    core = step * max(1, round((tile - 2 * margin) / step))
    count = 1 if length <= tile else math.ceil(length / core)
    core = step * math.ceil(length / count / step)  # cores of similar size
    for start in range(0, length, core):
        stop = min(length, start + core)
        yield Span(slice(max(0, start - margin), min(length, stop + margin)), slice(start, stop))


def assemble(part: Part, size_hw: tuple[int, int], tile: int, reach: Reach) -> list[Tensor]:
    """Run a tile function over all tiles and assemble its tensors (N, h, w, C)."""
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
    """Compute `KTB.forward` with logits at a quarter of the size, tile by tile.

    Memory holds one tile's activations, the features of all levels and the logits.

    Args:
        rgb, modal_x, mask_rgb, mask_x, trace, branches: as in `KTB.forward`; H and W are multiples of 32.
        tile: side of a first-stage tile in pixels; tiles of later stages have the same number of cells.

    Raises:
        ValueError: H or W is not a multiple of 32, or the tile is below 256 pixels.
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
    """Raise a ValueError for a tile that would be all overlap."""
    if tile < MIN_TILE:
        raise ValueError(f"a tile of {tile} pixels is too small; give at least {MIN_TILE}.")


def _level_features(model: KTB, cells: int, tokens: Tensor, level: int, trace: bool) -> Sequence[Tensor]:
    """`KTB.level_features` in tiles."""
    stride = 2 if level else 1

    def run(rows: slice, columns: slice) -> Sequence[Tensor]:
        tile = tokens[:, _scaled(rows, stride), _scaled(columns, stride)]
        after, rgb, modal_x, *change = model.level_features(tile, level, trace)
        return [after, rgb, modal_x, *(values.permute(0, 2, 3, 1) for values in change)]

    size_hw = tuple(side // stride for side in tokens.shape[1:3])
    after, rgb, modal_x, *change = assemble(run, size_hw, cells, model.backbone.reach(level))
    return [after, rgb, modal_x, *(values.permute(0, 3, 1, 2) for values in change)]


def _head_logits(model: KTB, cells: int, branch: str, feats: Sequence[Tensor]) -> Tensor:
    """`KTB.head_logits` in tiles; a head's receptive field is one cell of the coarsest level."""
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
