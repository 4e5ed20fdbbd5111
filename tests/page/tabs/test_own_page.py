"""The page on a custom dataset and on models whose X is no depth: what is offered, said, refused and
served.
"""

from __future__ import annotations

import importlib.util
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
import yaml
from helpers.page.browsing import WAIT, wait_for_run

from app.layout import offered, warning_text
from app.page import build_page, launch_options
from app.panels.x_input import x_panel
from app.server.sessions import SessionStore
from app.service import Service
from app.settings import form_of
from app.texts import head, no_x, x_hint, x_label
from app.widgets.examples import MAX_OWN_PAIRS, CustomExamples, examples
from app.widgets.x_form import x_options
from ktb.checkpoints.load import save_model
from ktb.config import InputConfig, Modality
from ktb.inputs import XOptions, read_image_rgb, read_x
from ktb.labels import DatasetLabels
from ktb.modeling.build import build_model, lite_config
from training.data.datasets import CustomPairDataset

SIZE = (64, 96)
LABELS = DatasetLabels("farm", "farm", ("soil", "tree"), ((150, 90, 40), (40, 150, 60)))
METRIC = InputConfig(modality="depth", encoding="depth", short_side=64)
EVENTS = InputConfig(modality="event", short_side=64)
KEYS = {
    "rgb": "rgb",
    "x": "x",
    "labels": "labels",
    "modality": "depth",
    "unit": "0.1mm",
    "classes": ["soil", "tree"],
    "split": {"train": 0.1, "test": 0.9},
}


@pytest.fixture(scope="module")
def farm(tmp_path_factory) -> Path:
    """Ten pairs; depth of 0.3 to 0.9 m in tenths of a millimetre, which "auto" takes for millimetres."""
    root = tmp_path_factory.mktemp("farm")
    rng = np.random.default_rng(0)
    for folder in ("rgb", "x", "labels"):
        (root / folder).mkdir()
    for name in "abcdefghij":
        grey = 25 * "abcdefghij".index(name)
        photo = np.full((*SIZE, 3), grey) + rng.integers(0, 5, (*SIZE, 3))
        cv2.imwrite(str(root / f"rgb/{name}.png"), photo.astype(np.uint8))
        depth = np.linspace(3000, 9000, SIZE[0] * SIZE[1]).reshape(SIZE) + rng.integers(0, 9, SIZE)
        cv2.imwrite(str(root / f"x/{name}.png"), depth.astype(np.uint16))
        cv2.imwrite(str(root / f"labels/{name}.png"), rng.integers(0, 2, SIZE).astype(np.uint8))
    return root


def describe(folder: Path, farm: Path, **changes) -> Path:
    """Write KEYS with changes (None removes a key) as farm.yaml in the folder."""
    keys = {k: v for k, v in (KEYS | {"root": str(farm)} | changes).items() if v is not None}
    file = folder / "farm.yaml"
    file.write_text(yaml.safe_dump(keys, sort_keys=False))
    return file


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """Small random models of two classes: one for metric depth, one for event frames."""
    folder, files = tmp_path_factory.mktemp("models"), {}
    for name, inputs in (("farm-depth", METRIC), ("farm-event", EVENTS)):
        files[name] = folder / f"{name}.safetensors"
        save_model(files[name], build_model(lite_config(LABELS, inputs, name=name)), {})
    return files


def test_the_first_pairs_of_the_test_split_are_offered(tmp_path, farm):
    own = CustomExamples(describe(tmp_path, farm))
    expected = [pair.name for pair in own.data.pairs("test")]
    assert (len(expected), MAX_OWN_PAIRS) == (9, 8)
    assert [pair.name for pair in own.offer.pairs] == expected[:8]
    assert own.offer.title == "farm: 8 of 9 pairs of test"
    assert own.offer.options.unit == "0.1mm"
    assert own.offer.pairs[0].rgb == (farm / f"rgb/{expected[0]}.png").resolve()
    for tile, pair in zip(own.offer.tiles, own.offer.pairs, strict=True):
        difference = read_image_rgb(tile).astype(int) - read_image_rgb(pair.rgb)
        assert abs(difference).mean() < 8  # pixels of another pair are 25 apart


