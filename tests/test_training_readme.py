"""training/README.md: its commands parse, its recipes, settings, files and figures are those of the code."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import pkgutil
import re
import shlex
from pathlib import Path

import pytest
import typer
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser

from ktb.__main__ import app
from ktb.build import swin_config
from ktb.labels import DATASETS
from ktb.own_keys import read_keys
from ktb.pretrained import usual_name
from training.corruptions import KINDS
from training.datasets import REGISTRY
from training.datasets.parts import choose
from training.publish import REQUIRED
from training.recipes import RECIPES, Recipe, get_recipe, override
from training.recipes.settings import template
from training.robustness_conditions import CORRUPTED, FAMILIES, all_conditions, select

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "training" / "README.md"
TEXT = README.read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
SPANS = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", PROSE)]
MODULES = ("train", "evaluate", "check", "robustness", "simulate_events", "publish")
NO_FLAG_OF_OURS = {"--num_processes"}  # accelerate's, explained in the text
PLACEHOLDERS = ("KEY=VALUE",)


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """Every command of the shell blocks and of the text, as arguments."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    lines += [span for span in SPANS if span.startswith("python ")]
    parts = (part for line in lines for part in line.split("&&"))
    return [arguments for part in parts if (arguments := shlex.split(part, comments=True))]


COMMANDS = commands()


def rows(header: str) -> list[list[str]]:
    """The cells of all tables whose first header cell is `header`, without backticks."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", TEXT, flags=re.MULTILINE):
        head, _, *lines = (
            [c.strip() for c in line.strip("|\n ").split(" | ")] for line in table.splitlines()
        )
        found += lines if head[0] == header else []
    assert found, header
    return [[cell.replace("`", "") for cell in line] for line in found]


class _Found(Exception):
    """Carries a parser out of a command."""

    def __init__(self, parser: argparse.ArgumentParser):
        self.parser = parser


@pytest.fixture(scope="module")
def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command of training/, taken from its `main` before anything happens."""

    def stop(parser, *_):
        raise _Found(parser)

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        for name in MODULES:
            module = importlib.import_module(f"training.{name}")
            patch.setattr(module, "keep_freed_memory", lambda: None, raising=False)
            with pytest.raises(_Found) as caught:
                module.main([])
            found[f"training.{name}"] = caught.value.parser
    return found


def app_flags() -> set[str]:
    """The options of app.py, from its text: importing it takes seconds."""
    calls = (
        node for node in ast.walk(ast.parse((ROOT / "app.py").read_text())) if isinstance(node, ast.Call)
    )
    named = (call.args[0] for call in calls if getattr(call.func, "attr", "") == "add_argument")
    return {argument.value for argument in named if isinstance(argument, ast.Constant)}


def flags(arguments: list[str]) -> set[str]:
    return {argument.split("=")[0] for argument in arguments if argument.startswith("--")}


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse without abbreviations, which argparse would take."""
    unknown = flags(arguments) - set(parser._option_string_actions)
    assert not unknown, f"{parser.prog} has no {', '.join(sorted(unknown))}"
    return parser.parse_args(arguments)


def parse_ktb(arguments: list[str]) -> None:
    name, *rest = arguments
    typer.main.get_command(app).commands[name].make_context(name, rest)


def check_names(module: str, options: argparse.Namespace) -> None:
    """Names among a command's values: recipes with their settings, datasets, splits, families."""
    if module == "training.train":
        recipe = override(get_recipe(options.recipe), options.set)
        assert recipe.dataset in REGISTRY or recipe.dataset.endswith(".yaml")
    if dataset := getattr(options, "dataset", None):
        assert dataset.endswith(".yaml") or choose("Dataset", dataset, REGISTRY)
        if dataset in REGISTRY:
            splits = options.split if isinstance(options.split, list) else [options.split]
            assert set(filter(None, splits)) <= set(REGISTRY[dataset].splits)
            if modality := getattr(options, "modality", None):
                assert modality in REGISTRY[dataset].modalities
    for names in (getattr(options, "families", None), getattr(options, "robustness", None)):
        select(names, "depth")


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments)[:80])
def test_every_command_parses(arguments, parsers):
    program, *rest = arguments
    if program in ("accelerate", "torchrun"):
        if program == "accelerate":
            assert rest.pop(0) == "launch"
        parser = launch_command_parser() if program == "accelerate" else get_args_parser()
        launched = parser.parse_args(rest)
        assert launched.module
        program, rest = "python", ["-m", launched.training_script, *launched.training_script_args]
    if program != "python":
        assert program in ("python3", "source", ".venv-training/bin/pip"), "a command that nobody checks"
        return
    if rest[0] == "app.py":
        assert flags(rest) <= app_flags()
        return
    assert rest.pop(0) == "-m"
    module, *rest = rest
    if module == "ktb":
        parse_ktb(rest)
    else:
        check_names(module, parse(parsers[module], rest))


def test_commands_are_found_and_wrong_ones_refused(parsers, capsys):
    assert len(COMMANDS) > 30
    assert {f"training.{name}" for name in MODULES} <= {part for c in COMMANDS for part in c}
    with pytest.raises(AssertionError, match="no --familie"):  # an abbreviation
        parse(parsers["training.robustness"], ["--dataset", "nyuv2", "--out", "x", "--familie", "missing"])
    with pytest.raises(SystemExit):
        parse(parsers["training.train"], [])
    with pytest.raises(Exception, match="--nothing"):
        parse_ktb(["merge", "a", "b", "--nothing", "1"])
    assert "recipe" in capsys.readouterr().err


