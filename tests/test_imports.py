"""The rules of who may import whom, and what no file may contain, read from the syntax trees."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ktb", "training", "app")
FILES = {
    path.relative_to(ROOT).as_posix(): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
} | {path.name: path for path in ROOT.glob("*.py")}

# Rooms of ktb from the bottom up: a room imports only from those of lines above its own.
LAYERS = (
    ("utils", "modalities"),
    ("config", "labels", "visualize"),
    ("inputs", "modeling"),
    ("datasets", "checkpoints"),
    ("inference",),
    ("analysis",),
    ("outputs",),
    ("batch", "video"),
    ("bench",),
    ("__init__",),
    ("cli",),
    ("__main__",),
)
ROOMS_OF_ONE_KIND = {"utils": {"utils"}, "modeling": {"modeling", "config", "labels"}}
"""Rooms that know less than their place would allow."""
LOW = ("modalities", "config", "labels", "visualize", "utils")
NETWORK_PARTS = ("backbones", "mapa", "dscf", "heads")
DEPTH_ESTIMATION = "ktb/inputs/depth_estimation.py"
MAX_LINES = 400
MAX_MODULES = 15


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(), filename=name)


def imported(module: ast.Module) -> set[str]:
    """Every dotted name that a file imports, also inside functions; `from a import b` gives a and a.b."""
    names = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@functools.cache
def top_level(name: str) -> set[str]:
    return {imported_name.split(".")[0] for imported_name in imported(tree(name))}


def room_of(file: str) -> str:
    """ "ktb/modeling/model.py" → "modeling", "ktb/config.py" → "config"."""
    return file.split("/")[1].removesuffix(".py")


def ktb_files() -> list[str]:
    return [name for name in FILES if name.startswith("ktb/")]


MODULES = {name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name for name in FILES}


@functools.cache
def imported_files(name: str) -> set[str]:
    """The files of ours that a file imports, also inside functions; `__init__` only where it is named."""
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {dotted if dotted in MODULES else node.module for dotted in submodules}
    return {MODULES[dotted] for dotted in found if dotted in MODULES} - {name}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The files that are left after those that import nothing or are imported by nothing have gone."""
    left = {name: set(others) for name, others in arrows.items()}
    while True:
        imported_by_some = set().union(*left.values()) if left else set()
        ends = {
            name for name, others in left.items() if not others & set(left) or name not in imported_by_some
        }
        if not ends:
            return [sorted(left)] if left else []
        left = {name: others - ends for name, others in left.items() if name not in ends}


def test_the_rules_see_the_files():
    assert {"ktb/modeling/model.py", "ktb/modeling/backbones/swin.py", "training/train.py"} <= set(FILES)
    assert imported(ast.parse("def f():\n    from ktb.a import b\nimport c.d")) == {"ktb.a", "ktb.a.b", "c.d"}
    assert "ktb/modeling/dscf.py" in imported_files("ktb/modeling/build.py")
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_ktb_needs_neither_app_nor_training_nor_gradio():
    for name in ktb_files():
        assert not top_level(name) & {"app", "training", "gradio", "tests", "tools"}, name


def test_training_and_app_do_not_import_each_other():
    for name in FILES:
        if name.startswith("training/"):
            assert not top_level(name) & {"app", "gradio", "tests", "tools"}, name
        elif name.startswith("app"):
            assert not top_level(name) & {"training", "tests", "tools"}, name


def test_every_file_of_ktb_has_a_room():
    placed = [room for layer in LAYERS for room in layer]
    assert sorted(placed) == sorted(set(placed))
    assert {room_of(name) for name in ktb_files()} == set(placed)


def test_rooms_import_downwards_only():
    level = {room: number for number, layer in enumerate(LAYERS) for room in layer}
    for name in ktb_files():
        own = room_of(name)
        assert "ktb" not in imported(tree(name)), f"{name} imports the package it is part of"
        for other in {room_of(file) for file in imported_files(name) if file.startswith("ktb/")} - {own}:
            assert level[other] < level[own], f"{name} imports ktb.{other}"
            assert other in ROOMS_OF_ONE_KIND.get(own, {other}), f"{name} imports ktb.{other}"
        if own in ("config", "labels", "visualize"):
            assert {room_of(file) for file in imported_files(name)} <= set(LOW), name


def test_no_two_files_import_each_other():
    found = circles({name: imported_files(name) for name in FILES})
    assert not found, f"these files import each other in circles: {found}"


def test_the_parts_of_the_network_stand_apart():
    for name in (name for name in ktb_files() if name.startswith("ktb/modeling/")):
        part = name.split("/")[2].removesuffix(".py")
        others = {
            file.split("/")[2].removesuffix(".py") for file in imported_files(name) if "modeling/" in file
        }
        if part in NETWORK_PARTS:
            assert not (others - {part}) & {*NETWORK_PARTS, "model", "build"}, name
        if part == "model":
            assert "build" not in others, name


def test_only_backbones_and_their_weights_know_timm():
    users = {name for name in FILES if "timm" in top_level(name)}
    assert users
    places = ("ktb/modeling/backbones/", "ktb/checkpoints/pretrained.py")
    assert all(name.startswith(places) for name in users), users


def test_inputs_labels_and_drawing_work_without_torch():
    low = ("ktb/config.py", "ktb/labels.py", "ktb/visualize.py", "ktb/inputs/", "ktb/datasets/")
    for name in (name for name in ktb_files() if name.startswith(low) and name != DEPTH_ESTIMATION):
        assert not top_level(name) & {"torch", "torchvision", "timm"}, name


def test_no_test_imports_another():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        found = {dotted.split(".")[0] for dotted in imported(ast.parse(path.read_text()))}
        assert not {name for name in found if name.startswith(("test_", "conftest"))}, path


def test_no_folder_holds_more_modules_than_one_can_look_over():
    tests = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")]
    folders = [name.rpartition("/")[0] for name in (*FILES, *tests)]
    assert max(map(folders.count, set(folders))) <= MAX_MODULES


def calls(module: ast.Module) -> list[ast.Call]:
    return [node for node in ast.walk(module) if isinstance(node, ast.Call)]


def called(call: ast.Call) -> str:
    return ast.unparse(call.func)


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith(("ktb/", "training/", "app"))])
def test_no_file_does_what_the_style_forbids(name):
    for call in calls(tree(name)):
        where = f"{name}:{call.lineno}"
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name.startswith("ktb/"):
            assert called(call) != "print", where
        assert called(call) not in {"eval", "exec", "pickle.load", "pickle.loads"}, where
        assert not called(call).endswith(".cuda"), where
        assert options.get("strict") != "False" or called(call) == "zip", where
        assert options.get("weights_only") != "False", where
        if called(call) == "torch.load":
            assert options.get("weights_only") == "True", where


@pytest.mark.parametrize("name", ktb_files())
def test_library_files_are_documented_and_of_readable_length(name):
    module = tree(name)
    assert ast.get_docstring(module), name
    assert len(FILES[name].read_text().splitlines()) <= MAX_LINES, name
    for node in module.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name}: {node.name}"
