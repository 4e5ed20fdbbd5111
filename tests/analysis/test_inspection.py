"""Looking into the fusion: numbers against direct computations, how maps add up, what the words say."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.models import MM, depth_model, pair, stirred, tiny_model, tiny_swin_config
from helpers.pairs import synthetic_pair

import ktb.analysis.inspection
import ktb.analysis.maps
import ktb.modeling.trace
from ktb import Predictor, load_model, read_image_rgb, read_x
from ktb.analysis import (
    UNIFORM_ENTROPY,
    Attribution,
    Inspection,
    at_of_pixel,
    cell_at,
    clipped_range,
    describe_attribution,
    describe_level,
    describe_pixel,
    inspect_pixel,
    level_maps,
    pixel_balances,
    pixel_shares,
    place_in_image,
    strongest,
)
from ktb.analysis.color_range import map_values
from ktb.checkpoints.registry import DEFAULT_MODEL
from ktb.modeling.build import build_model
from ktb.outputs.arrays import level_arrays

pytestmark = pytest.mark.usefixtures("one_thread")
PLACES = ((0.0, 0.0), (0.31, 0.77), (0.5, 0.5), (1.0, 1.0))
SIZE = (64, 96)
EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"


@pytest.fixture(scope="module")
def output():
    with torch.inference_mode():
        return stirred(tiny_model("swin")).eval()(*pair(1, *SIZE), trace=True)


@pytest.fixture(scope="module")
def traces(output):
    return output.trace


@pytest.fixture(scope="module")
def embedded():
    predictor = Predictor(load_model(DEFAULT_MODEL))
    return predictor(read_image_rgb(EXAMPLES / "kitchen_rgb.png"), read_x(EXAMPLES / "kitchen_depth.png"))


def table_value(table: np.ndarray, at: np.ndarray) -> float:
    """One bilinear reading of a bias table at (y, x) in [-1, 1], align-corners, written out."""
    place = (at + 1) / 2 * (np.array(table.shape) - 1)
    total = 0.0
    for row in (int(np.floor(place[0])), int(np.floor(place[0])) + 1):
        for column in (int(np.floor(place[1])), int(np.floor(place[1])) + 1):
            if 0 <= row < table.shape[0] and 0 <= column < table.shape[1]:
                weight = (1 - abs(place[0] - row)) * (1 - abs(place[1] - column))
                total += weight * table[row, column]
    return total


def direct_attention(trace, head: int, cell: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Points and attention of one head at one cell, written out in float64."""
    (height, width), heads = trace.query_hw, trace.query.shape[1]
    group = head // (heads // trace.sampling_points.shape[1])
    points = trace.sampling_points[0, group].double().numpy()
    query = trace.query[0, head, cell[0] * width + cell[1]].double().numpy()
    where = np.array([-1 + 2 * cell[0] / (height - 1), -1 + 2 * cell[1] / (width - 1)])
    table = trace.bias_table[head].double().numpy()
    scores = trace.key[0, head].double().numpy() @ query / np.sqrt(len(query))
    scores += [table_value(table, (where - point) / 2) for point in points]
    spread = np.exp(scores - scores.max())
    return points, spread / spread.sum()


