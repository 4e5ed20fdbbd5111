"""The tables and plots of the robustness suite, from the content of robustness.json."""

import csv
import io
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ktb.config import BRANCHES
from ktb.utils.files import write_atomically
from ktb.utils.text import rounded_down
from training.data.datasets.sample import Sample
from training.robustness.conditions import (
    CLEAN,
    CORRUPTED,
    MISSING,
    ONLY,
    WAYS,
    Condition,
    Family,
    all_conditions,
)
from training.robustness.corruptions import KINDS, Corruption

COLORS = {"fused": "#1c1f26", "rgb": "#2f74c0", "x": "#d9701f"}
"""Colours of the branches; rgb and x have those of the page."""
MARKERS = {"fused": "o", "rgb": "s", "x": "^"}
COLUMNS = ("family", "level", "variant", "branch", "miou", "kept", "pixel_accuracy", "class_accuracy")
WAY_NAMES = {"tokens": "zero tokens", "image": "zero picture"}
ABOUT_MISSING = (
    "The modality is taken away before the first block (its tokens zeroed after patch embedding, as MMST "
    "does in training), or replaced by a picture of zeros. EMM is the mean over rgb only, x only and both."
)


def write_tables(record: Mapping[str, Any], out: Path) -> None:
    """Write robustness.md and robustness.csv into the folder `out`."""
    for name, text in (("robustness.md", markdown(record)), ("robustness.csv", csv_text(record))):
        write_atomically(out / name, lambda path, text=text: path.write_text(text, encoding="utf-8"))


def write_curves(record: Mapping[str, Any], out: Path) -> list[Path]:
    """Write FAMILY.png into the folder `out` for each family with a score besides the clean one."""
    started = {row["family"] for row in record["conditions"].values()}
    written = []
    for name in (MISSING, *CORRUPTED):
        if name in started:
            figure = missing_figure(record) if name == MISSING else curve_figure(record, name)
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=150)
            path = out / f"{name}.png"
            write_atomically(path, lambda temporary, file=file: temporary.write_bytes(file.getvalue()))
            written.append(path)
    return written


def subject(record: Mapping[str, Any]) -> str:
    """Dataset, split, modality, frames and classes of the scores, in one line."""
    settings, classes = record["settings"], record["classes"]
    scored = f"{classes['scored']} of {classes['all']} classes scored"
    return (
        f"{settings['dataset']} {settings['split']}, X = {settings['modality']}, "
        f"{settings['images']} frames, {scored}"
    )


