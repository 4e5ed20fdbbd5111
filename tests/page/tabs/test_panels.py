"""What the page's pictures and words promise, without a browser."""

from __future__ import annotations

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
import torch
from helpers.inspections import with_maps
from helpers.models import stirred
from helpers.pairs import write_pair
from PIL import Image

from app.html.svg import pixel_points, places_xy
from app.layout import card_text
from app.panels import fusion, maps, pixel
from app.panels.branches import branches_panel
from app.panels.result import footer, offered_pictures, result_panel
from app.results import Result
from app.service import Service
from ktb.analysis.color_range import map_scale
from ktb.analysis.types import UNIFORM_ENTROPY, place_in_image, strongest
from ktb.checkpoints.load import save_model
from ktb.modeling.build import build_model, lite_config
from ktb.outputs.figure import figure_bytes
from ktb.outputs.report import report_html

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    config = lite_config(name="random")
    classes = (HOSTILE,) * config.num_classes
    model = build_model(dataclasses.replace(config, classes=classes))
    path = tmp_path_factory.mktemp("models") / "random.safetensors"
    save_model(path, model, {"limits": HOSTILE})
    return Service([str(path)])


@pytest.fixture(scope="module")
def result(service, tmp_path_factory):
    rgb_path, x_path = write_pair(tmp_path_factory.mktemp("pair"), 64, 96)
    return service.segment(str(rgb_path), str(x_path), "random")


def fusion_panels(result: Result, level: int) -> str:
    """All that the fusion tab shows of a level and a pixel."""
    view = pixel.view_of(result, level, None, (20, 30))
    return "".join(
        (
            fusion.words(result, level),
            *fusion.pictures(result),
            *fusion.placed_points(result, level, None),
            *(maps.map_view(result, level, None, kind) for _, kind in maps.CHOICES),
            maps.borders(result),
            maps.all_levels(result, "balance", None),
            maps.head_grid(result),
            fusion.honesty(result, level),
            pixel.pixel_details(result, view, (20, 30)),
            pixel.points_table(result, view),
        )
    )


def with_balance(result: Result, values: np.ndarray, entropy: float = 0.5) -> Result:
    """The result with a level of this balance in place of each of its own."""
    heads = np.repeat(values[None].astype(np.float32), 2, axis=0)
    levels = tuple(
        dataclasses.replace(
            level, balance=heads[0], head_balance=heads, entropy=np.full_like(heads, entropy),
            is_uniform=entropy >= 0.97,
        )
        for level in result.inspection.all_maps()
    )  # fmt: skip
    return with_maps(result, levels)


def test_names_from_a_checkpoint_are_escaped_everywhere(service, result):
    hostile_name = dataclasses.replace(result.prediction, model=HOSTILE)
    hostile = dataclasses.replace(result, prediction=hostile_name)
    pages = [result_panel(hostile), branches_panel(hostile), fusion_panels(hostile, 0), footer(hostile)]
    for text in (*pages, card_text(service, "random")):
        assert "<script" not in text
    assert "&lt;script&gt;" in pages[0]


def test_x_is_called_what_it_is(result):
    assert 'alt="x input: depth image"' in branches_panel(result)
    assert "X: event frame" in branches_panel(dataclasses.replace(result, x_name="event frame"))


def test_pictures_name_their_checkpoint(result):
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', fusion_panels(result, 1))
    assert len(sources) >= 40  # a picture per map, per level and per head
    for source in sources:
        assert Image.open(io.BytesIO(base64.b64decode(source))).text["Checkpoint"] == "random"


def test_uniform_attention_is_called_uniform(result):
    flat = np.full((6, 8), 0.5)
    for entropy, said in ((0.99, True), (0.7, False)):
        changed = with_balance(result, flat, entropy)
        for text in (fusion.words(changed, 2), fusion.honesty(changed, 2)):
            assert ("carry no information" in text) == said


@pytest.mark.parametrize(
    ("mean", "words"), [(0.2, "It prefers rgb"), (0.8, "It prefers X"), (0.5, "equally from both sensors")]
)
def test_words_name_the_preferred_sensor(result, mean, words):
    assert words in fusion.words(with_balance(result, np.full((6, 8), mean)), 0)


def test_flat_balance_maps_look_flat_and_sides_have_their_colours(result):
    flat = with_balance(result, 0.5 + np.linspace(-0.01, 0.01, 48).reshape(6, 8)).inspection.all_maps()
    scale = map_scale("balance", flat)
    assert (scale.low, scale.high) == pytest.approx((0.4, 0.6))
    colors = scale.colors(flat[0].balance).astype(int)
    assert np.ptp(colors.reshape(-1, 3), axis=0).max() < 60  # of 200 from end to end
    ends = np.zeros((6, 8))
    ends[:, 4:] = 1
    sides = with_balance(result, ends).inspection.all_maps()
    colors = map_scale("balance", sides).colors(sides[0].balance).astype(int)
    assert colors[3, 0, 2] > colors[3, 0, 0] + 50  # 0: RGB image, blue
    assert colors[3, 7, 0] > colors[3, 7, 2] + 50  # 1: X, orange