def assert_exact(traces, level: int, at: tuple[float, float], head: int):
    trace = traces[level]
    view = inspect_pixel(traces, level, at, head)
    cell = tuple(min(int(f * n), n - 1) for f, n in zip(at, trace.query_hw))
    assert (view.level, view.head, view.position, view.grid_hw) == (level, head, cell, trace.query_hw)
    points, attention = direct_attention(trace, head, cell)
    assert np.allclose(view.points, points)
    assert np.allclose(view.attention, attention, rtol=1e-3, atol=1e-6)
    weight_x = trace.modality_weights[0, 1].numpy()
    assert np.array_equal(view.weight_x, weight_x)
    assert view.balance == pytest.approx(attention @ weight_x, abs=1e-5)
    entropy = -(attention * np.log(attention)).sum()
    assert view.entropy == pytest.approx(entropy / np.log(len(points)), abs=1e-4)
    assert view.effective_points == pytest.approx(np.exp(entropy), rel=1e-3)
    assert view.points_per_head == len(points) == trace.sampling_points.shape[2]
    norms = (trace.attended_norm, trace.context_norm, trace.residual_norm)
    a, *others = (float(norm[0, cell[0], cell[1]]) for norm in norms if norm is not None)
    assert view.sparse_share == pytest.approx(a / (a + sum(others)), abs=1e-6)
    assert view.x_led.tolist() == [False] * (len(points) // 2) + [True] * (len(points) // 2)
    assert np.allclose(view.references, trace.reference_points.numpy())


@pytest.mark.parametrize("level", range(4))
def test_a_head_at_a_pixel_is_what_a_direct_computation_gives(traces, level):
    for at in PLACES:
        for head in range(traces[level].query.shape[1]):
            assert_exact(traces, level, at, head)


@pytest.mark.parametrize(("level", "heads"), [(0, (0, 1)), (1, (3,)), (2, (1, 6)), (3, (0, 15))])
def test_the_embedded_model_too(embedded, level, heads):
    for head in heads:
        assert_exact(embedded.trace, level, (0.62, 0.28), head)


def test_the_model_of_these_tests_has_groups_of_several_heads_and_attention_that_differs(traces):
    heads_and_groups = [(t.query.shape[1], t.sampling_points.shape[1]) for t in traces]
    assert heads_and_groups == [(2, 1), (2, 2), (4, 2), (4, 4)]
    points = traces[2].sampling_points[0]
    assert (points[0] - points[1]).abs().max() > 0.01
    first, second = (inspect_pixel(traces, 2, (0.4, 0.4), head).attention for head in (0, 1))
    assert np.abs(first - second).max() > 0.001


@pytest.mark.parametrize("level", range(4))
def test_all_heads_together_are_the_mean_of_the_single_ones(traces, level):
    heads, groups = traces[level].query.shape[1], traces[level].sampling_points.shape[1]
    for at in PLACES:
        singles = [inspect_pixel(traces, level, at, head) for head in range(heads)]
        view = inspect_pixel(traces, level, at)
        assert view.head is None
        assert view.attention.sum() == pytest.approx(1, abs=1e-5)
        for group, (points, attention) in enumerate(
            zip(np.split(view.points, groups), np.split(view.attention, groups))
        ):
            own = singles[group * heads // groups : (group + 1) * heads // groups]
            assert np.allclose(attention, sum(single.attention for single in own) / heads, atol=1e-6)
            assert all(np.array_equal(points, single.points) for single in own)
        for name in ("balance", "entropy", "effective_points", "sparse_share"):
            mean = np.mean([getattr(single, name) for single in singles])
            assert getattr(view, name) == pytest.approx(mean, rel=1e-4), name
        lengths = {len(getattr(view, name)) for name in ("points", "references", "weight_x", "x_led")}
        assert lengths == {len(view.attention)} == {groups * view.points_per_head}


@pytest.mark.parametrize("level", range(4))
def test_pixels_and_maps_agree(traces, level):
    maps = level_maps(traces[level], level, SIZE)
    for at in PLACES:
        view = inspect_pixel(traces, level, at)
        assert maps.balance[view.position] == pytest.approx(view.balance, abs=1e-5)
        assert maps.sparse_share[view.position] == pytest.approx(view.sparse_share, abs=1e-6)
        assert pixel_balances(traces, at)[level] == pytest.approx(view.balance, abs=1e-6)
        for head in range(len(maps.head_balance)):
            single = inspect_pixel(traces, level, at, head)
            assert maps.head_balance[head][single.position] == pytest.approx(single.balance, abs=1e-5)
            assert maps.entropy[head][single.position] == pytest.approx(single.entropy, abs=1e-4)


@pytest.mark.parametrize("level", range(4))
def test_maps_are_what_the_whole_attention_gives(traces, output, level):
    trace = traces[level]
    maps = level_maps(trace, level, SIZE, output.prompts[level])
    (height, width), (groups, count) = trace.query_hw, trace.sampling_points.shape[1:3]
    attention = trace.attention(torch.arange(height * width))[0].double()  # M, h·w, 2n
    balance = (attention @ trace.modality_weights[0, 1].double()).unflatten(-1, (height, width))
    entropy = torch.special.entr(attention).sum(dim=-1).unflatten(-1, (height, width)) / np.log(count)
    assert np.allclose(maps.head_balance, balance, atol=1e-5)
    assert np.allclose(maps.balance, balance.mean(dim=0), atol=1e-5)
    assert np.allclose(maps.balance, trace.balance()[0], atol=1e-6)
    assert np.allclose(maps.entropy, entropy, atol=1e-4)
    assert np.allclose(maps.entropy, trace.entropy()[0], atol=1e-6)
    received = attention.mean(dim=1).unflatten(0, (groups, -1)).mean(dim=1) * count
    assert np.allclose(maps.importance, received, atol=1e-4)
    assert maps.importance.mean() == pytest.approx(1, abs=1e-4)
    assert maps.importance_map.mean() == pytest.approx(1, abs=1e-4)
    assert maps.density_map.mean() == pytest.approx(1, abs=1e-4)
    assert maps.importance_map.shape == maps.density_map.shape == (height, width)
    assert np.allclose(np.clip(maps.references, -1, 1) + maps.offsets, maps.points, atol=1e-6)
    assert np.array_equal(maps.points, trace.sampling_points[0])
    assert maps.stride == 4 * 2**level
    assert np.array_equal(maps.prompt_rgb, output.prompts[level][0, 0])
    assert np.array_equal(maps.prompt_x, output.prompts[level][0, 1])
    assert not maps.is_uniform or entropy.mean() >= UNIFORM_ENTROPY
    assert level_maps(trace, level, SIZE).prompt_x is None


def test_clamping_is_no_movement(traces):
    trace = traces[3]
    references = trace.reference_points
    assert (references.abs() > 1).any()  # half a step outside, in the last row and column
    still = dataclasses.replace(
        trace, sampling_points=references.clamp(-1, 1).expand_as(trace.sampling_points)
    )
    maps = level_maps(still, 3, SIZE)
    assert (maps.distances == 0).all()
    assert maps.on_border.mean() == pytest.approx(float((references.abs() >= 1).any(-1).float().mean()))
    rows = 2 / (trace.query_hw[0] - 1)  # one position
    moved = (references.clamp(-1, 1) - references.new_tensor([rows, 0])).clamp(-1, 1)
    maps = level_maps(
        dataclasses.replace(trace, sampling_points=moved.expand_as(trace.sampling_points)), 3, SIZE
    )
    assert maps.distances.max() == pytest.approx(1, abs=1e-4)


def test_without_x_no_sensor_is_described(traces, output):
    maps = level_maps(traces[2], 2, SIZE, output.prompts[2], x_is_missing=True)
    assert map_values(maps, "balance") is None
    assert map_values(maps, "prompt_x") is None
    assert map_values(maps, "entropy").shape == maps.balance.shape
    view = inspect_pixel(traces, 2, (0.5, 0.5), x_is_missing=True)
    for said in (
        describe_level(maps),
        describe_pixel(view),
        describe_pixel(dataclasses.replace(view, entropy=1)),
    ):
        assert "attention reads" not in said
        assert "sensors" not in said
        assert "% x" not in said
    assert all(share.x == 0 for share in pixel_shares(traces, (0.5, 0.5), x_is_missing=True))
    given = Attribution("logit of bed", 2.5, *[np.zeros((2, 2), np.float32)] * 2, 1, 0, 0, 0, -2, True)
    assert describe_attribution(given) == (
        "The logit of bed is 2.50. There was no X, so it reacts to rgb alone, and no ablation compares two "
        "sensors."
    )


def test_maps_made_in_small_blocks_are_the_same(traces, monkeypatch):
    whole = level_maps(traces[0], 0, SIZE)
    monkeypatch.setattr(ktb.modeling.trace, "MAX_CPU_ENTRIES", 700)
    monkeypatch.setattr(ktb.analysis.maps, "MAX_SPLAT_VALUES", 200)
    assert len(list(traces[0]._query_chunks())) > 10
    parts = level_maps(traces[0], 0, SIZE)
    for name in ("head_balance", "entropy", "importance", "importance_map", "density_map"):
        assert np.allclose(getattr(parts, name), getattr(whole, name), atol=1e-5), name


def with_points(trace, points: np.ndarray, point_hw: tuple[int, int]):
    """The trace with other points, all groups the same."""
    groups = trace.sampling_points.shape[1]
    placed = torch.tensor(points, dtype=torch.float32)[None, None].repeat(1, groups, 1, 1)
    return dataclasses.replace(
        trace,
        sampling_points=placed,
        reference_points=placed[0, 0],
        key=torch.zeros(1, trace.key.shape[1], len(points), trace.key.shape[3]),
        modality_weights=torch.full((1, 2, len(points)), 0.5),
        point_hw=point_hw,
    )


def test_evenly_spread_points_give_an_even_density(traces):
    axes = np.linspace(-1, 1, 4), np.linspace(-1, 1, 6)
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    even = level_maps(with_points(traces[0], np.tile(lattice, (2, 1)), (4, 6)), 0, SIZE)
    inside = even.density_map[5:-5, 5:-5]
    assert np.ptp(inside) < 0.02 * inside.mean()


def test_density_and_importance_lie_where_the_points_are(traces):
    corner = np.array([[-1.0, 1.0], [-1.0, 1.0]])
    maps = level_maps(with_points(traces[1], corner, (1, 1)), 1, SIZE)
    assert np.unravel_index(maps.density_map.argmax(), maps.density_map.shape) == (
        0,
        traces[1].query_hw[1] - 1,
    )
    spread = np.array([[-1.0, -1.0], [0.5, 0.4]] * 2)
    trace = dataclasses.replace(
        with_points(traces[0], spread, (4, 6)), bias_table=torch.zeros_like(traces[0].bias_table)
    )
    keys = torch.zeros_like(trace.key)
    keys[:, :, 1] = 1e4 * trace.query.mean(dim=2)
    keys[:, :, 3] = keys[:, :, 1]
    maps = level_maps(dataclasses.replace(trace, key=keys), 0, SIZE)
    heavy = maps.importance[0] > 1
    assert heavy.tolist() == [False, True] * 2
    row, column = np.unravel_index(maps.importance_map.argmax(), maps.importance_map.shape)
    expected = place_in_image(spread[int(heavy.argmax())], trace.query_hw) * trace.query_hw
    assert np.abs(np.array([row, column]) + 0.5 - expected).max() <= 1


def test_places_pixels_and_cells_fit_one_another():
    assert at_of_pixel((0, 0), (48, 64)) == (0.5 / 48, 0.5 / 64)
    assert cell_at((12, 16), at_of_pixel((47, 63), (48, 64))) == (11, 15)
    assert cell_at((12, 16), at_of_pixel((4, 4), (48, 64))) == (1, 1)
    assert cell_at((12, 16), at_of_pixel((3, 3), (48, 64))) == (0, 0)
    assert cell_at((12, 16), (1.0, 1.0)) == (11, 15)
    axes = np.linspace(-1, 1, 12), np.linspace(-1, 1, 16)
    coordinates = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    places = place_in_image(coordinates, (12, 16))
    assert np.allclose(places[3, 5], (3.5 / 12, 5.5 / 16))
    assert all(cell_at((12, 16), places[i, j]) == (i, j) for i in range(12) for j in range(16))
    assert np.allclose(place_in_image(np.zeros((1, 2)), (1, 1)), 0.5)


@pytest.mark.parametrize("at", [(-0.01, 0.5), (0.5, 1.01), (float("nan"), 0.5)])
def test_places_outside_the_image_are_refused(traces, at):
    with pytest.raises(ValueError, match=r"outside the image; give \(y, x\) as fractions from 0 to 1"):
        inspect_pixel(traces, 0, at)


def test_levels_and_heads_that_are_not_there_are_refused(traces):
    with pytest.raises(ValueError, match="level 4 does not exist: the trace has levels 0 to 3"):
        inspect_pixel(traces, 4, (0.5, 0.5))
    for head in (-1, 2):
        with pytest.raises(ValueError, match=f"head {head} does not exist: level 0 has heads 0 to 1"):
            inspect_pixel(traces, 0, (0.5, 0.5), head)


def test_traces_of_several_pairs_are_refused():
    with torch.inference_mode():
        several = tiny_model("swin").eval()(*pair(2, *SIZE), trace=True).trace
    actions = (
        lambda: inspect_pixel(several, 0, (0.5, 0.5)),
        lambda: level_maps(several[0], 0, SIZE),
        lambda: pixel_balances(several, (0.5, 0.5)),
        lambda: pixel_shares(several, (0.5, 0.5)),
    )
    for action in actions:
        with pytest.raises(ValueError, match="holds 2 pairs; run the network on one pair"):
            action()


def test_the_strongest_points_come_first(traces):
    view = inspect_pixel(traces, 1, (0.3, 0.6))
    order = strongest(view, 5)
    assert len(order) == 5
    assert np.allclose(view.attention[order], np.sort(view.attention)[::-1][:5])
    assert len(strongest(view, 10**6)) == len(view.attention)


def test_shares_of_a_pixel_add_up_and_split_the_attended_part(traces):
    for at in PLACES:
        for level, share in enumerate(pixel_shares(traces, at)):
            view = inspect_pixel(traces, level, at)
            assert share.rgb + share.x + share.context == pytest.approx(1)
            assert share.rgb + share.x == pytest.approx(view.sparse_share)
            assert share.x == pytest.approx(view.sparse_share * view.balance)


def test_a_residual_is_the_third_share_and_is_told():
    config = tiny_swin_config()
    config = dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, residual=True))
    torch.manual_seed(0)
    with torch.inference_mode():
        output = stirred(build_model(config))(*pair(1, *SIZE), trace=True)
    for level, trace in enumerate(output.trace):
        maps = level_maps(trace, level, SIZE)
        norms = (trace.attended_norm[0], trace.context_norm[0], trace.residual_norm[0])
        assert np.allclose(maps.sparse_share, norms[0] / sum(norms), atol=1e-6)
        assert np.allclose(maps.residual_share, norms[2] / sum(norms), atol=1e-6)
        assert set(level_arrays(maps)) >= {"sparse_share", "residual_share"}
        view = inspect_pixel(output.trace, level, (0.4, 0.3))
        share = pixel_shares(output.trace, (0.4, 0.3))[level]
        assert share.residual == view.residual_share
        assert share.residual == pytest.approx(maps.residual_share[view.position], abs=1e-6)
        assert share.rgb + share.x == pytest.approx(view.sparse_share)
        assert share.rgb + share.x + share.context + share.residual == pytest.approx(1)
        assert "is the residual, the mean of both sensors" in describe_level(maps)
        assert "is the residual" in describe_pixel(view)