def test_every_option_of_the_text_exists(parsers):
    known = {flag for parser in parsers.values() for flag in parser._option_string_actions} | app_flags()
    named = {flag for span in SPANS if "python" not in span for flag in re.findall(r"--[a-z][\w-]*", span)}
    assert "--select-on-test" in named
    assert named - known <= NO_FLAG_OF_OURS


def test_the_option_table_is_the_trainers(parsers):
    """Complete, besides what every command has or what stands beside the table."""
    named = {flag for row in rows("option") for flag in re.findall(r"--[a-z-]+", row[0])}
    there = {flag for flag in parsers["training.train"]._option_string_actions if flag.startswith("--")}
    assert named == there - {"--help", "--data", "--out"}


def test_every_setting_exists():
    fields = set(Recipe.__dataclass_fields__)
    names = {name for row in rows("setting") for name in row[0].split(", ")}
    assert names <= fields
    recipe = RECIPES["nyuv2-swin-b"]
    pairs = [part for span in SPANS if span.startswith("--set ") for part in span.split()[1:]]
    pairs = [pair for pair in pairs if pair not in (*PLACEHOLDERS, "…")]
    assert "lr=2e-4" in pairs
    for pair in pairs:
        override(recipe, [pair])
    for path in (span for span in SPANS if re.fullmatch(r"model\.[a-z_]+\.[a-z_.]+", span)):
        node = template(recipe).to_dict()
        for key in path.split(".")[1:]:
            node = node[key]


def test_the_recipe_tables_are_the_recipes():
    missing = [name for name in RECIPES if name not in SPANS]
    assert not missing
    published = {name: recipe for name, recipe in RECIPES.items() if recipe.published}
    table = {row[0]: row[1:] for row in rows("recipe") if len(row) == 7}
    assert table.keys() == published.keys()
    for name, (epochs, lr, crop, size, loss, score) in table.items():
        recipe = published[name]
        assert (int(epochs), float(lr)) == (recipe.epochs, recipe.lr), name
        assert tuple(map(int, crop.split("×"))) == recipe.crop, name
        assert int(size) == recipe.model["inputs.short_side"], name
        assert loss.lower() == recipe.loss, name
        assert score == f"{recipe.published} (published)", name


def test_the_dataset_table_is_the_datasets():
    table = {row[0]: row[1:] for row in rows("name") if len(row) == 5}
    assert table.keys() == REGISTRY.keys()
    for name, (modalities, classes, _, counts) in table.items():
        kind = REGISTRY[name]
        assert tuple(modalities.split(", ")) == kind.modalities, name
        assert int(classes) == DATASETS[name].num_classes, name
        for split, count in zip(("train", "val", "test"), counts.split(" / "), strict=True):
            expected = kind.published.get(split)
            assert count == (str(expected) if expected else "–" if split not in kind.splits else "your list")


def test_the_robustness_table_is_the_suite():
    table = {row[0].split(" ")[0]: row[2] for row in rows("family")}
    assert tuple(table) == FAMILIES
    for name, family in CORRUPTED.items():
        for kind in family.variants.values():
            assert table[name] == ", ".join(f"{level:g}" for level in KINDS[kind].levels)
    holes = sum(condition.family == "holes" for condition in all_conditions().values())
    everything = len(all_conditions())
    assert f"Together {everything} conditions with depth, {everything - holes} without holes" in TEXT


def test_the_yaml_example_is_valid(tmp_path):
    (example,) = blocks("yaml")
    file = tmp_path / "orchard.yaml"
    file.write_text(example)
    assert read_keys(file).name == "orchard"
    optional = re.findall(r"^# (\w+): (.+?) +# .*?(depth|thermal|event|hha)", example, flags=re.MULTILINE)
    assert {"unit", "max_metres", "range", "hot", "event_window_ms", "encoding"} <= {
        row[0] for row in optional
    }
    for key, value, modality in optional:
        text = example.replace("modality: thermal", f"modality: {modality}") + f"{key}: {value}\n"
        file.write_text(text)
        assert key in read_keys(file).model_fields_set


def test_the_card_example_has_the_required_keys():
    (example,) = blocks("json")
    assert tuple(sorted(json.loads(example))) == tuple(sorted(REQUIRED))


def test_every_file_and_heading_exists():
    paths = set(re.findall(r"(?<![\w./-])(?:training|ktb|tests|app|assets)/[\w./-]*\w", TEXT))
    assert "training/recipes/base.py" in paths
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    anchors = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in re.findall(r"^#+ .*", TEXT, flags=re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        if link.startswith("#"):
            assert link[1:] in anchors
        elif not link.startswith("https://"):
            assert (README.parent / link).exists(), link


def test_every_python_name_exists():
    names = {span for span in SPANS if re.fullmatch(r"(?:ktb|training)\.[a-z_.]+", span)}
    assert "ktb.modalities.event_frame" in names
    for name in names:
        pkgutil.resolve_name(name)
    for size in "bl":
        assert usual_name(swin_config(size, "nyuv2").backbone) in SPANS


def test_lines_are_short():
    long = [n for n, line in enumerate(TEXT.splitlines(), 1) if len(line) > 118 and not line.startswith("|")]
    assert long == []