def test_outliers_are_clipped_and_said(result):
    values = np.full((40, 50), 0.5) + np.linspace(-0.2, 0.2, 50)
    values[0, 0] = 1.0
    changed = with_balance(result, values)
    scale = map_scale("balance", changed.inspection.all_maps())
    assert scale.high < 0.75
    assert 0 < scale.beyond(values) < 0.03
    assert f"{100 * scale.beyond(values):.1f} % of this map lies beyond" in maps.map_view(
        changed, 2, None, "balance"
    )


def drawn_points(markup: str, shape: str) -> np.ndarray:
    """Centres (N, 2) as x, y in pixels of the discs ("disc") or squares ("square") of an SVG."""
    if shape == "disc":
        found = re.findall(r"M([\d.-]+) ([\d.-]+)a([\d.]+) ", markup)
        return np.array([(float(x) + float(r), float(y)) for x, y, r in found])
    found = re.findall(r"M([\d.-]+) ([\d.-]+)h([\d.]+)v", markup)
    return np.array([(float(x) + float(side) / 2, float(y) + float(side) / 2) for x, y, side in found])


def test_the_map_of_modality_weights_draws_the_points_of_every_group(result):
    level = result.inspection.maps(3)
    groups, count = level.points.shape[:2]
    assert groups > 1
    expected = place_in_image(level.points, level.balance.shape) * np.array(result.rgb.shape[:2])
    for shape, part in (("disc", slice(0, count // 2)), ("square", slice(count // 2, None))):
        found = drawn_points(maps.map_view(result, 3, None, "weights"), shape)
        real = expected[:, part].reshape(-1, 2)[:, ::-1]
        assert len(found) == len(real) == groups * count // 2
        nearest = np.linalg.norm(found[:, None] - real[None], axis=-1).min(axis=1)
        assert nearest.max() < 0.1  # none is a mean of others
    one = maps.map_view(result, 3, 2, "weights")
    assert len(drawn_points(one, "disc")) == count // 2


def test_offsets_say_how_far_points_moved_and_how_many_were_clamped(result):
    level = result.inspection.maps(3)
    starts = np.clip(level.references, -1, 1)
    moved = np.linalg.norm((level.points - starts) * (np.array(level.balance.shape) - 1) / 2, axis=-1)
    border = (np.abs(level.points) == 1).any(axis=-1)
    assert border.any()  # the references of the last row and column lie outside
    for head in (None, 5):
        group = slice(None) if head is None else level.group_of(head)
        said = maps.map_view(result, 3, head, "offsets")
        assert f"{moved[group].mean():.2f} positions on average, at most {moved[group].max():.2f}" in said
        assert f"{100 * border[group].mean():.1f} % of them lie on the border" in said


def test_points_are_counted_alike_in_tile_words_and_table(result):
    view = pixel.view_of(result, 2, None, (20, 30))
    per_head, groups = (
        result.prediction.trace[2].key.shape[2],
        result.prediction.trace[2].sampling_points.shape[1],
    )
    details = " ".join(pixel.pixel_details(result, view, (20, 30)).split())
    assert f"of {per_head}</b><span>points each head" in details
    each = "is uniform" if view.entropy >= UNIFORM_ENTROPY else f"of {per_head} points"
    assert each in details
    table = " ".join(re.sub(r"<[^>]+>", "", pixel.points_table(result, view)).split())
    assert f"The 15 strongest of {groups * per_head:,} points" in table
    assert f"{groups} groups of {per_head}, each head" in table
    assert f"the other {groups * per_head - 15:,} share the rest" in table
    single = pixel.points_table(result, pixel.view_of(result, 2, 1, (20, 30)))
    assert f"strongest of {per_head:,} points" in single
    assert "groups of" not in single


@pytest.fixture(scope="module")
def without_x(service, tmp_path_factory):
    rgb_path, _ = write_pair(tmp_path_factory.mktemp("alone"), 64, 96)
    return service.segment(str(rgb_path), None, "random", source="none")


def test_without_x_nothing_is_said_about_what_it_contributed(without_x):
    assert without_x.x_is_missing
    for level in range(4):
        shown = fusion_panels(without_x, level)
        text = " ".join(re.sub(r"<[^>]+>", " ", shown).split())
        for claim in (
            "prefers",
            "goes to X",
            "weight of X",
            "equally from both",
            "% X(?! head)",
            "share of X",
        ):
            assert not re.search(claim, text), claim
        assert "There was no X" in text
        assert "data-weight-x" not in shown
        assert "comes through the attention" in text
    assert "balance" not in offered_pictures(without_x)
    report = report_html(without_x.rgb, without_x.prediction, inspection=without_x.inspection)
    figure = figure_bytes(
        without_x.rgb, without_x.prediction, "svg", inspection=without_x.inspection
    ).decode()
    for document in (report, figure):
        for claim in ("It prefers", "alance, level", "Balance at levels", "0.50"):
            assert claim not in document, claim


def test_sampling_points_land_where_their_coordinates_say():
    points = np.array([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.5]])  # (y, x), between the middles of the end cells
    xy = places_xy(points, (4, 10), (80, 200))
    assert np.allclose(xy, [[10, 10], [190, 70], [145, 40]])


def test_the_map_is_the_levels_grid_pixel_by_pixel(result):
    text = maps.map_view(result, 1, 0, "balance")
    source = re.search(r'src="data:image/png;base64,([^"]+)"', text).group(1)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))
    scale = map_scale("balance", result.inspection.all_maps(), 0)
    assert np.array_equal(picture, scale.colors(result.inspection.maps(1).head_balance[0]))


