"""The rules of who may import whom, and what no file may contain, read from the syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ktb", "training", "app")
FILES = {
    path.relative_to(ROOT).as_posix(): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
} | {path.name: path for path in ROOT.glob("*.py")}

# Modules of ktb from the bottom up: each imports only from lines above its own.
LAYERS = (
    ("checksum", "machine", "lazy"),
    ("assets", "atomic", "config", "figures", "visualize", "layers", "position_bias", "recent", "resident"),
    ("decision", "ranks", "file_lock", "read_ahead", "out_of_memory"),
    ("labels", "metrics", "modalities", "trace"),
    ("file_header",),
    ("weights",),
    ("backbone", "mapa", "dscf", "heads", "own_keys"),
    ("file_pairs", "journal", "x_files"),
    ("shared_journal",),
    ("sequence_frames", "sequence_table"),
    ("sequence_zip", "sequence_video"),
    ("published",),
    ("model_files",),
    ("model", "official", "own_data"),
    ("pretrained", "parts", "tiling"),
    ("build", "preparing"),
    ("storage",),
    ("adapter_files", "model_card"),
    ("checkpoint",),
    ("runtime",),
    ("prediction",),
    ("predictor", "agreement"),
    ("inspection", "what_if", "differences", "ground_truth"),
    ("outputs", "describe", "sequence_drawing", "push", "zoo"),
    ("sequences",),
    ("paper_figure", "array_file"),
    ("report",),
    ("batch",),
    ("batch_predict", "batch_encode"),
    ("bench",),
    ("__init__",),
    ("cli_options", "cli_progress"),
    ("cli_batch", "cli_models"),
    ("cli_predict", "cli_encode", "cli_sequence", "cli_export", "cli_bench", "cli_push", "cli_zoo"),
    ("__main__",),
)
DEPTH_ESTIMATION = "ktb/inputs/depth_estimation.py"
LOW = {"config", "modalities", "labels", "visualize", "layers", "position_bias", "recent", "trace"}
LOW |= {"machine"}


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


def top_level(name: str) -> set[str]:
    return {imported_name.split(".")[0] for imported_name in imported(tree(name))}


def ktb_module(dotted: str) -> str | None:
    """ "ktb.modeling.backbones.swin" → "backbone"; None for what is no module of ktb."""
    parts = dotted.split(".")
    known = parts[0] == "ktb" and any(part in layer for layer in LAYERS for part in parts[1:2])
    return parts[1] if known else None


def module_of(file: str) -> str:
    """ "ktb/modeling/backbones/swin.py" → "backbone"."""
    return file.split("/")[1].removesuffix(".py")


def ktb_files() -> list[str]:
    return [name for name in FILES if name.startswith("ktb/")]


def test_the_rules_see_the_files():
    assert {"ktb/modeling/model.py", "ktb/modeling/backbones/swin.py", "training/train.py"} <= set(FILES)
    assert imported(ast.parse("def f():\n    from ktb.a import b\nimport c.d")) == {"ktb.a", "ktb.a.b", "c.d"}


def test_ktb_needs_neither_app_nor_training_nor_gradio():
    for name in ktb_files():
        assert not top_level(name) & {"app", "training", "gradio", "tests"}, name


def test_training_and_app_do_not_import_each_other():
    for name in FILES:
        if name.startswith("training/"):
            assert not top_level(name) & {"app", "gradio"}, name
        elif name.startswith("app"):
            assert "training" not in top_level(name), name


def test_every_module_of_ktb_has_a_place():
    placed = [module for layer in LAYERS for module in layer]
    assert sorted(placed) == sorted(set(placed))
    assert {module_of(name) for name in ktb_files()} <= set(placed)


def test_ktb_imports_downwards_only():
    level = {module: number for number, layer in enumerate(LAYERS) for module in layer}
    for name in ktb_files():
        own = module_of(name)
        assert "ktb" not in imported(tree(name)), f"{name} imports the package it is part of"
        for other in {ktb_module(dotted) for dotted in imported(tree(name))} - {None, own}:
            assert level[other] < level[own], f"{name} imports ktb.{other}"


def test_low_modules_stay_low_and_the_network_parts_apart():
    parts = {"backbone", "mapa", "dscf", "heads"}
    for name in ktb_files():
        own = module_of(name)
        others = {ktb_module(dotted) for dotted in imported(tree(name))} - {None, own}
        if own in LOW:
            assert others <= LOW, name
        if own in parts:
            assert not others & parts, name
        if own == "model":
            assert not others & {"build", "checkpoint", "predictor"}, name


def test_only_backbones_and_their_weights_know_timm():
    users = {name for name in FILES if "timm" in top_level(name)}
    assert users
    assert all(
        name.startswith("ktb/modeling/backbones/") or name == "ktb/checkpoints/pretrained.py"
        for name in users
    ), users


def test_visualize_and_labels_work_without_torch():
    low = ("ktb/config.py", "ktb/labels.py", "ktb/visualize.py", "ktb/inputs/")
    for name in (name for name in ktb_files() if name.startswith(low) and name != DEPTH_ESTIMATION):
        assert not top_level(name) & {"torch", "torchvision", "timm"}, name


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
    assert len(FILES[name].read_text().splitlines()) <= 300, name
    for node in module.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name}: {node.name}"
