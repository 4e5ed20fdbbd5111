"""Pairs and results of batch runs."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from ktb.__main__ import app
from ktb.batch.runner import Made, Steps
from ktb.datasets.pairing import FilePair


def run(*arguments):
    """The result of `python -m ktb` with these arguments, run in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def batch(data, model, *more, out="out"):
    """Run `predict` over the folders rgb and x of `data`, into a folder of `data`."""
    places = ("--rgb-dir", data / "rgb", "--x-dir", data / "x", "--out", data / out)
    return run("predict", *places, "--model", model, *more)


def records(folder: Path) -> dict[str, dict]:
    """The lines of results.jsonl by pair, of which each is recorded once."""
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert len({line["name"] for line in lines}) == len(lines)
    return {line["name"]: line for line in lines}


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of all PNG files of a folder by their relative path."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.png")}


def pairs_of(folder: Path, count: int) -> list[FilePair]:
    """Pairs whose X is a text file with the pair's number."""
    found = []
    for number in range(count):
        file = folder / f"{number:02}.txt"
        file.write_text(str(number))
        found.append(FilePair(file.stem, None, (file,)))
    return found


def text_steps(**changes):
    """Steps that write each text of `pairs_of` twice; `changes` replaces steps."""

    def pack(pair, text):
        return Made({"text": (f"{pair.name}.out", text.encode())}, {"length": len(text)})

    steps = {
        "read": lambda pair: pair.x[0].read_text(),
        "compute": lambda texts: [text * 2 for text in texts],
        "pack": pack,
    }
    return Steps(**{**steps, **changes})
