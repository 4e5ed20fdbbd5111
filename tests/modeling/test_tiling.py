"""Tiles give what one pass gives: seams, edges, odd sizes, masks, traces; memory is that of a tile."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from helpers.models import MAX_DIFFERENT, stirred, tiny_model, tiny_swin_config

import ktb.inference.predictor
from ktb import load_model, read_image_rgb, read_x
from ktb.checkpoints.registry import DEFAULT_MODEL
from ktb.config import BRANCHES
from ktb.inference.predictor import Predictor
from ktb.modeling.build import build_model
from ktb.modeling.layers import Reach
from ktb.modeling.tiling import assemble, spans, tiled_forward

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=["lite", "swin"])
def model(request):
    return stirred(tiny_model(request.param)).eval()


@pytest.fixture(scope="module")
def embedded():
    return load_model(DEFAULT_MODEL).eval()


def images(height: int, width: int, batch: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(height * width)
    return [torch.randn(batch, 3, height, width, generator=generator) for _ in range(2)]


def one_pass(model, rgb, x, **more):
    return model(rgb, x, logits_hw=(rgb.shape[-2] // 4, rgb.shape[-1] // 4), **more)


def assert_same(found, expected):
    for branch in BRANCHES:
        ours, theirs = getattr(found, branch), getattr(expected, branch)
        spread = float(theirs.std())
        torch.testing.assert_close(ours, theirs, atol=1e-4 * max(1.0, spread), rtol=1e-4)
        assert (ours.argmax(1) != theirs.argmax(1)).float().mean() <= MAX_DIFFERENT


# A tile of 256 pixels; these sizes are just above it, narrower than it, leave a rest, take several of them.
@pytest.mark.parametrize("size", [(288, 288), (32, 544), (416, 352), (256, 1056)])
@torch.inference_mode()
def test_tiles_equal_one_pass(model, size):
    inputs = images(*size)
    assert_same(tiled_forward(model, *inputs, tile=256), one_pass(model, *inputs))


@pytest.mark.usefixtures("kernels")
@torch.inference_mode()
def test_one_tile_is_one_pass_to_the_bit(model):
    inputs = images(96, 160)
    whole, tiled = one_pass(model, *inputs), tiled_forward(model, *inputs, tile=256)
    assert all(torch.equal(getattr(whole, branch), getattr(tiled, branch)) for branch in BRANCHES)


@torch.inference_mode()
def test_masks_batches_branches_and_trace_are_kept(model):
    inputs = images(288, 352, batch=2)
    more = {"mask_x": torch.tensor([True, False]), "mask_rgb": torch.tensor([False, False]), "trace": True}
    whole, tiled = one_pass(model, *inputs, **more), tiled_forward(model, *inputs, **more, tile=256)
    assert_same(tiled, whole)
    for ours, theirs in zip(tiled.trace, whole.trace, strict=True):
        for field in dataclasses.fields(theirs):
            torch.testing.assert_close(
                getattr(ours, field.name), getattr(theirs, field.name), atol=1e-3, rtol=1e-3
            )
    for ours, theirs in zip(tiled.prompts, whole.prompts, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    only = tiled_forward(model, *inputs, branches=("x",), tile=256)
    assert (only.fused, only.rgb) == (None, None)
    assert only.x.shape == (2, whole.x.shape[1], 72, 88)


@torch.inference_mode()
def test_single_tokens_are_ablated_across_tiles(model):
    inputs = images(288, 352)
    tokens = torch.zeros(1, 72, 88, dtype=torch.bool)
    tokens[:, 50:70, 40:80] = True
    for sensor in ("mask_rgb", "mask_x"):
        masked = one_pass(model, *inputs, **{sensor: tokens})
        assert_same(tiled_forward(model, *inputs, **{sensor: tokens}, tile=256), masked)
        assert not torch.allclose(masked.fused, one_pass(model, *inputs).fused)


@torch.inference_mode()
def test_the_reach_of_many_shifted_windows_is_enough():
    """Stages of six blocks, whose windows shift three times."""
    config = tiny_swin_config()
    backbone = dataclasses.replace(config.backbone, depths=(6, 2, 2, 2))
    deep = stirred(build_model(dataclasses.replace(config, backbone=backbone))).eval()
    inputs = images(64, 544)
    assert_same(tiled_forward(deep, *inputs, tile=256), one_pass(deep, *inputs))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 100, 500])
@pytest.mark.parametrize("reach", [Reach(0, 1), Reach(9, 1), Reach(12, 12), Reach(8, 8), Reach(40, 4)])
def test_cores_cover_an_axis_once_and_tiles_stay_small(length, reach):
    found = list(spans(length, 64, reach))
    assert [n for span in found for n in range(length)[span.core]] == list(range(length))
    for span in found:
        for edge in (span.core, span.outer):
            assert edge.start % reach.step == 0
            assert edge.stop % reach.step == 0 or edge.stop == length
        assert span.outer.start == 0 or span.core.start - span.outer.start >= reach.cells
        assert span.outer.stop == length or span.outer.stop - span.core.stop >= reach.cells
        assert span.outer.stop - span.outer.start <= 64 + 3 * reach.step or reach.cells > 16


def test_parts_never_see_more_than_a_tile():
    seen = []

    def part(rows, columns):
        seen.append((rows.stop - rows.start, columns.stop - columns.start))
        y, x = torch.arange(rows.start, rows.stop)[:, None], torch.arange(columns.start, columns.stop)
        return [(1000 * y + x)[None, ..., None]]

    (whole,) = assemble(part, (300, 170), 64, Reach(6, 2))
    expected = 1000 * torch.arange(300)[:, None] + torch.arange(170)
    assert torch.equal(whole[0, ..., 0], expected)
    assert max(max(size) for size in seen) <= 66


def test_what_cannot_be_tiled_is_refused(model):
    with pytest.raises(ValueError, match="multiples of 32"):
        tiled_forward(model, *images(100, 100))
    with pytest.raises(ValueError, match="a tile of 100 pixels is too small; give at least 256"):
        tiled_forward(model, *images(96, 96), tile=100)
    with pytest.raises(ValueError, match="tile 'big': give 'auto', None, or pixels"):
        Predictor(model, tile="big")
    with pytest.raises(ValueError, match="a tile of 32 pixels is too small"):
        Predictor(model, tile=32)


def check_pair(model, rgb, x, short_side):
    """Tiles of 256 pixels give the labels and confidences of one pass, of each head."""
    whole, tiled = (Predictor(model, short_side, tile=tile) for tile in (None, 256))
    reading = whole.read(x, rgb.shape[:2])
    expected, found = whole(rgb, reading, trace=False), tiled(rgb, reading, trace=False)
    for branch in BRANCHES:
        assert np.mean(found.labels[branch] != expected.labels[branch]) <= MAX_DIFFERENT
        assert np.abs(found.confidences[branch] - expected.confidences[branch]).max() < 0.05


@pytest.mark.parametrize(("name", "short_side"), [("bedroom", 384), ("kitchen", 288)])
def test_examples_have_no_seam(embedded, name, short_side):
    files = (f"assets/examples/{name}_rgb.png", f"assets/examples/{name}_depth.png")
    check_pair(embedded, read_image_rgb(files[0]), read_x(files[1]), short_side)


def test_real_rgb_images_have_no_seam(embedded, shared):
    folder = shared / "data" / "NYUDepthv2"
    photos = sorted((folder / "RGB").glob("*.jpg"))[:1]
    if not photos:
        pytest.skip("the RGB images of NYUv2 are not there")
    for photo in photos:
        check_pair(embedded, read_image_rgb(photo), read_x(folder / "Depth" / f"{photo.stem}.png"), 352)


def test_auto_sets_in_above_one_tile_and_takes_what_was_refused(model, monkeypatch):
    used = []

    def forward(*args, tile, **more):
        used.append(tile)
        return tiled_forward(*args, tile=tile, **more)

    monkeypatch.setattr(ktb.inference.predictor, "tiled_forward", forward)
    monkeypatch.setattr(ktb.inference.predictor, "DEFAULT_TILE", 256)
    monkeypatch.setattr(ktb.inference.predictor, "MAX_NETWORK_PIXELS", 300 * 300)
    auto, never, always = (Predictor(model, tile=tile) for tile in ("auto", None, 320))
    for predictor in (auto, never, always):
        predictor.short_side = None
    rgb = cv2.resize(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8), (300, 400))
    small = rgb[:256, :256]
    assert auto(small, None, trace=False).network_hw == (256, 256)
    assert used == []
    assert auto(rgb, None, trace=False).network_hw == (416, 320)
    assert always(small, None, trace=False).network_hw == (256, 256)
    assert used == [256]
    assert always(rgb, None, trace=False).network_hw == (416, 320)
    assert used == [256, 320]
    with pytest.raises(ValueError, match=r"300 x 400 .* tile"):
        never(rgb, None)
