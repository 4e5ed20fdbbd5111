"""The files of an evaluation: JSON, Markdown tables, confusion matrices as CSV and as PNG.

Scores in tables are rounded down, never up; the JSON file has all digits.
"""

import csv
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ktb.config import BRANCHES
from ktb.utils.files import write_atomically
from ktb.utils.text import as_text, rounded_down

SCORES = {
    "miou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
    "class_accuracy": "class accuracy",
    "f1": "F1",
    "boundary_f1": "boundary F1",
}
PER_CLASS = {"iou": "IoU", "f1_per_class": "F1", "boundary_f1_per_class": "boundary F1"}
NOT_SCORED = "not scored"
CELL_INCHES = 0.27
SMALLEST_CELL_TEXT = 0.01  # of a row; cells of smaller fractions stay empty

Table = tuple[Sequence[str], list[Sequence[str]]]


def write_report(out: Path, result: Mapping[str, Any], title: str, command: str) -> list[Path]:
    """Write `out` (JSON), the tables beside it (.md), and the confusion matrices of the result, if any.

    The matrices are written to NAME_confusion_BRANCH.csv and .png, not to the JSON file. Returns all files.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    result = dict(result)
    confusion = result.pop("confusion", {})
    write_json(out, result)
    text = markdown(result, title, command)
    written = [out, out.with_suffix(".md")]
    write_atomically(written[1], lambda path: path.write_text(text, encoding="utf-8"))
    for branch, counts in confusion.items():
        stem = out.with_name(f"{out.stem}_confusion_{branch}")
        classes = list(result[branch]["iou"])
        files = [stem.with_name(stem.name + suffix) for suffix in (".csv", ".png")]
        write_confusion_csv(files[0], counts, classes)
        draw_confusion(files[1], counts, classes, f"{title}, branch {branch}", result["protocol"])
        written += files
    return written


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as JSON; NaN and infinities become null, because JSON has neither."""
    text = json.dumps(_finite(values), indent=1, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def markdown(result: Mapping[str, Any], title: str, command: str) -> str:
    """All tables of a result of `training.evaluation.evaluator.evaluate`, below its protocol and command."""
    lines = [
        f"# {title}",
        "",
        f"**Protocol**: {result['protocol']}; {image_count(result['images'])}, in percent",
    ]
    lines += ["", "**Command**:", "", "```", command, "```", "", *_markdown_table(branch_table(result))]
    if "conditions" in result:
        lines += ["", "Per condition:", "", *_markdown_table(condition_table(result["conditions"]))]
    lines += ["", "Per class:", "", *_markdown_table(class_table(result))]
    if "attention" in result:
        rows = [
            (str(row["level"]), shown(row["entropy"], 3), shown(row["balance_std"], 3))
            for row in result["attention"]
        ]
        header = ("level", "mean normalised attention entropy", "standard deviation of the balance map")
        lines += ["", *_markdown_table((header, rows))]
    return "\n".join(lines) + "\n"


def branch_table(result: Mapping[str, Any], decimals: int = 1) -> Table:
    """One row per branch, one column per score."""
    keys = [key for key in SCORES if key in result[BRANCHES[0]]]
    rows = [(branch, *(shown(result[branch][key], decimals) for key in keys)) for branch in BRANCHES]
    return ("branch", *(SCORES[key] for key in keys)), rows


def condition_table(conditions: Mapping[str, Mapping[str, Any]], decimals: int = 1) -> Table:
    """One row per condition: images, mIoU of every branch, pixel accuracy of the fused branch."""
    rows = [
        (
            name,
            str(scores["images"]),
            *(shown(scores[branch]["miou"], decimals) for branch in BRANCHES),
            shown(scores["fused"]["pixel_accuracy"], decimals),
        )
        for name, scores in conditions.items()
    ]
    return ("condition", "images", *(f"mIoU {branch}" for branch in BRANCHES), "pixel accuracy fused"), rows


def class_table(result: Mapping[str, Any], decimals: int = 1) -> Table:
    """One row per class; for each score one column per branch."""
    keys = [key for key in PER_CLASS if key in result[BRANCHES[0]]]
    rows = [
        (name, *(shown(result[branch][key][name], decimals) for key in keys for branch in BRANCHES))
        for name in result[BRANCHES[0]]["iou"]
    ]
    return ("class", *(f"{PER_CLASS[key]} {branch}" for key in keys for branch in BRANCHES)), rows


def text_table(table: Table) -> str:
    """Aligned columns for a terminal: names are left-aligned, numbers right-aligned."""
    lines = [table[0], *table[1]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def shown(value: float | None, decimals: int = 1) -> str:
    """A score as text, rounded down; "not scored" for None and NaN."""
    return NOT_SCORED if value is None or math.isnan(value) else rounded_down(value, decimals)


def write_confusion_csv(path: Path, counts: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Pixels by true class (row) and predicted class (column), with the class names as header."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            names = [as_text(name) for name in classes]
            writer.writerow(["truth / prediction", *names])
            writer.writerows([name, *map(int, row)] for name, row in zip(names, counts, strict=True))

    write_atomically(path, write)


def draw_confusion(
    path: Path, counts: Sequence[Sequence[int]], classes: Sequence[str], title: str, protocol: str
) -> None:
    """A PNG with the fraction of each true class (row) that was predicted as each class (column).

    A class absent from the truth has a grey row. Numbers in cells are whole percent, rounded down.
    """
    matrix = np.asarray(counts, np.float64)
    truth = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, truth, out=np.full_like(matrix, np.nan), where=truth > 0)
    side = max(6.5, CELL_INCHES * len(classes) + 2.5)
    figure = Figure(figsize=(side, side + 0.6), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.add_subplot()
    axes.set_title(textwrap.fill(protocol, int(11 * side)), fontsize=7)
    axes.set_facecolor("0.85")
    axes.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=90, fontsize=7)
    axes.set_yticks(ticks, classes, fontsize=7)
    axes.set_xticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.4)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class (rows sum to 100 %)")
    for row, column in np.argwhere(np.nan_to_num(shares) >= SMALLEST_CELL_TEXT):
        share = shares[row, column]
        text = rounded_down(100 * share, 0)
        color = "white" if share > 0.55 else "black"
        cell = axes.text(column, row, text, ha="center", va="center", fontsize=5.5, color=color)
        cell.set_in_layout(False)  # a thousand texts would slow down the layout
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))


def image_count(count: int) -> str:
    """Such as "1 image" or "12 images"."""
    return "1 image" if count == 1 else f"{count} images"


def _markdown_table(table: Table) -> list[str]:
    header, rows = table
    return [_row(header), "|" + "---|" * len(header), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