def csv_text(record: Mapping[str, Any]) -> str:
    """One line per condition and branch, in percent; a cell is empty if nothing is scored."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for key in all_conditions():
        if row := record["conditions"].get(key):
            where = {name: row[name] for name in ("family", "level", "variant")}
            writer.writerows({**where, "branch": branch, **row[branch]} for branch in BRANCHES)
    return text.getvalue()


def markdown(record: Mapping[str, Any]) -> str:
    """All tables, each with its description; scores are rounded down."""
    settings = record["settings"]
    lines = [
        f"# Robustness of {record['model']}", "",
        f"- {subject(record)}",
        f"- {record['protocol']}",
        f"- sha256 of configuration and weights {settings['weights_sha256']}; seed {settings['seed']}",
        "- mIoU and pixel accuracy in percent; *kept*: mIoU in percent of the clean one", "",
    ]  # fmt: skip
    rows = record["conditions"]
    if any(row["family"] == MISSING for row in rows.values()):
        lines += ["## Modality missing (EMM)", "", ABOUT_MISSING, "", *_header("present", "missing as")]
        lines.append(_row(["both", ""], rows[CLEAN]))
        for way in WAYS:
            for only in ONLY:
                if row := rows.get(Condition(MISSING, only, way).key):
                    lines.append(_row([only.replace("-", " "), WAY_NAMES[way]], row))
            if means := record["emm"].get(way):
                emm = {b: {"miou": v, "kept": _share(v, rows[CLEAN][b]["miou"])} for b, v in means.items()}
                lines.append(_row(["**EMM**", WAY_NAMES[way]], emm))
        lines.append("")
    for name, family in CORRUPTED.items():
        done = [row for row in rows.values() if row["family"] == name]
        if not done and name not in record["skipped"]:
            continue
        lines += [f"## {family.title}", ""]
        if not done:
            lines += [f"Left out: {record['skipped'][name]}.", ""]
            continue
        several = len(family.variants) > 1
        for variant, kind in family.kinds.items():
            lines += [f"{variant}: {kind.about}" if several else kind.about, ""]
        lines += _header(family.kind.unit, *(["as"] if several else []))
        for level, variant, row in _levels(record, name):
            shown = f"{level:g} (clean)" if level == family.kind.clean else f"{level:g}"
            lines.append(_row([shown, *([variant] if several else [])], row))
        lines.append("")
    return "\n".join(lines)


def curve_figure(record: Mapping[str, Any], name: str) -> Figure:
    """mIoU of the three branches over the levels of a family; levels are evenly spaced."""
    family = CORRUPTED[name]
    figure, axes = _figure(record, family.title)
    levels = family.ordered_levels()
    for number, variant in enumerate(family.variants):
        points = {level: row for level, found, row in _levels(record, name) if found in ("", variant)}
        places = [i for i, level in enumerate(levels) if level in points]
        for branch in BRANCHES:
            values = [points[levels[i]][branch]["miou"] for i in places]
            axes.plot(
                places,
                [np.nan if value is None else value for value in values],
                color=COLORS[branch],
                marker=MARKERS[branch],
                markerfacecolor="white" if number else COLORS[branch],
                linestyle="--" if number else "-",
                label=f"{branch}, {variant}" if variant else branch,
                zorder=3 if branch == "fused" else 2,
            )
    clean = levels.index(family.kind.clean)
    axes.axvline(clean, color="#c8ccd2", linewidth=1, zorder=1)
    axes.set_xticks(
        range(len(levels)), [f"{v:g}\nclean" if v == family.kind.clean else f"{v:g}" for v in levels]
    )
    axes.set_xlabel(family.kind.unit)
    _finish(axes)
    return figure


def missing_figure(record: Mapping[str, Any]) -> Figure:
    """mIoU of the three branches as bars: both present, rgb only, x only, and their mean, in both ways."""
    rows = record["conditions"]
    groups = [("both", {branch: rows[CLEAN][branch]["miou"] for branch in BRANCHES})]
    for way in WAYS:
        for only in ONLY:
            if row := rows.get(Condition(MISSING, only, way).key):
                shown = f"{only.replace('-', ' ')}\n{WAY_NAMES[way]}"
                groups.append((shown, {branch: row[branch]["miou"] for branch in BRANCHES}))
        if way in record["emm"]:
            groups.append((f"EMM\n{WAY_NAMES[way]}", record["emm"][way]))
    figure, axes = _figure(record, "Modality missing", width=8.6)
    width = 0.27
    for number, branch in enumerate(BRANCHES):
        values = [group[branch] or 0 for _, group in groups]
        places = np.arange(len(groups)) + (number - 1) * width
        bars = axes.bar(places, values, width * 0.94, color=COLORS[branch], label=branch, zorder=2)
        axes.bar_label(bars, [rounded_down(value) for value in values], fontsize=7, padding=1.5)
    axes.set_xticks(range(len(groups)), [name for name, _ in groups], fontsize=8)
    axes.set_xlabel("what is present, and what stands for the missing one")
    _finish(axes)
    return figure


def contact_sheet(
    sample: Sample, modality: str, index: int = 0, seed: int = 0, width: int = 224
) -> np.ndarray:
    """(h, w, 3) uint8 RGB: a row for each kind of corruption that X allows, a column for each level.

    The images are those that the suite scores for sample `index` with `seed`, `width` pixels wide each.
    """
    kinds = {n: k for n, k in KINDS.items() if k.modalities is None or modality in k.modalities}
    columns = 1 + max(len(kind.levels) for kind in kinds.values())
    rows = []
    for name, kind in kinds.items():
        tiles = []
        for level in (kind.clean, *kind.levels):
            changed = Corruption(name, level)(sample, np.random.default_rng([seed, index]))
            image = changed.rgb if kind.target == "rgb" else _displayed(changed.modal_x)
            tiles.append(
                _tile(image, f"{name} {level:g}" if level != kind.clean else f"{name}: clean", width)
            )
        tiles += [np.full_like(tiles[0], 255)] * (columns - len(tiles))
        rows.append(np.concatenate(tiles, axis=1))
    return np.concatenate(rows)


def _levels(record: Mapping[str, Any], name: str) -> Iterator[tuple[float, str, Mapping[str, Any]]]:
    """(level, variant, row) of a family's results in the order of its axis; clean has no variant."""
    family: Family = CORRUPTED[name]
    for level in family.ordered_levels():
        if level == family.kind.clean:
            yield level, "", record["conditions"][CLEAN]
            continue
        for variant in family.variants:
            if row := record["conditions"].get(Condition(name, level, variant).key):
                yield level, variant, row


def _header(*first: str) -> list[str]:
    titles = [*first, *BRANCHES, *(f"{b} kept" for b in BRANCHES), *(f"{b} pixel acc." for b in BRANCHES)]
    return [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]


def _row(first: list[str], row: Mapping[str, Mapping[str, float | None]]) -> str:
    cells = [_down(row[b].get(key)) for key in ("miou", "kept", "pixel_accuracy") for b in BRANCHES]
    return f"| {' | '.join([*first, *cells])} |"


def _down(value: float | None) -> str:
    return "–" if value is None else rounded_down(value)


def _share(value: float | None, clean: float | None) -> float | None:
    return 100 * value / clean if value is not None and clean else None


def _figure(record: Mapping[str, Any], title: str, width: float = 7.2) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lines = textwrap.wrap(f"{subject(record)}; {record['protocol']}", round(width * 17))
    axes.set_title(
        f"{title}: {record['model']}",
        loc="left",
        fontsize=11.5,
        fontweight="bold",
        pad=14 + 10 * len(lines),
    )
    axes.annotate(
        "\n".join(lines), (0, 1), (0, 8), xycoords="axes fraction", textcoords="offset points",
        fontsize=7.5, color="#565d68", va="bottom", linespacing=1.3,
    )  # fmt: skip
    return figure, axes


def _finish(axes: Axes) -> None:
    axes.set_ylabel("mIoU in %")
    highest = axes.dataLim.y1  # not finite if nothing is scored
    axes.set_ylim(0, 1.06 * highest if np.isfinite(highest) and highest > 0 else 1)
    axes.grid(axis="y", color="#e4e6ea", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _displayed(modal_x: np.ndarray) -> np.ndarray:
    """X as a picture (H, W, 3) uint8; signed values are shown around grey."""
    x = (modal_x + 255) / 2 if modal_x.min() < 0 else modal_x
    x = np.clip(np.rint(x), 0, 255).astype(np.uint8)
    return x if x.ndim == 3 else np.repeat(x[..., None], 3, axis=-1)


def _tile(image: np.ndarray, text: str, width: int) -> np.ndarray:
    height = round(image.shape[0] * width / image.shape[1])
    tile = np.full((height + 20, width + 4, 3), 255, np.uint8)
    tile[18 : 18 + height, 2 : 2 + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    cv2.putText(tile, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (20, 20, 20), 1, cv2.LINE_AA)
    return tile