def test_without_a_residual_none_is_told(traces):
    maps = level_maps(traces[1], 1, SIZE)
    assert maps.residual_share is None
    assert "residual_share" not in level_arrays(maps)
    assert "residual" not in describe_level(maps) + describe_pixel(inspect_pixel(traces, 1, (0.4, 0.3)))
    assert all(share.residual == 0 for share in pixel_shares(traces, (0.4, 0.3)))


def test_a_feature_of_zeros_comes_through_no_attention(traces):
    zero = torch.zeros_like(traces[0].attended_norm)
    empty = dataclasses.replace(traces[0], attended_norm=zero, context_norm=zero)
    assert level_maps(empty, 0, SIZE).sparse_share.max() == 0
    (share,) = pixel_shares([empty], (0.5, 0.5))
    assert (share.rgb, share.x, share.context, share.residual) == (0, 0, 1, 0)


def test_a_clipped_range_says_what_it_leaves_out():
    values = np.concatenate([np.linspace(0, 1, 999), [50.0], [np.nan, np.inf]])
    low, high, clipped = clipped_range(values)
    assert (low, high) == pytest.approx((0.01, 0.99), abs=0.002)
    assert clipped == pytest.approx(0.02, abs=0.002)
    low, high, clipped = clipped_range(values, (0, 99), centre=0.5)
    assert high - 0.5 == pytest.approx(0.5 - low)
    assert high == pytest.approx(1, abs=0.02)
    assert clipped == pytest.approx(0.001, abs=0.01)
    assert clipped_range(values, (0, 100)) == (0, 50, 0)
    low, high, clipped = clipped_range(np.full(5, 0.5))
    assert low < 0.5 < high
    assert clipped == 0
    assert clipped_range(np.array([]), centre=0.5) == (0, 1, 0)
    with pytest.raises(ValueError, match="percentiles are"):
        clipped_range(values, (99, 1))