@pytest.mark.parametrize(
    ("splits", "asked", "title"),
    [
        ({"val": 0.5, "train": 0.5}, None, "farm: 5 pairs of val"),
        ({"train": 0.5, "test": 0.1}, None, "farm: 1 pair of test"),
        ({"train": 0.5, "test": 0.5}, "train", "farm: 5 pairs of train"),
    ],
)
def test_the_split(tmp_path, farm, splits, asked, title):
    assert CustomExamples(describe(tmp_path, farm, split=splits), asked).offer.title == title


def test_data_without_labels_will_do(tmp_path, farm):
    assert CustomExamples(describe(tmp_path, farm, labels=None)).offer.pairs


def test_the_network_gets_what_it_gets_in_training(tmp_path, farm, models):
    file = describe(tmp_path, farm)
    own, service = CustomExamples(file), Service([str(models["farm-depth"])])
    pair, sample = own.offer.pairs[0], CustomPairDataset(file, "test")[0]
    assert own.offer.options == XOptions(modality="depth", unit="0.1mm", byte_order="stored")
    said = x_options(form_of(own.offer.options))
    reading = service.read_x(str(pair.x), str(pair.rgb), "farm-depth", said).reading
    assert np.array_equal(reading.image[..., 0] * np.float32(255), sample.modal_x)
    guessed = service.read_x(str(pair.x), str(pair.rgb), "farm-depth").reading
    assert not np.array_equal(guessed.image, reading.image)


def turned_by_hand(depth: np.ndarray) -> np.ndarray:
    return np.rot90(depth)


def in_a_fourth_channel(depth: np.ndarray) -> np.ndarray:
    return np.dstack([np.full_like(depth, 900)] * 3 + [depth])


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        (turned_by_hand, {"turn": 90}),
        (in_a_fourth_channel, {"channel": 4}),
        (np.ndarray.byteswap, {"byte_order": "swapped"}),
        (np.asarray, {"unit": None, "depth_scale": 6553.5}),
    ],
)
def test_the_page_reads_an_offered_pair_as_training_does(tmp_path, farm, models, change, keys):
    for name in "abcdefghij":
        depth = cv2.imread(str(farm / f"x/{name}.png"), cv2.IMREAD_UNCHANGED)
        np.save(tmp_path / f"{name}.npy", change(depth))
    file = describe(tmp_path, farm, x=f"{tmp_path}/{{name}}.npy", **keys)
    own, service = CustomExamples(file), Service([str(models["farm-depth"])])
    pair, sample = own.offer.pairs[0], CustomPairDataset(file, "test")[0]
    said = x_options(form_of(own.offer.options))
    reading = service.read_x(str(pair.x), str(pair.rgb), "farm-depth", said).reading
    assert np.array_equal(reading.image[..., 0] * np.float32(255), sample.modal_x)
    assert np.ptp(sample.modal_x) > 10


@pytest.mark.parametrize(
    ("inputs", "labels", "changes", "said"),
    [
        (METRIC, LABELS, {}, ""),
        (METRIC, "nyuv2", {}, "This model predicts other classes than farm.yaml names: not soil, tree."),
        (METRIC, LABELS, {"classes": ["soil"]},
         "This model predicts other classes than farm.yaml names: also tree."),
        (METRIC, LABELS, {"classes": ["tree", "soil"]},
         "This model predicts the classes that farm.yaml names, but in another order."),
        (METRIC, LABELS, {"classes": ["a", "b", "c", "d", "e"]}, "not a, b, c and 2 more."),
        (EVENTS, LABELS, {}, "This model takes X for event, farm.yaml says depth."),
        (InputConfig(modality="depth"), LABELS, {},
         "This model takes X as an image, farm.yaml as depth in metres."),
        (METRIC, LABELS, {"max_metres": 30.0}, "This model clips depth at 10 m, farm.yaml at 30 m."),
    ],
)  # fmt: skip
def test_a_model_that_does_not_fit_is_named(tmp_path, farm, inputs, labels, changes, said):
    own = CustomExamples(describe(tmp_path, farm, **changes))
    found = " ".join(own.differences(lite_config(labels, inputs)))
    assert found.endswith(said)
    assert bool(found) == bool(said)


def test_the_warning_is_escaped_and_absent_without_own_data(tmp_path, farm, models):
    service = Service([str(models["farm-depth"])])
    own = CustomExamples(describe(tmp_path, farm, classes=["<script>", "tree"]))
    assert "&lt;script&gt;" in warning_text(service, own, "farm-depth")
    assert warning_text(service, None, "farm-depth") == ""