def test_the_area_of_a_drawn_point_is_its_attention(result):
    made = np.random.default_rng(0)
    places, attention = made.uniform(-1, 1, (300, 2)), made.dirichlet(np.full(300, 2.0))
    view = dataclasses.replace(
        pixel.view_of(result, 1, 0, (20, 30)), points=places, references=places, attention=attention,
        weight_x=made.uniform(size=300), x_led=np.arange(300) >= 150,
    )  # fmt: skip
    drawn = pixel_points(view, (480, 640), "points", "random")
    faint = np.setdiff1d(np.arange(300), strongest(view, 15))
    discs = re.findall(r"a([\d.]+) \1 0 1 1 [\d.]+ 0a\1 \1", drawn)
    squares = re.findall(r"h([\d.]+)v\1h-\1z", drawn)
    for sizes, is_x_led in ((discs, False), (squares, True)):
        expected = np.sort(attention[faint][view.x_led[faint] == is_x_led])
        found = np.sort(np.array(sizes, float))
        assert len(found) == len(expected) > 100
        per_area = (expected / found**2)[found > 1]
        assert per_area == pytest.approx(per_area.mean(), rel=0.02)
    assert drawn.count("<path") <= 11 + 3, "a path per colour, and the lines"


def test_what_all_levels_say_of_a_pixel_is_worked_out_once(result, monkeypatch):
    asked = []
    shares = result.inspection.shares
    monkeypatch.setattr(result.inspection, "shares", lambda at: asked.append(at) or shares(at))
    texts = [pixel.pixel_details(result, pixel.view_of(result, level, None, at), at)
             for at in ((21, 31), (22, 32)) for level in range(4)]  # fmt: skip
    assert len(asked) == 2
    classes = {re.search(r'<div class="ktb-classes">.*', text).group() for text in texts}
    assert len(classes) == 2, "those of its own pixel"


def test_levels_hold_what_the_trace_says(result):
    for level, trace in zip(result.inspection.all_maps(), result.prediction.trace):
        assert np.allclose(level.points, trace.sampling_points[0].numpy())
        assert np.allclose(level.weight_x, trace.modality_weights[0, 1].numpy())
        assert np.allclose(level.balance, trace.balance()[0].numpy())


def test_figures_of_the_card_are_never_rounded_up(service, monkeypatch):
    row = {"miou": 30.26, "pixel_accuracy": 69.99}
    monkeypatch.setattr(service, "card", lambda model: {"figures": {"x": row}})
    assert "x 30.2 mIoU, 69.9 % of pixels" in card_text(service, "random")


def test_a_residual_is_the_third_share_of_a_fused_feature(result, tmp_path):
    config = lite_config(name="residual")
    config = dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, residual=True))
    torch.manual_seed(0)
    save_model(tmp_path / "residual.safetensors", stirred(build_model(config)), {})
    rgb_path, x_path = write_pair(tmp_path, 64, 96)
    service = Service([str(tmp_path / "residual.safetensors")])
    found = service.segment(str(rgb_path), [str(x_path)], "residual")
    rows = re.findall(r"<tr class.*?</tr>", fusion.honesty(found, 2), re.DOTALL)
    assert len(rows) == 4
    for row in rows:
        *_, through, context, residual = (int(share) for share in re.findall(r">(?:[≤≥] )?(\d+) %<", row))
        assert through + context + residual in range(98, 103)
        assert residual > 0
    bars = pixel.pixel_details(found, pixel.view_of(found, 2, None, (20, 30)), (20, 30))
    assert len(re.findall(r"RGB image \d+ %, X \d+ %, context \d+ %, residual \d+ %", bars)) == 4
    plain = fusion.honesty(result, 2) + pixel.pixel_details(
        result, pixel.view_of(result, 2, None, (20, 30)), (20, 30)
    )
    assert ">residual<" not in plain
    assert not re.search(r"residual \d", plain)


def test_a_model_that_fuses_by_a_mean_says_so_instead_of_showing_attention(tmp_path):
    config = lite_config(name="mean")
    config = dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, kind="mean"))
    save_model(tmp_path / "mean.safetensors", build_model(config), {})
    rgb_path, x_path = write_pair(tmp_path, 64, 96)
    found = Service([str(tmp_path / "mean.safetensors")]).segment(str(rgb_path), [str(x_path)], "mean")
    assert found.inspection is None
    assert "No attention to show" in fusion.words(found, 2)
    assert "data:image/png" in result_panel(found)
    assert "data:image/png" in branches_panel(found)