def test_an_inspection_computes_each_level_once(monkeypatch):
    prediction = Predictor(depth_model())(*synthetic_pair(95, 127), options=MM)
    calls = []
    compute = ktb.analysis.maps.level_maps
    monkeypatch.setattr(
        ktb.analysis.maps, "level_maps", lambda *args: calls.append(args[1]) or compute(*args)
    )
    inspection = Inspection(prediction)
    assert inspection.levels == 4
    assert not calls
    found = []
    threads = [threading.Thread(target=lambda: found.append(inspection.maps(2))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [2]
    assert len(found) == 8
    assert all(maps is found[0] for maps in found)
    assert np.array_equal(found[0].prompt_x, prediction.prompts[2][0, 1])
    at = inspection.at((40, 100))
    assert at == (40.5 / 95, 100.5 / 127)
    assert inspection.pixel(2, at).balance == pytest.approx(
        found[0].balance[cell_at(found[0].balance.shape, at)]
    )
    assert inspection.shares(at) == pixel_shares(prediction.trace, at)
    with pytest.raises(ValueError, match="level 4 does not exist"):
        inspection.maps(4)


def test_without_a_trace_there_is_nothing_to_inspect():
    prediction = Predictor(depth_model())(*synthetic_pair(64, 64), options=MM, trace=False)
    with pytest.raises(ValueError, match="'tiny µ' has no trace: its fusion is a plain mean, or it ran with"):
        Inspection(prediction)


def test_words_say_when_a_level_says_nothing(traces):
    maps = level_maps(traces[3], 3, SIZE)
    uniform = dataclasses.replace(
        maps,
        entropy=np.full_like(maps.entropy, 0.99),
        balance=np.full_like(maps.balance, 0.48),
        is_uniform=True,
    )
    said = describe_level(uniform, "thermal image")
    assert said.startswith("Attention is uniform at this level: its maps carry no information")
    assert "48 % thermal image" in said
    assert "attention reads" not in said


def test_words_say_what_a_level_prefers(traces):
    maps = level_maps(traces[3], 3, SIZE)
    half = len(maps.balance) // 2
    balance = np.full_like(maps.balance, 0.2)
    balance[half:] = 0.4
    entropy = np.full_like(maps.entropy, 0.5)
    entropy[0] = 0.98
    points = len(maps.weight_x)
    given = dataclasses.replace(
        maps, entropy=entropy, balance=balance, sparse_share=np.full_like(balance, 0.17), is_uniform=False
    )
    said = describe_level(given)
    assert "70 % of the attention reads rgb, 30 % x; over the image 20 % to 40 % goes to x." in said
    effective = np.mean([points**0.98] + [points**0.5] * (len(entropy) - 1))
    assert f"about {effective:.0f} of {points} points" in said
    assert f"1 of its {len(entropy)} heads are uniform" in said
    assert "17 % of the fused feature comes through the attention" in said
    flat = dataclasses.replace(given, balance=np.full_like(balance, 0.8))
    assert "20 % of the attention reads rgb, 80 % depth, nearly the same everywhere" in describe_level(
        flat, "depth"
    )
    little = dataclasses.replace(given, sparse_share=np.full_like(balance, 0.004))
    assert "Next to nothing of the fused feature" in describe_level(little)


def test_words_about_a_pixel(traces):
    view = inspect_pixel(traces, 2, (0.5, 0.5), 1)
    sharp = dataclasses.replace(view, entropy=0.6, effective_points=7.2, balance=0.51, sparse_share=0.3)
    said = describe_pixel(sharp)
    assert f"Head 1's attention from this pixel rests on about 7 of {view.points_per_head} points" in said
    assert "about equally from both sensors (51 % x)" in said
    assert "30 % of its fused feature comes through" in said
    said = describe_pixel(dataclasses.replace(sharp, balance=0.9))
    assert "10 % of the attention reads rgb, 90 % x" in said
    uniform = describe_pixel(dataclasses.replace(sharp, entropy=0.98, head=None, balance=0.9))
    assert uniform.startswith("This pixel's attention is uniform")
    assert "carry no information" in uniform
    assert "attention reads" not in uniform


def test_words_about_an_attribution():
    maps = np.zeros((2, 2), np.float32)
    given = Attribution("fused logit of bed at (3, 4)", 2.5, maps, maps, 1.0, 0.5, 0.3, -0.5, -2.0)
    said = describe_attribution(given, "depth")
    assert "reacts more to rgb (70 % of the summed sensitivity)" in said
    assert "Ablating rgb changes it by −2.00, ablating depth by −0.50" in said
    assert "disagree" not in said
    assert "disagree" in describe_attribution(dataclasses.replace(given, without_x=-3.0))
    assert "both sensors about equally" in describe_attribution(dataclasses.replace(given, share_x=0.52))
