"""The robustness suite on a made data set in NYUv2's layout, with a model whose answers are known."""

import csv
import json

import cv2
import numpy as np
import pytest
import torch

from ktb.checkpoints.load import save_model
from ktb.config import BRANCHES
from ktb.modeling.build import build_model, lite_config
from ktb.modeling.model import KTBOutput
from training.data.datasets import build_dataset
from training.evaluation.evaluator import evaluate
from training.evaluation.reports import shown
from training.robustness import missing, suite
from training.robustness.__main__ import main
from training.robustness.conditions import CORRUPTED, all_conditions, select
from training.robustness.corruptions import KINDS, Corruption
from training.robustness.report import contact_sheet, curve_figure, missing_figure
from training.robustness.suite import fingerprint, run

HEIGHT, WIDTH = 60, 90


def write_root(folder, label_value=None):
    for name in ("RGB", "Depth", "Label"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("0001", "0002"):
        right = np.tile(np.arange(WIDTH) >= WIDTH // 2, (HEIGHT, 1))
        label = np.where(right, 5, 1) if label_value is None else np.full_like(right, label_value, int)
        photo = (np.where(right, 200, 40) + rng.integers(0, 40, right.shape)).astype(np.uint8)
        cv2.imwrite(str(folder / "RGB" / f"{name}.jpg"), np.repeat(photo[..., None], 3, axis=-1))
        cv2.imwrite(str(folder / "Depth" / f"{name}.png"), np.where(right, 220, 30).astype(np.uint8))
        cv2.imwrite(str(folder / "Label" / f"{name}.png"), label.astype(np.uint8))
    (folder / "test.txt").write_text("0001\n0002\n")
    return folder


class Reader(torch.nn.Module):
    """Reads chair from what is bright: rgb in the photo, x in X, fused in both; a masked stream says wall."""

    def __init__(self, value=0.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((1,), value))
        self.config = lite_config()

    def normalize_rgb(self, rgb):
        return rgb

    def normalize_x(self, modal_x):
        return modal_x

    def forward(self, rgb, modal_x, mask_rgb=None, mask_x=None):
        rgb = torch.zeros_like(rgb) if mask_rgb is not None else rgb
        modal_x = torch.zeros_like(modal_x) if mask_x is not None else modal_x
        bright = {"rgb": rgb[:, 0], "x": modal_x[:, 0], "fused": (rgb[:, 0] + modal_x[:, 0]) / 2}
        outputs = {}
        for branch, value in bright.items():
            outputs[branch] = torch.zeros(len(rgb), 40, *rgb.shape[-2:])
            outputs[branch][:, 0], outputs[branch][:, 4] = 0.5, value
        return KTBOutput(**outputs)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_root(tmp_path_factory.mktemp("nyuv2"))


@pytest.fixture
def dataset(root):
    return build_dataset("nyuv2", root, "test", modality="depth", cache=True)


@pytest.fixture
def calls(monkeypatch):
    """The settings of every evaluation that the suite makes."""
    made = []

    def counting(*args, **settings):
        made.append({key: settings.get(key) for key in ("corruption", "missing", "missing_as")})
        return evaluate(*args, **settings)

    monkeypatch.setattr(suite, "evaluate", counting)
    return made


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """The folder and the record of the whole suite."""
    out = tmp_path_factory.mktemp("suite") / "deep" / "out"
    dataset = build_dataset("nyuv2", root, "test", modality="depth", cache=True)
    return out, run(Reader(), dataset, out, size=64, progress=False)


def test_the_whole_suite(whole):
    out, record = whole
    assert json.loads((out / "robustness.json").read_text()) == record
    assert list(record["conditions"]) == list(all_conditions())
    assert len(record["conditions"]) == 39
    assert record["skipped"] == {}
    assert record["classes"] == {"all": 40, "scored": 2}
    assert record["settings"]["images"] == 2
    assert "inputs corrupted" not in record["protocol"]
    for name in ("missing", *CORRUPTED):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.glob(".*"))
    clean = record["conditions"]["clean"]
    assert all(clean[branch]["kept"] == 100 for branch in BRANCHES)
    for row in record["conditions"].values():
        for branch in BRANCHES:
            assert row[branch]["kept"] == pytest.approx(100 * row[branch]["miou"] / clean[branch]["miou"])


def test_each_condition_is_an_evaluation_of_its_own(whole, dataset):
    _, record = whole
    for key, settings in {
        "clean": {},
        "missing/rgb-only/tokens": {"missing": "x", "missing_as": "tokens"},
        "missing/x-only/image": {"missing": "rgb", "missing_as": "image"},
        "x-shift/16": {"corruption": Corruption("x-shift", 16)},
        "dark/0.1": {"corruption": Corruption("dark", 0.1)},
        "holes/0.5/filled": {"corruption": Corruption("holes-filled", 0.5)},
    }.items():
        result = evaluate(Reader(), dataset, size=64, progress=False, **settings)
        for branch in BRANCHES:
            for score in ("miou", "pixel_accuracy", "class_accuracy"):
                assert record["conditions"][key][branch][score] == result[branch][score], key


def test_what_is_damaged_loses_and_the_other_branch_does_not(whole):
    rows = whole[1]["conditions"]
    clean = rows["clean"]
    assert clean["rgb"]["miou"] > 95
    assert rows["missing/rgb-only/tokens"]["rgb"] == clean["rgb"]
    assert rows["missing/rgb-only/tokens"]["x"]["miou"] == pytest.approx(25)  # all wall
    assert rows["missing/x-only/tokens"]["rgb"]["miou"] == pytest.approx(25)
    shifts = [rows[f"x-shift/{d}"]["x"]["miou"] for d in (2, 4, 8, 16, 32)]
    assert rows["x-shift/32"]["rgb"] == clean["rgb"]
    assert shifts == sorted(shifts, reverse=True)
    assert rows["dark/0.1"]["rgb"]["miou"] < 50
    assert rows["dark/0.1"]["x"] == clean["x"]
    assert rows["holes/0.5/filled"]["x"]["miou"] > rows["holes/0.5/zero"]["x"]["miou"]


def test_emm_is_the_mean_over_the_combinations(whole):
    record = whole[1]
    assert set(record["emm"]) == {"tokens", "image"}
    for way, means in record["emm"].items():
        for branch in BRANCHES:
            keys = ("clean", f"missing/rgb-only/{way}", f"missing/x-only/{way}")
            values = [record["conditions"][key][branch]["miou"] for key in keys]
            assert means[branch] == pytest.approx(np.mean(values))


def test_tables(whole):
    out, record = whole
    with (out / "robustness.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 39 * 3
    line = next(v for v in lines if (v["family"], v["level"], v["branch"]) == ("x-shift", "16", "x"))
    assert float(line["miou"]) == record["conditions"]["x-shift/16"]["x"]["miou"]
    text = (out / "robustness.md").read_text()
    assert "nyuv2 test, X = depth, 2 frames, 2 of 40 classes scored" in text
    assert record["protocol"] in text
    assert record["settings"]["weights_sha256"] in text
    assert text.count("| **EMM** |") == 2
    for family in CORRUPTED.values():
        assert f"## {family.title}\n" in text
        assert all(kind.about in text for kind in family.kinds.values())
    order = [text.index(f"\n| {level} |") for level in ("0.9", "0.95", "1 (clean)", "1.05", "1.1")]
    assert order == sorted(order)
    for table in text.split("\n\n"):
        if table.startswith("|"):
            assert len({line.count("|") for line in table.splitlines()}) == 1


def test_curves_show_the_record(whole):
    record = whole[1]
    axes = curve_figure(record, "dark").axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1\nclean", "0.5", "0.25", "0.1"]
    assert axes.get_xlabel() == KINDS["dark"].unit
    assert "ktb-lite" in axes.get_title(loc="left")
    curves = {line.get_label(): line.get_ydata() for line in axes.lines}
    keys = ("clean", "dark/0.5", "dark/0.25", "dark/0.1")
    for branch in BRANCHES:
        assert list(curves[branch]) == [record["conditions"][key][branch]["miou"] for key in keys]
    holes = {line.get_label(): line.get_ydata() for line in curve_figure(record, "holes").axes[0].lines}
    assert holes["x, zero"][-1] == record["conditions"]["holes/0.5/zero"]["x"]["miou"]
    assert holes["x, filled"][0] == holes["x, zero"][0] == record["conditions"]["clean"]["x"]["miou"]
    bars = missing_figure(record).axes[0].containers
    heights = {bar.get_label(): [patch.get_height() for patch in bar] for bar in bars if bar.get_label()}
    assert heights["x"][3] == record["emm"]["tokens"]["x"]
    assert len(heights["x"]) == 7


def test_finished_conditions_are_not_run_again(dataset, tmp_path, calls):
    run(Reader(), dataset, tmp_path, conditions=["x-scale/0.9"], progress=False)
    assert [call["corruption"] for call in calls] == [None, Corruption("x-scale", 0.9)]
    record = run(Reader(), dataset, tmp_path, conditions=["x-scale"], progress=False)
    levels = (0.95, 1.05, 1.1)
    assert [call["corruption"] for call in calls[2:]] == [Corruption("x-scale", v) for v in levels]
    assert len(record["conditions"]) == 5
    again = run(Reader(), dataset, tmp_path, conditions=["x-scale"], progress=False)
    assert len(calls) == 5
    assert again == record


def test_a_stopped_run_goes_on_as_if_it_had_not_been(dataset, tmp_path, monkeypatch):
    made = []

    def stopping(*args, **settings):
        made.append(1)
        if len(made) == 3:
            raise KeyboardInterrupt
        return evaluate(*args, **settings)

    monkeypatch.setattr(suite, "evaluate", stopping)
    wanted = {"conditions": ["x-pixels"], "progress": False}
    with pytest.raises(KeyboardInterrupt):
        run(Reader(), dataset, tmp_path / "a", **wanted)
    saved = json.loads((tmp_path / "a" / "robustness.json").read_text())
    assert list(saved["conditions"]) == ["clean", "x-pixels/0.25"]
    assert "0.25" in (tmp_path / "a" / "robustness.md").read_text()
    resumed = run(Reader(), dataset, tmp_path / "a", **wanted)
    assert len(made) == 5
    assert resumed == run(Reader(), dataset, tmp_path / "b", **wanted)


def test_figures_of_different_runs_do_not_mix(dataset, tmp_path, calls):
    run(Reader(), dataset, tmp_path, conditions=["clean"], progress=False)
    remedy = "choose another folder, or remove this file"
    for model, settings, what in (
        (Reader(1.0), {}, "another checkpoint"),
        (Reader(), {"indices": [1]}, "another images"),
        (Reader(), {"indices": [1, 0]}, "another frames_sha256"),
        (Reader(), {"size": 96}, "another size .size None, now 96"),
        (Reader(), {"seed": 1}, "another seed"),
        (Reader(), {"bf16": True}, "another bf16"),
    ):
        with pytest.raises(ValueError, match=rf"robustness\.json contains scores of {what}.*{remedy}"):
            run(model, dataset, tmp_path, conditions=["clean"], progress=False, **settings)
    assert len(calls) == 1
    for broken in ('{"settings": ', "[]", '{"settings": {}}'):
        (tmp_path / "robustness.json").write_text(broken)
        with pytest.raises(ValueError, match=f"is no record of this suite.*{remedy}"):
            run(Reader(), dataset, tmp_path, conditions=["clean"], progress=False)
        assert (tmp_path / "robustness.json").read_text() == broken


def test_fingerprint_follows_the_weights_and_the_configuration():
    assert fingerprint(Reader()) == fingerprint(Reader())
    assert fingerprint(Reader()) != fingerprint(Reader(1e-6))
    other = Reader()
    other.config = lite_config("sunrgbd")
    assert fingerprint(other) != fingerprint(Reader())


def test_holes_are_left_out_where_x_is_no_depth(dataset, tmp_path, caplog):
    assert len([dataset[0], dataset[1]]) == 2  # now in the cache
    dataset.modality = "thermal"
    record = run(Reader(), dataset, tmp_path, conditions=["holes", "blur/1"], progress=False)
    why = "only for X = depth or hha, here X = thermal"
    assert list(record["conditions"]) == ["clean", "blur/1"]
    assert record["skipped"] == {"holes": why}
    assert f"## Holes in the depth\n\nLeft out: {why}.\n" in (tmp_path / "robustness.md").read_text()
    assert f"holes is skipped: {why}" in caplog.text
    assert not (tmp_path / "holes.png").exists()


def test_nothing_to_score_is_no_number(tmp_path):
    dataset = build_dataset("nyuv2", write_root(tmp_path / "data", 0), "test", modality="depth")
    record = run(Reader(), dataset, tmp_path / "out", conditions=["missing", "blur"], progress=False)
    assert record["conditions"]["clean"]["fused"]["miou"] is None
    assert record["emm"]["image"]["x"] is None
    assert "NaN" not in (tmp_path / "out" / "robustness.json").read_text()
    assert "| both |  | – |" in (tmp_path / "out" / "robustness.md").read_text()


def test_selection_of_conditions():
    chosen, skipped = select(["x-shift", "holes/0.1/zero"], "depth")
    keys = ["clean", *(f"x-shift/{d}" for d in (2, 4, 8, 16, 32)), "holes/0.1/zero"]
    assert [condition.key for condition in chosen] == keys
    assert skipped == {}
    assert len(select(None, "aolp")[0]) == 39 - 6
    assert len(select(None, "hha")[0]) == 39
    with pytest.raises(
        ValueError, match=r"Family 'x-shfit' is not known; choose from missing, .*'x-shift'\?"
    ):
        select(["x-shfit"], "depth")
    with pytest.raises(ValueError, match=r"Condition 'x-shift/5' is not known.* Did you mean 'x-shift/"):
        select(["x-shift/5"], "depth")


def test_contact_sheet_has_a_row_a_kind(dataset):
    sheet = contact_sheet(dataset[0], "depth", width=48)
    tile_height, tile_width = 32 + 20, 48 + 4
    assert sheet.dtype == np.uint8
    assert sheet.shape == (len(KINDS) * tile_height, 6 * tile_width, 3)
    np.testing.assert_array_equal(sheet, contact_sheet(dataset[0], "depth", width=48))
    assert len(contact_sheet(dataset[0], "thermal", width=48)) == (len(KINDS) - 2) * tile_height


def test_command(root, tmp_path, capsys, one_thread):
    torch.manual_seed(0)
    save_model(tmp_path / "m.safetensors", build_model(lite_config()), {})
    common = f"--dataset nyuv2 --data {root} --out {tmp_path}/out"
    command = f"{common} --model {tmp_path}/m.safetensors --every 2 --size 64 --bf16 --device cpu"
    main([*command.split(), "--families", "missing", "x-shift/2"])
    record = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert list(record["conditions"]) == [
        "clean",
        *(f"missing/{only}/{way}" for way in ("tokens", "image") for only in ("rgb-only", "x-only")),
        "x-shift/2",
    ]
    assert record["settings"]["images"] == 1
    assert record["settings"]["modality"] == "depth"  # what the model was made for, not the data set's first
    assert "bfloat16" in record["protocol"]
    main([*common.split(), "--show", "1", "--modality", "depth"])
    assert cv2.imread(f"{tmp_path}/out/corruptions.png").shape[1] == 6 * 228
    for bad, message in (
        (common, "give --model, or --show"),
        (f"{common} --modality depth --show 2", "--show 2: choose a sample in 0..1"),
        (f"{command} --limit 0", "--limit is 0; give at least 1"),
        (f"{command} --every 0", "--every is 0; give 1 for all"),
        (f"{command} --families rain", "Family 'rain' is not known"),
        (f"{command} --seed 3 --families missing", "contains scores of another seed"),
    ):
        with pytest.raises(SystemExit):
            main(bad.split())
        assert message in capsys.readouterr().err


def test_one_table_of_the_missing_modality_protocols(whole, tmp_path, capsys):
    out, record = whole
    table = tmp_path / "missing.md"
    missing.main([str(out), str(out), "--out", str(table)])
    header, _, *rows = table.read_text().splitlines()
    assert header == "| model, head | frames | both | RGB only | X only | EMM | RMM | NM |"
    assert len(rows) == 4
    cells = [cell.strip() for cell in rows[0].split("|")]
    assert cells[1:3] == [f"{record['model']}, fused", "2 nyuv2 test, depth"]
    rmm = [record["conditions"][f"x-pixels/{level}"]["fused"]["miou"] for level in (0.25, 0.5, 0.75)]
    assert cells[6] == shown(record["emm"]["tokens"]["fused"])
    assert cells[7] == shown(sum(rmm) / 3)
    part = tmp_path / "part"
    part.mkdir()
    few = record | {"conditions": {"clean": record["conditions"]["clean"]}}
    (part / "robustness.json").write_text(json.dumps(few))
    with pytest.raises(SystemExit):
        missing.main([str(part), "--out", str(table)])
    assert "the conditions missing/rgb-only/tokens" in capsys.readouterr().err
