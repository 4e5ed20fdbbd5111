"""Pairs and results of batch runs."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from ktb.__main__ import app
from ktb.batch.runner import Made, Steps
from ktb.datasets.pairing import FilePair


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def batch(data, model, *more, out="out"):
    places = ("--rgb-dir", data / "rgb", "--x-dir", data / "x", "--out", data / out)
    return run("predict", *places, "--model", model, *more)


def records(folder: Path) -> dict[str, dict]:
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert len({line["name"] for line in lines}) == len(lines)
    return {line["name"]: line for line in lines}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.png")}


def pairs_of(folder: Path, count: int) -> list[FilePair]:
    found = []
    for number in range(count):
        file = folder / f"{number:02}.txt"
        file.write_text(str(number))
        found.append(FilePair(file.stem, None, (file,)))
    return found


def text_steps(**changes):
    def pack(pair, text):
        return Made({"text": (f"{pair.name}.out", text.encode())}, {"length": len(text)})

    steps = {
        "read": lambda pair: pair.x[0].read_text(),
        "compute": lambda texts: [text * 2 for text in texts],
        "pack": pack,
    }
    return Steps(**{**steps, **changes})
