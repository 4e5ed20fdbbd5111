"""Every endpoint of the HTTP API, called by its own client and compared with the Python API."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from pairs import synthetic_pair, write_pair
from PIL import Image
from test_page import address, uploads  # noqa: F401

from app.panels.x_input import network_picture
from ktb import Predictor, load_model
from ktb.array_file import LEVEL_ARRAYS
from ktb.differences import difference
from ktb.inspection import Inspection
from ktb.inspection.attribution import Target, attribute_prediction
from ktb.what_if import Change, run

MODEL, OTHER = "ktb-lite-nyuv2-depth", "ktb-lite-nyuv2-event"
ENDPOINTS = {
    "/segment",
    "/read_x",
    "/inspect",
    "/maps",
    "/attribute",
    "/what_if",
    "/compare",
    "/export",
    "/models",
}


@pytest.fixture(scope="module")
def client(address):  # noqa: F811
    client = Client(address, verbose=False)
    yield client
    client.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def predictor():
    return Predictor(load_model(MODEL))


@pytest.fixture(scope="module")
def expected(predictor):
    return predictor(*synthetic_pair())


@pytest.fixture
def call(client, pair, tmp_path, uploads):  # noqa: F811
    """Call an endpoint on the pair under names of its own; nothing of it may stay."""

    def ask(endpoint: str, **values):
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
            assert not list(uploads.rglob("asked_*"))

    return ask


def picture(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_every_action_is_there_with_types_and_words(client):
    api = client.view_api(return_format="dict")["named_endpoints"]
    assert set(api) == ENDPOINTS
    for name, endpoint in api.items():
        assert len(endpoint["description"]) > 20, name
        types = {p["parameter_name"]: p["python_type"]["type"] for p in endpoint["parameters"]}
        assert types.get("rgb", "filepath") == "filepath"
        assert types.get("row", "int") == types.get("level", "int") == types.get("head", "int") == "int"
        assert types.get("model", "Literal").startswith("Literal")
    kinds = next(p for p in api["/export"]["parameters"] if p["parameter_name"] == "kind")
    assert "'svg'" in kinds["python_type"]["type"]


def test_models(client):
    found = client.predict(api_name="/models")
    assert [one["name"] for one in found] == [MODEL, OTHER]
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
    arrays = np.load(io.BytesIO(base64.b64decode(answer["npz"])), allow_pickle=False)
    assert set(arrays) == set(LEVEL_ARRAYS)
    for name, source in LEVEL_ARRAYS.items():
        assert np.allclose(arrays[name], getattr(maps, source), atol=1e-5), name
    assert answer["stride"] == maps.stride
    assert answer["is_uniform"] == maps.is_uniform
    assert "attention" in answer["words"]


@pytest.mark.parametrize("by_class", [False, True])
def test_attribute(call, predictor, expected, by_class):
    name = expected.class_table()[0].name
    index = expected.class_table()[0].index
    if by_class:
        answer = call("/attribute", row=-1, column=-1, class_name=name)
        target = Target("class", class_index=index)
    else:
        answer = call("/attribute", row=70, column=100)
        target = Target("pixel", pixel=(70, 100))
    found = attribute_prediction(predictor, synthetic_pair()[0], expected.x, target)
    assert answer["score"] == found.score
    for key in ("value", "total_rgb", "total_x", "share_x", "without_x", "without_rgb"):
        assert answer[key] == pytest.approx(getattr(found, key), rel=1e-3, abs=1e-3)
    assert np.allclose(answer["rgb"], found.rgb, atol=1e-3)
    assert np.allclose(answer["x"], found.x, atol=1e-3)


@pytest.mark.parametrize("change", [{"drop": "x"}, {"shift_xy": [6, -4], "darken": 0.5, "blur_sigma": 1.5}])
def test_what_if(call, predictor, expected, change):
    answer = call("/what_if", change=change)
    changed = run(predictor, Change(**change), synthetic_pair()[0], expected.x)
    assert np.array_equal(picture(answer["before"]["labels"]["fused"]), expected.labels["fused"])
    assert np.array_equal(picture(answer["after"]["labels"]["fused"]), changed.labels["fused"])
    found = difference(expected, changed)
    assert answer["difference"]["changed_share"] == pytest.approx(found.changed_share)
    assert answer["difference"]["changes"][0]["before"] == found.changes[0].before
    assert answer["words"] == list(Change(**change).words)


def test_compare(call, expected):
    answer = call("/compare", other=OTHER, x_source="none")
    photo = synthetic_pair()[0]
    ours, theirs = (Predictor(load_model(name))(photo, None) for name in (MODEL, OTHER))
    assert answer["before"]["model"] == MODEL
    assert answer["after"]["model"] == OTHER
    assert np.array_equal(picture(answer["after"]["labels"]["fused"]), theirs.labels["fused"])
    share = difference(ours, theirs).changed_share
    assert answer["difference"]["changed_share"] == pytest.approx(share)


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("svg", b"<?xml"),
        ("pdf", b"%PDF"),
        ("png", b"\x89PNG"),
        ("npz", b"PK"),
        ("html", b"<!DOCTYPE html>"),
        ("zip", b"PK"),
    ],
)
def test_export(call, kind, start, expected):
    answer = call("/export", kind=kind)
    data = base64.b64decode(answer["data"])
    assert data.startswith(start)
    assert answer["name"].startswith(f"{MODEL}-")
    assert answer["name"].endswith(f".{kind}")
    if kind == "npz":
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        assert np.array_equal(loaded["labels_x"], expected.labels["x"])


@pytest.mark.parametrize(
    ("endpoint", "values", "message"),
    [
        ("/inspect", {"row": 5000}, "outside the photograph"),
        ("/inspect", {"level": 9}, "level 9 is not there"),
        ("/inspect", {"head": 99}, "head 99 is not there"),
        ("/inspect", {"row": None}, "whole numbers"),
        ("/maps", {"level": -1}, "level -1 is not there"),
        ("/attribute", {"row": 3, "column": 3, "class_name": "<b>"}, "class '<b>' is not there"),
        ("/attribute", {"row": -1, "column": -1}, "needs its class_index"),
        ("/what_if", {"change": {"melt": 1}}, "any of drop"),
        ("/what_if", {"change": {"darken": "a lot"}}, "are numbers"),
        ("/what_if", {"change": {"darken": 2}}, "0 to 1"),
        ("/what_if", {"change": [1]}, "any of drop"),
        ("/segment", {"x_source": "internet"}, "choose one of file"),
        ("/segment", {"options": {"melt": 1}}, "unknown keys"),
        ("/read_x", {"options": {"unit": 3}}, "give a text"),
    ],
)
def test_errors_are_texts_and_nothing_stays(call, endpoint, values, message):
    with pytest.raises(AppError) as caught:
        call(endpoint, **values)
    assert message in str(caught.value)
