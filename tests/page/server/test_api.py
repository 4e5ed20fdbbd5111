"""Every endpoint of the HTTP API, called by its own client and compared with the Python API."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from helpers.embedded import small_predictor
from helpers.page.api_calls import contents
from helpers.page.browsing import below
from helpers.pairs import synthetic_pair, write_pair
from PIL import Image

from app.panels.x_input import network_picture
from app.settings import settings_from_json
from ktb import XOptions, built_in_models, load_model
from ktb.analysis import Inspection
from ktb.analysis.agreement import disagreement_map, kind_shares
from ktb.analysis.attribution import Target, attribute_prediction
from ktb.analysis.comparison import difference, region_effect, sensor_need
from ktb.analysis.counterfactual import Perturbation, predict_perturbed
from ktb.analysis.describe import describe_region
from ktb.analysis.ground_truth import error_map, fusion_effect, score, scored_shares
from ktb.analysis.targets import region_at
from ktb.inference.region import region_mask
from ktb.outputs.arrays import LEVEL_ARRAYS

MODEL, OTHER = "ktb-lite-nyuv2-depth", "ktb-lite-nyuv2-event"
ENDPOINTS = {
    "/segment",
    "/read_x",
    "/inspect",
    "/maps",
    "/attribute",
    "/what_if",
    "/sensors",
    "/compare",
    "/truth",
    "/align",
    "/agreement",
    "/export",
    "/sequence",
    "/models",
}


@pytest.fixture(scope="module")
def client(address):
    client = Client(address, verbose=False)
    yield client
    client.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def predictor():
    return small_predictor(MODEL)


@pytest.fixture(scope="module")
def expected(predictor):
    return predictor(*synthetic_pair())


@pytest.fixture
def call(client, pair, tmp_path, uploads):
    """Call an endpoint on the pair under names of its own; nothing of it may stay."""

    def ask(endpoint: str, **values):
        values = {name: sent(value) for name, value in values.items()}
        files = [tmp_path / f"asked_{path.name}" for path in pair]
        for path, copy in zip(pair, files):
            copy.write_bytes(path.read_bytes())
        try:
            return client.predict(
                rgb=handle_file(str(files[0])),
                x=[handle_file(str(files[1]))],
                **{"model": MODEL, **values},
                api_name=endpoint,
            )
        finally:
            assert not below(uploads, "asked_*")

    return ask


def sent(value):
    """A file, or the files of a list, as the client sends them, under names that start with asked_."""
    if isinstance(value, list) and value and isinstance(value[0], Path):
        return [sent(path) for path in value]
    if not isinstance(value, Path):
        return value
    return handle_file(str(value.rename(value.with_name(f"asked_{value.name}"))))


def picture(delivered: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(contents(delivered))))


def test_every_action_is_there_with_types_and_words(client):
    api = client.view_api(return_format="dict")["named_endpoints"]
    assert set(api) == ENDPOINTS
    for name, endpoint in api.items():
        assert len(endpoint["description"]) > 20, name
        types = {p["parameter_name"]: p["python_type"]["type"] for p in endpoint["parameters"]}
        assert types.get("rgb", "filepath") == "filepath"
        assert types.get("row", "int") == types.get("level", "int") == types.get("head", "int") == "int"
        assert types.get("model", "Literal").startswith("Literal")
    choices = {
        (name, p["parameter_name"]): p["python_type"]["type"]
        for name, endpoint in api.items()
        for p in endpoint["parameters"]
    }
    assert "'svg'" in choices["/export", "kind"]
    assert "'estimate'" in choices["/segment", "x_source"]
    assert "'inline'" in choices["/segment", "files"]
    assert "'from_one'" in choices["/truth", "numbering"]
    assert "'overlay'" in choices["/sequence", "views"]
    assert choices["/truth", "label_picture"] == choices["/sequence", "recording"] == "filepath"
    assert choices["/what_if", "other_x"] == "list[filepath]"
    optional = {"other_x", "calibration", "x_video", "options", "x_source", "model", "kind", "files"}
    for endpoint in api.values():
        for p in endpoint["parameters"]:
            if p["parameter_name"] in optional:
                assert p["parameter_has_default"], p


def test_models(client):
    found = client.predict(api_name="/models")
    assert [one["name"] for one in found] == list(built_in_models())
    assert found[0]["x"]["modality"] == "depth"
    assert found[0]["classes"][0] == load_model(MODEL).config.classes[0]
    assert found[0]["card"]["figures"]["fused"]["miou"] > 0


def test_read_x(call, expected):
    answer = call("/read_x")
    assert answer["facts"].pop("file") == "asked_depth.png"
    facts = {key: value for key, value in expected.x.facts.items() if key not in ("file", "format")}
    assert {key: answer["facts"][key] for key in facts} == facts
    assert answer["size_hw"] == [120, 160]
    assert np.array_equal(picture(answer["preview"]), expected.x.preview)
    assert np.array_equal(picture(answer["network"]), network_picture(expected.x))


def test_options_reach_the_reader(call):
    metres = call("/read_x", options={"unit": "m"})["facts"]["range"]
    assert metres != call("/read_x", options={"unit": "mm"})["facts"]["range"]


@pytest.mark.parametrize("head", [-1, 1])
def test_inspect(call, expected, head):
    answer = call("/inspect", row=70, column=100, level=2, head=head)
    look = Inspection(expected)
    at = look.at((70, 100))
    view = look.pixel(2, at, None if head < 0 else head)
    assert answer["position"] == list(view.position)
    for name in ("points", "references", "attention", "weight_x", "x_led"):
        assert np.allclose(answer[name], getattr(view, name), atol=1e-6), name
    for name in ("balance", "entropy", "effective_points", "sparse_share"):
        assert answer[name] == pytest.approx(getattr(view, name), abs=1e-5)
    assert [one["x"] for one in answer["shares"]] == pytest.approx([s.x for s in look.shares(at)], abs=1e-6)
    for branch, values in expected.probabilities_at(70, 100).items():
        assert np.allclose(list(answer["probabilities"][branch].values()), values, atol=1e-5)


def test_maps(call, expected):
    answer = call("/maps", level=1)
    maps = Inspection(expected).maps(1)
    arrays = np.load(io.BytesIO(contents(answer["npz"])), allow_pickle=False)
    given = {name: source for name, source in LEVEL_ARRAYS.items() if getattr(maps, source) is not None}
    assert set(arrays) == set(given)
    for name, source in given.items():
        assert np.allclose(arrays[name], getattr(maps, source), atol=1e-5), name
    assert answer["stride"] == maps.stride
    assert answer["is_uniform"] == maps.is_uniform
    assert "attention" in answer["words"]


@pytest.mark.parametrize("asked", ["pixel", "region", "class", "class of the pixel"])
def test_attribute(call, predictor, expected, asked):
    row, labels = expected.class_table()[0], expected.labels["fused"]
    index = int(labels[70, 100])
    values, target = {
        "pixel": ({"row": 70, "column": 100}, Target("pixel", pixel=(70, 100))),
        "region": (
            {"row": 70, "column": 100, "target": "region"},
            Target("region", region=region_at(labels, (70, 100)), class_index=index),
        ),
        "class": ({"row": -1, "column": -1, "class_name": row.name}, Target("class", class_index=row.index)),
        "class of the pixel": (
            {"row": 70, "column": 100, "target": "class"},
            Target("class", class_index=index),
        ),
    }[asked]
    answer = call("/attribute", **values)
    found = attribute_prediction(predictor, synthetic_pair()[0], expected.x, target)
    assert answer["score"] == found.score
    for key in ("value", "total_rgb", "total_x", "share_x", "without_x", "without_rgb"):
        assert answer[key] == pytest.approx(getattr(found, key), rel=1e-3, abs=1e-3)
    assert np.allclose(answer["rgb"], found.rgb, atol=1e-3)
    assert np.allclose(answer["x"], found.x, atol=1e-3)


@pytest.mark.parametrize("change", [{"drop": "x"}, {"shift_xy": [6, -4], "darken": 0.5, "blur_sigma": 1.5}])
def test_what_if(call, predictor, expected, change):
    answer = call("/what_if", change=change)
    changed = predict_perturbed(predictor, Perturbation(**change), synthetic_pair()[0], expected.x)
    assert np.array_equal(picture(answer["before"]["labels"]["fused"]), expected.labels["fused"])
    assert np.array_equal(picture(answer["after"]["labels"]["fused"]), changed.labels["fused"])
    found = difference(expected, changed)
    assert answer["difference"]["changed_share"] == pytest.approx(found.changed_share)
    assert answer["difference"]["changes"][0]["before"] == found.changes[0].before
    assert answer["words"] == list(Perturbation(**change).words)


def test_what_if_in_a_region(call, predictor, expected):
    change = {"drop": "x", "region": [40, 20, 120, 100]}
    answer = call("/what_if", change=change)
    changed = predictor(synthetic_pair()[0], expected.x, **change)
    assert np.array_equal(picture(answer["after"]["labels"]["fused"]), changed.labels["fused"])
    found = region_effect(expected, changed, region_mask(change["region"], (120, 160)), "x")
    assert (answer["region"]["inside"], answer["region"]["outside"]) == (found.inside, found.outside)
    assert answer["region"]["words"] == describe_region(found)
    assert answer["before"]["in_domain"] is not None
    assert answer["after"]["in_domain"] == answer["before"]["in_domain"]


def test_what_if_with_another_x(call, predictor, expected, tmp_path):
    photo, depth = synthetic_pair()
    other = tmp_path / "other.png"
    cv2.imwrite(str(other), depth[::-1])
    answer = call("/what_if", other_x=[other])
    changed = predictor(photo, depth[::-1].copy())
    assert np.array_equal(picture(answer["after"]["labels"]["fused"]), changed.labels["fused"])
    assert answer["words"] == ["another X in its place (asked_other.png)"]


def test_sensors(call, predictor, expected):
    answer = call("/sensors")
    photo, depth = synthetic_pair()
    without_x, without_rgb = (predictor(photo, depth, drop=sensor) for sensor in ("x", "rgb"))
    found = sensor_need(expected, without_x, without_rgb)
    assert np.array_equal(picture(answer["deciding"]), found.verdict)
    assert answer["shares"] == pytest.approx(dict(found.shares))
    assert answer["stays_without_rgb"] == pytest.approx(found.stays_without_rgb)
    assert np.array_equal(picture(answer["without_x"]["labels"]["fused"]), without_x.labels["fused"])
    assert np.array_equal(picture(answer["without_rgb"]["labels"]["x"]), without_rgb.labels["x"])


def test_truth(call, expected, tmp_path):
    truth = expected.labels["fused"].copy()
    truth[:40], truth[40:60] = expected.labels["x"][:40], 255
    file = tmp_path / "truth.png"
    Image.fromarray(truth).save(file)
    answer = call("/truth", label_picture=file, numbering="stored")
    assert list(answer["countings"]) == ["stored", "from_one"]
    assert answer["countings"]["stored"]["mean_iou"] == answer["scores"]["fused"]["mean_iou"]
    assert answer["better_counting"] is None
    Image.fromarray(truth).save(again := tmp_path / "again.png")
    as_nyuv2 = call("/truth", label_picture=again)  # of the checkpoint's dataset, which counts from one
    assert (as_nyuv2["better_counting"], list(as_nyuv2["countings"])) == ("stored", ["from_one", "stored"])
    for branch, found in answer["scores"].items():
        score_of = score(expected.labels[branch], truth, len(expected.classes))
        assert found["mean_iou"] == pytest.approx(score_of.mean_iou)
        assert found["pixel_accuracy"] == pytest.approx(score_of.pixel_accuracy)
        given = [np.nan if iou is None else iou for iou in found["iou"].values()]
        assert list(found["iou"]) == list(expected.classes)
        assert np.allclose(given, score_of.iou, equal_nan=True)
    assert answer["labelled_share"] == pytest.approx(100 / 120)
    effect = fusion_effect(expected.labels["fused"], expected.labels["rgb"], truth)
    assert np.array_equal(picture(answer["files"]["fusion_against_rgb.png"]), effect)
    assert np.array_equal(picture(answer["files"]["errors.png"]), error_map(expected.labels["fused"], truth))
    assert np.array_equal(picture(answer["files"]["truth.png"]), truth)
    assert answer["fusion"]["rgb"]["helped"] == pytest.approx(scored_shares(effect, 4)[1])


def test_agreement(call, expected):
    answer = call("/agreement")
    kinds = disagreement_map(expected.labels)
    assert np.array_equal(picture(answer["map"]), kinds)
    assert list(answer["shares"].values()) == pytest.approx(kind_shares(kinds).tolist())
    same = float(np.mean(expected.labels["rgb"] == expected.labels["fused"]))
    assert answer["heads"]["rgb"]["same_share"] == pytest.approx(same)
    for change in answer["heads"]["x"]["changes"]:
        source, target = (expected.classes.index(change[key]) for key in ("fused", "x"))
        where = (expected.labels["fused"] == source) & (expected.labels["x"] == target)
        assert change["share"] == pytest.approx(where.mean())


def test_align_and_what_it_answers_fits_the_other_endpoints(call, tmp_path):
    file = tmp_path / "matrix.json"
    file.write_text("[[1, 0, 9], [0, 1, 0]]")
    answer = call("/align", calibration=file, options={"unit": "mm"})
    assert answer["matrix"] == [[1, 0, 9], [0, 1, 0], [0, 0, 1]]
    assert answer["options"] == {"unit": "mm", "matrix": answer["matrix"]}
    assert picture(answer["after"]).shape == (120, 160, 3)
    aligned, plain = (call("/read_x", options=options) for options in (answer["options"], {}))
    assert contents(aligned["network"]) != contents(plain["network"])


def test_an_estimate_says_whether_it_is_any_better(call, service, pair):
    answer = call("/align")
    found, overlays = service.look_at(str(pair[0]), [str(pair[1])], MODEL, XOptions(), None)
    assert answer["improves"] is (found is not None)
    assert answer["message"] == overlays.message
    if found:
        assert np.allclose(answer["matrix"], found.matrix)
    else:
        assert answer["matrix"] is answer["after"] is None


def test_settings_are_what_the_page_reads(call):
    answer = call("/export", kind="json", options={"unit": "m"}, x_source="none")
    settings = settings_from_json(contents(answer["data"]).decode(), [MODEL], [])
    assert (settings.model, settings.x_source, settings.x.unit) == (MODEL, "none", "m")


def test_compare(call, expected):
    answer = call("/compare", other=OTHER, x_source="none")
    photo = synthetic_pair()[0]
    ours, theirs = (small_predictor(name)(photo, None) for name in (MODEL, OTHER))
    assert answer["before"]["model"] == MODEL
    assert answer["after"]["model"] == OTHER
    assert np.array_equal(picture(answer["after"]["labels"]["fused"]), theirs.labels["fused"])
    share = difference(ours, theirs).changed_share
    assert answer["difference"]["changed_share"] == pytest.approx(share)


def test_points_in_space_come_when_they_are_asked_for(call, expected):
    assert "points.ply" not in call("/segment")["files"]
    given = call("/segment", ply=True, options={"unit": "mm", "intrinsics": [140, 150, 70, 60]})["files"]
    data = contents(given["points.ply"])
    assert b"comment camera given\n" in data
    assert f"element vertex {np.isfinite(expected.x.depth.metres).sum()}\n".encode() in data
    assert {"overlay.png", "prediction.json"} < set(given)


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("svg", b"<?xml"),
        ("pdf", b"%PDF"),
        ("png", b"\x89PNG"),
        ("npz", b"PK"),
        ("html", b"<!DOCTYPE html>"),
        ("zip", b"PK"),
        ("ply", b"ply\nformat binary_little_endian 1.0\n"),
    ],
)
def test_export(call, kind, start, expected):
    answer = call("/export", kind=kind)
    data = contents(answer["data"])
    assert data.startswith(start)
    assert answer["name"].startswith(f"{MODEL}-")
    assert answer["name"].endswith(f".{kind}")
    if kind == "npz":
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        assert np.array_equal(loaded["labels_x"], expected.labels["x"])


@pytest.mark.parametrize(
    ("endpoint", "values", "message"),
    [
        ("/inspect", {"row": 5000}, "outside the RGB image"),
        ("/inspect", {"level": 9}, "level 9 does not exist"),
        ("/inspect", {"head": 99}, "head 99 does not exist"),
        ("/inspect", {"row": None}, "as integers"),
        ("/maps", {"level": -1}, "level -1 does not exist"),
        ("/attribute", {"row": 3, "column": 3, "class_name": "<b>"}, "there is no class '<b>'"),
        ("/attribute", {"row": -1, "column": -1}, "needs its class_index"),
        ("/attribute", {"row": -1, "column": -1, "target": "region"}, "needs a pixel"),
        ("/attribute", {"row": 500, "column": 3, "target": "region"}, "is outside the image"),
        ("/what_if", {"change": {"melt": 1}}, "any of drop"),
        ("/what_if", {"change": {"darken": "a lot"}}, "two integers"),
        ("/what_if", {"change": {"darken": 2}}, "0 to 1"),
        (
            "/what_if",
            {"change": {"drop": "x", "region": [0, 0, 500, 9]}},
            "is no rectangle in the image",
        ),
        ("/what_if", {"change": {"region": [0, 0, 5, 9]}}, "the region needs a sensor"),
        ("/what_if", {"change": [1]}, "any of drop"),
        ("/segment", {"x_source": "internet"}, "choose one of file"),
        ("/truth", {"label_picture": None}, "the label image is missing"),
        ("/segment", {"model": "internet"}, "there is no model 'internet'"),
        ("/compare", {"other": "internet"}, "there is no model 'internet'"),
        ("/attribute", {"target": "planet"}, "choose"),
        ("/export", {"kind": "json", "options": {"melt": 1}}, "unknown keys"),
        ("/segment", {"options": {"melt": 1}}, "unknown keys"),
        ("/read_x", {"options": {"columns": 3}}, "expected a text"),
        ("/segment", {"ply": True, "x_source": "none"}, "points in space need depth, and there is no X"),
        ("/segment", {"files": "paper"}, "files 'paper': choose one of url, inline, none"),
    ],
)
def test_errors_are_texts_and_nothing_stays(call, endpoint, values, message):
    with pytest.raises(AppError) as caught:
        call(endpoint, **values)
    assert message in str(caught.value)
