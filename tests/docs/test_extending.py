"""docs/extending.md: its walks name files and definitions that exist, its tree has every package."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
import torch

from ktb import load_model

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| (\d+) \| `([\w/.]+)` \| `([\w.]+)` \| (.+) \|")
WALKS = [
    [(int(number), file, name, text) for number, file, name, text in ROW.findall(chapter)]
    for chapter in TEXT.split("## The packages")[0].split("\n### ")[1:]
]
PACKAGES = ("ktb", "app", "training", "tests", "tools")
NO_PACKAGES = {"app/static", "ktb/outputs/viewer"}
"""Folders of the tree that hold no Python."""
FILE_SUFFIXES = (".py", ".pt", ".csv", ".safetensors", ".js")


def definitions(file: str) -> set[str]:
    """Functions and classes of a file by their names, members as Holder.member."""
    found = set()

    def collect(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                collect(child, f"{prefix}{child.name}.")
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(prefix + child.name)

    collect(ast.parse((ROOT / file).read_text(encoding="utf-8")), "")
    return found


def test_there_are_three_walks_of_at_most_fifteen_files():
    assert len(WALKS) == 3
    for walk in WALKS:
        assert [number for number, *_ in walk] == list(range(1, len(walk) + 1))
        assert len({file for _, file, *_ in walk}) == len(walk) <= 15


@pytest.mark.parametrize("walk", WALKS, ids=["upload", "tensor", "recipe"])
def test_every_step_of_a_walk_exists(walk):
    for _, file, name, _ in walk:
        assert (ROOT / file).is_file(), file
        assert name in definitions(file), f"{file}: {name}"


def test_names_in_the_texts_of_the_walks_exist():
    code = [path for package in ("ktb", "app", "training") for path in (ROOT / package).rglob("*.py")]
    known = set().union(*(definitions(path.relative_to(ROOT).as_posix()) for path in code))
    for walk in WALKS:
        for *_, text in walk:
            spans = re.findall(r"`([A-Za-z_]+(?:\.[A-Za-z_]+)?)`", text)
            names = {span for span in spans if not span.endswith(FILE_SUFFIXES)}
            assert names <= known, names - known


def test_a_tensor_enters_the_files_in_the_order_of_its_walk(one_thread):
    entered: list[str] = []
    model = load_model("ktb-lite-nyuv2-depth")

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(ROOT) or path in entered:
            return
        if path.relative_to(ROOT).parts[0] in PACKAGES:  # an environment may lie in the checkout
            entered.append(path)

    rgb = modal_x = torch.zeros(1, 3, 64, 64)
    with torch.inference_mode():
        sys.setprofile(note)
        try:
            model(rgb, modal_x, trace=True)
        finally:
            sys.setprofile(None)
    walk = [file for _, file, *_ in WALKS[1]]
    assert [path.relative_to(ROOT).as_posix() for path in entered] == walk


def listed_folders() -> dict[str, str]:
    """Folders of the tree with the text of their lines."""
    block = re.search(r"```text\n(.*?)```", TEXT.split("## The packages")[1], re.DOTALL)[1]
    found, parents = {}, []
    for line in block.splitlines():
        indented, name, text = re.fullmatch(r"((?:  )*)(\w+) +(\S.*)", line).groups()
        parents = [*parents[: len(indented) // 2], name]
        found["/".join(parents)] = text
    return found


def test_the_tree_has_a_line_for_every_package():
    exist = {
        path.parent.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    holders = {parent.as_posix() for folder in exist for parent in Path(folder).parents} - {"."}
    assert set(listed_folders()) == exist | holders | NO_PACKAGES