def run_app(monkeypatch, capsys, *arguments: str) -> str:
    """The last line that `python app.py` with wrong arguments prints."""
    file = Path(__file__).resolve().parents[3] / "app.py"
    spec = importlib.util.spec_from_file_location("app_py", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("sys.argv", ["app.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "more", "message"),
    [
        ({"modality": "deph"}, [], "farm.yaml: key 'modality' is 'deph'"),
        ({"x": "depth"}, [], "farm.yaml: key 'x': the folder "),
        ({}, ["--custom-split", "val"], "farm.yaml: key 'split': there is no 'val', the file has train"),
        ({"unit": "8-bit near bright"}, [], ".png: unit '8-bit near bright' is for values up to 255"),
    ],
)
@pytest.mark.parametrize("flag", ["--custom-dataset", "--own-data"])
def test_a_broken_yaml_ends_the_command_in_one_line(
    tmp_path, farm, monkeypatch, capsys, changes, more, message, flag
):
    file = describe(tmp_path, farm, **({"split": {"train": 0.5, "test": 0.5}} | changes))
    line = run_app(monkeypatch, capsys, flag, str(file), *more)
    assert line.startswith("app.py: error: ")
    assert message in line


def test_wrong_arguments_are_named(tmp_path, farm, monkeypatch, capsys):
    for flag in ("--custom-split", "--own-split"):
        line = run_app(monkeypatch, capsys, flag, "test")
        assert line == "app.py: error: --custom-split needs --custom-dataset FILE.yaml"
    line = run_app(monkeypatch, capsys, "--custom-dataset", str(tmp_path / "none.yaml"))
    assert "none.yaml: cannot be read" in line
    (tmp_path / "rgb").mkdir()
    (tmp_path / "x").symlink_to(farm / "x")
    for name in "abcdefghij":
        (tmp_path / f"rgb/{name}.png").write_bytes(b"no picture")
    file = describe(tmp_path, tmp_path, labels=None)
    line = run_app(monkeypatch, capsys, "--custom-dataset", str(file))
    assert "rgb/a.png: this is" in line
    assert "farm.yaml" in line


@pytest.mark.parametrize("modality", [m for m in get_args(Modality) if m != "depth"])
def test_only_depth_is_called_depth(modality):
    inputs = InputConfig(modality=modality)
    hint = "" if modality == "hha" else x_hint(inputs)  # HHA is computed from depth
    for text in (head(inputs), x_label(inputs), hint, no_x(inputs)):
        assert "depth" not in text.lower()
    assert "depth image" in head(METRIC)
    assert "16-bit" in x_hint(METRIC)


def test_examples_follow_what_the_model_takes():
    assert [pair.x.name for pair in offered(METRIC, None).pairs] == [p.x.name for p in examples("depth")]
    events = offered(EVENTS, None).pairs
    assert [pair.name for pair in events] == ["Bedroom", "Kitchen", "Living room", "Office"]
    assert {pair.x.name.rsplit("_")[-1] for pair in events} == {"event.png"}
    assert offered(InputConfig(modality="thermal"), None).pairs == []
    assert offered(InputConfig(modality="depth"), None).pairs == []  # as a plain picture


def test_event_examples_are_frames_of_their_rgb_images():
    for pair in examples("event"):
        photo, frame = read_image_rgb(pair.rgb), read_x(pair.x).data
        assert frame.shape == photo.shape
        assert frame.dtype == np.uint8
        happened = frame.max(axis=-1) > 0
        assert 0.1 < happened.mean() < 0.7
        gradient = np.abs(np.gradient(photo.astype(float).mean(axis=-1))).sum(axis=0)
        assert gradient[happened].mean() > 2 * gradient[~happened].mean()  # events are where edges are


def test_named_models_come_first_and_names_are_told_apart(tmp_path, models):
    service = Service([str(models["farm-event"])])
    assert service.models[0] == "farm-event"
    assert "ktb-lite-nyuv2-depth" in service.models[1:]
    assert service.inputs("farm-event") == EVENTS
    other = tmp_path / "farm-event.safetensors"
    other.write_bytes(models["farm-event"].read_bytes())
    with pytest.raises(ValueError, match="would both be called 'farm-event'; rename one of them"):
        Service([str(models["farm-event"]), str(other)])
    with pytest.raises(ValueError, match="there is no model 'nothing'"):
        service.inputs("nothing")


def test_messages_and_panels_name_what_the_model_takes(models):
    service, pair = Service([str(models["farm-event"])]), examples("event")[0]
    with pytest.raises(ValueError, match=r"X image is missing\. Upload the event frame that belongs"):
        service.segment(str(pair.rgb), None, "farm-event")
    result = service.segment(str(pair.rgb), str(pair.x), "farm-event")
    assert result.x_name == "event frame"
    words = re.sub(r'src="[^"]*"', "", x_panel(result.x))
    assert 'alt="x preview: event frame"' in words
    assert "depth" not in words.lower()


def test_own_files_are_never_deleted(tmp_path):
    own, upload = tmp_path / "photo.png", tmp_path / "upload.png"
    for path in (own, upload):
        path.write_bytes(b"pixels")
    store = SessionStore(tmp_path, keep=[own])
    store.remember_uploads("a", [str(own), str(upload)])
    store.close("a")
    assert own.exists()
    assert not upload.exists()


@pytest.fixture
def opened(browser, tmp_path, monkeypatch):
    """A function: service and own examples → the page in the browser, and its address."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    started = []

    def start(service: Service, own: CustomExamples | None = None):
        page = build_page(service, own, opens_on_example=False, ablates=False)
        _, address, _ = page.queue().launch(prevent_thread_lock=True, quiet=True, **launch_options())
        tab = browser.new_page(viewport={"width": 1400, "height": 1000})
        started.append((page, tab))
        tab.set_default_timeout(WAIT)
        tab.goto(address, wait_until="domcontentloaded")
        tab.wait_for_selector("#ktb-run")
        return tab, address

    yield start
    for page, tab in started:
        tab.close()
        page.close()


def fetched(address: str, path: Path) -> int:
    """The status of asking the server for a file."""
    try:
        url = f"{address.rstrip('/')}/gradio_api/file={urllib.parse.quote(str(path))}"
        with urllib.request.urlopen(url) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_own_pairs_are_on_the_page_and_nothing_else_is_served(tmp_path, farm, models, opened):
    own = CustomExamples(describe(tmp_path, farm, classes=["soil", "leaf"]))
    tab, address = opened(Service([str(models["farm-depth"])]), own)
    assert "other classes than farm.yaml names: not leaf." in tab.inner_text("#ktb-warning")
    tab.wait_for_selector("#ktb-examples img")
    assert tab.locator("#ktb-examples img").count() == 8
    first = own.offer.pairs[0]
    assert first.name in tab.inner_text("#ktb-examples")
    tab.locator("#ktb-examples img").first.click()
    wait_for_run(tab)
    assert "tenths of a millimetre (certain)" in tab.inner_text("#ktb-foot")
    assert f"{first.x.stem}" in tab.inner_text("#ktb-x")
    tab.click("#ktb-fix > button")
    assert tab.input_value("#ktb-unit input") == "tenths of a millimetre"
    offered_files = {path for pair in own.offer.pairs for path in pair[:2]}
    assert {fetched(address, path) for path in offered_files} == {200}
    rest = [path for path in farm.rglob("*.png") if path.resolve() not in offered_files]
    assert {fetched(address, path) for path in (*rest, own.data.file)} == {404}


def test_a_page_of_an_event_model_does_not_speak_of_depth(models, opened):
    tab, _ = opened(Service([str(models["farm-event"])]))
    words = tab.inner_text("body")
    assert "depth" not in words.lower()
    assert "X: its event frame" in words
    tab.wait_for_selector("#ktb-examples img")
    tab.locator("#ktb-examples img").first.click()
    wait_for_run(tab)
    assert "3 channels" in tab.inner_text("#ktb-foot")
    assert "depth" not in tab.inner_text("body").lower()
    tab.click("#ktb-fix > button")
    tab.wait_for_selector("#ktb-modality")
    assert tab.locator("#ktb-unit").count() == 0
    tab.click("#ktb-settings button")
    assert "event" in tab.inner_text("#ktb-x")

    tab.click("#ktb-model input")
    tab.locator("#ktb-model [role=option]", has_text="ktb-lite-nyuv2-depth").click()
    tab.wait_for_selector("#ktb-x >> text=depth image")
    assert "X: its depth image" in tab.inner_text("#ktb-x")
    assert "_event" in tab.inner_text("#ktb-x")  # nothing uploaded is lost by a switch
    tab.wait_for_selector("#ktb-x-read .ktb-warn >> text=trained with depth")
    assert "its depth image" in tab.inner_text("#ktb-head")
    tab.locator("#ktb-examples img").first.click()
    tab.wait_for_selector("#ktb-foot >> text=millimetres")
