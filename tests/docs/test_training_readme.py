"""training/README.md: recipes, settings, files and figures are the code's. (Commands: test_snippets.)"""

from __future__ import annotations

import argparse
import json
import pkgutil
import re
from pathlib import Path

import pytest
from helpers.snippets import PARSERS, commands, script_flags

from ktb.checkpoints.pretrained import usual_name
from ktb.datasets.schema import read_keys
from ktb.labels import DATASETS
from ktb.modeling.build import swin_config
from training.data.datasets import REGISTRY
from training.publish import REQUIRED
from training.recipes import RECIPES, Recipe, override
from training.recipes.overrides import template
from training.robustness.conditions import CORRUPTED, FAMILIES, all_conditions
from training.robustness.corruptions import KINDS

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "training" / "README.md"
TEXT = README.read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
SPANS = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", PROSE)]
MODULES = (
    "train",
    "evaluate",
    "evaluate_boxes",
    "check",
    "robustness",
    "calibrate",
    "domain",
    "simulate_events",
    "publish",
)
NO_FLAG_OF_OURS = {"--num_processes"}  # accelerate's, explained in the text
PLACEHOLDERS = ("KEY=VALUE",)


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


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


@pytest.fixture(scope="module")
def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command of training/."""
    return {f"training.{name}": PARSERS[f"training.{name}"] for name in MODULES}


def test_every_command_of_training_is_shown():
    shown = {word for text in blocks("bash") for words in commands(text) for word in words}
    assert {f"training.{name}" for name in MODULES} <= shown


def test_every_option_of_the_text_exists(parsers):
    known = {flag for parser in parsers.values() for flag in parser._option_string_actions}
    known |= script_flags(ROOT / "app.py")
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
    assert "ktb.inputs.event_frame" in names
    for name in names:
        pkgutil.resolve_name(name)
    for size in "bl":
        assert usual_name(swin_config(size, "nyuv2").backbone) in SPANS


def test_lines_are_short():
    long = [n for n, line in enumerate(TEXT.splitlines(), 1) if len(line) > 118 and not line.startswith("|")]
    assert long == []
