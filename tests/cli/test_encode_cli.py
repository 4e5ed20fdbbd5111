"""`python -m ktb encode`: X inputs of every kind as the network's image, its report, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.models import tiny_swin_config
from helpers.pairs import synthetic_pair, write_pair
from PIL import Image
from typer.testing import CliRunner

import ktb.__main__
from ktb import encode_x, read_x, save_model
from ktb.__main__ import app
from ktb.config import InputConfig
from ktb.inputs import EventStream, RawX, XOptions
from ktb.modalities import DEFAULT_ENCODINGS
from ktb.modeling.build import build_model
from ktb.outputs.x_image import x_file

PLAIN = InputConfig(modality="other", encoding="image")
KINDS = {
    "depth.png": "depth",
    "depth.npy": "hha",
    "ir.png": "thermal",
    "nir.jpg": "nir",
    "events.npz": "event",
}


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def plain(text: str) -> str:
    """One space between any two words."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One input of each kind, by file name."""
    folder = tmp_path_factory.mktemp("x")
    photo, depth = synthetic_pair(64, 96)
    rng = np.random.default_rng(1)
    cv2.imwrite(str(folder / "depth.png"), depth)
    np.save(folder / "depth.npy", depth.astype(np.float32) / 1000)
    cv2.imwrite(str(folder / "ir.png"), (3000 + 5 * (depth // 100)).astype(np.uint16))
    Image.fromarray(photo[..., 0]).save(folder / "nir.jpg")
    count = 5000
    x, y = rng.integers(0, 96, count), rng.integers(0, 64, count)
    t, p = np.sort(rng.integers(0, 50_000, count)), rng.integers(0, 2, count)
    np.savez(folder / "events.npz", x=x, y=y, t=t, p=p)
    Image.fromarray(photo).save(folder / "photo.png")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    inputs = InputConfig(modality="depth", encoding="depth", max_metres=5.0)
    path = tmp_path_factory.mktemp("model") / "five.safetensors"
    save_model(path, build_model(dataclasses.replace(tiny_swin_config(), inputs=inputs)), {})
    return path


@pytest.mark.parametrize(("name", "modality"), KINDS.items())
def test_every_kind_reads_back_as_the_networks_image(files, tmp_path, name, modality):
    inputs = InputConfig(modality=modality, encoding=DEFAULT_ENCODINGS[modality])
    expected = encode_x(read_x(files / name, options=XOptions(sensor_hw=(64, 96))), inputs)
    for out, more, tolerance in (
        ("8.png", (), 0.5 / 255),
        ("16.png", ("--sixteen-bit",), 0.5 / 65535),
        ("exact.npy", (), 0),
    ):
        result = run(
            "encode",
            files / name,
            "--modality",
            modality,
            "--sensor",
            "96x64",
            "--out",
            tmp_path / out,
            *more,
        )
        assert result.exit_code == 0, result.output
        again = encode_x(read_x(tmp_path / out), PLAIN).image
        assert again.shape == (64, 96, 3)
        assert np.abs(again - expected.image).max() <= tolerance + 1e-6
    assert f"encoded as {expected.encoding}, for {modality}" in plain(result.stdout)
    assert expected.summary in result.stdout
    assert "exact.npy (value = the stored value)" in plain(result.stdout)
    assert Image.open(tmp_path / "8.png").text["Encoding"] == expected.encoding
    assert Image.open(tmp_path / "16.png").text["Values"] == "pixel / 65535"


def test_report_and_preview(files, tmp_path):
    report, preview, out = tmp_path / "r.json", tmp_path / "p.png", tmp_path / "x.png"
    result = run(
        "encode", files / "depth.png", "--modality", "depth", "--unit", "mm", "--rgb", files / "photo.png",
        "--out", out, "--report", report, "--preview", preview,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(report.read_text())
    reading = encode_x(
        read_x(files / "depth.png"),
        InputConfig(modality="depth", encoding="depth"),
        (64, 96),
        XOptions(unit="mm"),
    )
    assert told["facts"] == dict(reading.facts)
    assert told["size"] == {"height": 64, "width": 96}
    assert told["warnings"] == list(reading.warnings)
    assert told["values"] == "pixel / 255"
    assert told["filled_share"] == pytest.approx(np.mean(reading.holes))
    assert told["channels"][0]["mean"] == pytest.approx(reading.image[..., 0].mean(), abs=1e-6)
    assert np.array_equal(np.asarray(Image.open(preview)), reading.preview)
    for title, text in reading.facts.items():
        lines = [line for line in map(str.strip, result.stdout.splitlines()) if line.startswith(title)]
        assert any(line.removeprefix(title).strip() == text for line in lines), title


def test_the_checkpoint_says_how(files, model, tmp_path):
    for arguments, scale in ((("--for", model), 5), (("--modality", "depth", "--max-metres", 8), 8)):
        result = run("encode", files / "depth.npy", *arguments, "--out", tmp_path / "x.npy")
        assert result.exit_code == 0, result.output
        metres = np.load(files / "depth.npy")
        measured = metres > 0
        image = np.load(tmp_path / "x.npy")
        assert np.allclose(image[measured][:, 0], metres[measured] / scale, atol=1e-6)
    result = run("encode", files / "events.npz", "--for", model, "--out", tmp_path / "x.npy")
    assert result.exit_code == 0
    assert "Warning: X looks like events, but this checkpoint was trained with depth" in result.stderr
    result = run("encode", files / "events.npz", "--encoding", "event_voxel", "--out", tmp_path / "x.npy")
    assert "encoded as event_voxel, for event" in plain(result.stdout)


def test_without_a_checkpoint_torch_is_not_imported(files, tmp_path):
    code = f"""
import sys
from ktb.__main__ import app
for more in (["{files}/depth.png", "--out", "{tmp_path}/x.png"],
             ["--x-dir", "{files}/depth.*g", "--out-dir", "{tmp_path}/many"]):
    try:
        app(["encode", "--modality", "hha", *more])
    except SystemExit as end:
        assert end.code == 0, end.code
assert not {{"torch", "timm"}} & set(sys.modules)
"""
    root = Path(ktb.__main__.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "x.png").read_bytes() == (tmp_path / "many/depth.png").read_bytes()


def test_angles_of_polarization_keep_their_sign(tmp_path):
    angle = np.linspace(-1, 1, 64 * 96).reshape(64, 96).astype(np.float32)
    reading = encode_x(RawX(np.ones((64, 96), np.uint8)), PLAIN)
    signed = dataclasses.replace(reading, image=np.dstack([angle, -angle, angle]), encoding="aolp")
    for kind, top in (("png", 255), ("png16", 65535)):
        contents, rule = x_file(signed, kind)
        assert rule == f"pixel / {top} * 2 - 1"
        (tmp_path / "a.png").write_bytes(contents)
        assert np.abs(read_x(tmp_path / "a.png").data / top * 2 - 1 - signed.image).max() <= 1 / top + 1e-6
    contents, rule = x_file(signed, "npy")
    (tmp_path / "a.npy").write_bytes(contents)
    assert np.array_equal(np.load(tmp_path / "a.npy"), signed.image)
    assert rule == "the stored value"


def test_angles_for_training_are_told_to_be_npy(tmp_path):
    rng = np.random.default_rng(3)
    paths = [tmp_path / f"{angle}.png" for angle in (0, 45, 90, 135)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(100, 200, (64, 96)).astype(np.uint8))
    told = run("encode", *paths, "--modality", "aolp", "--out", tmp_path / "a.png")
    assert told.exit_code == 0, told.output
    assert "for training write .npy" in told.stderr
    told = run("encode", *paths, "--modality", "aolp", "--out", tmp_path / "a.npy")
    assert "write .npy" not in told.stderr
    again = encode_x(read_x(tmp_path / "a.npy"), InputConfig(modality="aolp", encoding="aolp"))
    assert np.array_equal(again.image, np.load(tmp_path / "a.npy"))
    assert again.image.min() < 0


def test_a_folder_of_hha_from_one_of_depth(files, tmp_path):
    depth = cv2.imread(str(files / "depth.png"), cv2.IMREAD_UNCHANGED)
    (tmp_path / "d/room").mkdir(parents=True)
    for name, image in (("1", depth), ("2", depth // 2), ("room/1", depth[:, ::-1])):
        cv2.imwrite(str(tmp_path / f"d/{name}.png"), image)
    (tmp_path / "d/3.png").write_bytes(b"\x89PNG broken")
    arguments = ("--modality", "hha", "--unit", "mm", "--fov", 60)
    many = ("encode", "--x-dir", tmp_path / "d", "--out-dir", tmp_path / "hha", *arguments)
    result = run(*many)
    assert result.exit_code == 1
    assert "3 done, 1 failed" in result.stdout
    assert "failed: 3: 3.png" in result.stderr
    single = run("encode", tmp_path / "d/room/1.png", *arguments, "--out", tmp_path / "one.png")
    assert single.exit_code == 0, single.output
    assert (tmp_path / "hha/room/1.png").read_bytes() == (tmp_path / "one.png").read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "hha/results.jsonl").read_text().splitlines()]
    assert [(line["name"], line["status"]) for line in lines] == [
        ("1", "done"),
        ("2", "done"),
        ("3", "failed"),
        ("room/1", "done"),
    ]
    assert lines[0]["encoded"]["encoding"] == "hha"
    again = encode_x(read_x(tmp_path / "one.png"), InputConfig(modality="hha", encoding="hha"))
    assert np.array_equal(np.rint(again.image * 255), np.asarray(Image.open(tmp_path / "one.png")))
    cv2.imwrite(str(tmp_path / "d/3.png"), depth)
    result = run(*many, "--workers", 2)
    assert result.exit_code == 0
    assert "1 done, 3 done by an earlier run, 0 failed" in result.stdout
    result = run(*many, "--npy")
    assert "4 done, 0 failed" in result.stdout
    assert np.load(tmp_path / "hha/2.npy").dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the X input: give one of X, --x-dir, --pairs; found none of them"),
        (("depth.png", "--x-dir", "."), "found X and --x-dir"),
        (("depth.png",), "--out is missing: give a file ending in .png or .npy"),
        (("depth.png", "--out", "x.jpg"), "x.jpg: give a file ending in .png or .npy"),
        (("depth.png", "--out", "x.png"), "the content of an image cannot be detected; give --modality"),
        (("depth.png", "--out", "no/x.png", "--modality", "depth"), "the folder no does not exist"),
        (("depth.png", "--out", "x.png", "--out-dir", "d"), "--out-dir: is for --x-dir"),
        (("--x-dir", "x", "--out", "x.png"), "--out: is for one X"),
        (("--x-dir", "x"), "give --out-dir DIR"),
        (("depth.png", "--out", "x.npy", "--sixteen-bit", "--modality", "depth"), "--sixteen-bit is for PNG"),
        (
            ("depth.png", "--out", "x.png", "--modality", "smell"),
            "modality of X is 'smell'; allowed: auto",
        ),
        (("depth.png", "--out", "x.png", "--encoding", "smell"), "encoding is 'smell'; allowed: depth"),
        (("depth.png", "--out", "x.png", "--for", "nothing"), "there is no model or file 'nothing'"),
        (
            ("depth.png", "--out", "x.png", "--for", "a", "--encoding", "hha"),
            "--encoding: set by the checkpoint",
        ),
        (("depth.png", "--out", "x.png", "--max-metres", "3"), "--max-metres: needs --modality depth"),
        (("depth.png", "--out", "x.png", "--sensor", "big"), "--sensor 'big': give width and height"),
        (("depth.png", "--out", "x.png", "--options", "o.json"), "--options o.json: no JSON"),
        (("depth.png", "--out", "x.png", "--options", "list.json"), "give an object such as"),
        (("depth.png", "--out", "x.png", "--options", "wrong.json"), "unknown keys ['colour']"),
        (("depth.png", "--out", "x.png", "--align", "m.json"), "X is to be aligned: give one of --rgb"),
    ],
)
def test_refusals_have_one_message(files, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "depth.png").write_bytes((files / "depth.png").read_bytes())
    for name, text in {
        "o.json": "{",
        "list.json": "[]",
        "wrong.json": '{"colour": 1}',
        "m.json": "[[1, 0, 0], [0, 1, 0]]",
    }.items():
        (tmp_path / name).write_text(text)
    before = sorted(tmp_path.rglob("*"))
    result = run("encode", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_flags_come_before_the_options_file_and_alignment_is_applied(tmp_path):
    rgb, depth = write_pair(tmp_path, 64, 96)
    (tmp_path / "o.json").write_text(json.dumps({"unit": "0.1mm", "modality": "depth"}))
    (tmp_path / "m.txt").write_text("1 0 8\n0 1 0\n")
    arguments = ("encode", depth, "--options", tmp_path / "o.json", "--out", tmp_path / "x.npy")
    assert "tenths of a millimetre (certain)" in run(*arguments).stdout
    tenth = np.load(tmp_path / "x.npy")
    result = run(*arguments, "--unit", "mm")
    assert "millimetres (certain)" in result.stdout
    unmoved = np.load(tmp_path / "x.npy")
    assert np.allclose(unmoved, tenth * 10, atol=1e-5)
    result = run(*arguments, "--unit", "mm", "--align", tmp_path / "m.txt", "--rgb", rgb)
    assert result.exit_code == 0, result.output
    assert np.allclose(np.load(tmp_path / "x.npy")[20:, 10:], unmoved[20:, 2:-8], atol=1e-5)


def test_events_by_flags(tmp_path):
    """A table whose order, time unit and sensor only the flags tell."""
    rng = np.random.default_rng(2)
    x, y, t = rng.integers(0, 40, 3000), rng.integers(0, 40, 3000), np.sort(rng.uniform(0, 1, 3000))
    polarity = rng.integers(0, 2, 3000)
    np.savetxt(tmp_path / "e.txt", np.column_stack([t, y, x, polarity]), fmt=("%.6f", "%d", "%d", "%d"))
    result = run(
        "encode", tmp_path / "e.txt", "--columns", "tyxp", "--time-unit", "s", "--sensor", "64x48",
        "--window-ms", 0, 500, "--out", tmp_path / "x.npy",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    options = XOptions(columns="tyxp", time_unit="s", sensor_hw=(48, 64), window_ms=(0, 500))
    raw = read_x(tmp_path / "e.txt", options=options)
    assert isinstance(raw.data, EventStream)
    expected = encode_x(raw, InputConfig(modality="event", encoding="event_frame"), options=options)
    image = np.load(tmp_path / "x.npy")
    assert image.shape == (48, 64, 3)
    assert np.array_equal(image, expected.image)
    assert image.any()
