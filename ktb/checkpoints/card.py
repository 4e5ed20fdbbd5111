"""Model cards: the README of a model on the Hugging Face hub, from its configuration and card."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from huggingface_hub import ModelCardData

from ktb.checkpoints.metadata import ADAPTER_FORMAT
from ktb.config import UNCALIBRATED, ModelConfig, backbone_noun
from ktb.labels import DATASETS
from ktb.utils.text import rounded_down, rounded_up

_X_IS = {
    "depth": "its depth image",
    "hha": "its depth as an HHA image",
    "thermal": "its thermal image",
    "event": "its event stream or event image",
    "nir": "its near-infrared image",
    "dolp": "its degree of linear polarization",
    "aolp": "its angle of linear polarization",
    "lidar": "its projected LiDAR scan",
    "other": "a second image of the same scene",
}
CITATION = (
    "Cai et al.: *Keep the Balance: A Parameter-Efficient Symmetrical Framework for RGB+X Semantic "
    "Segmentation*. CVPR 2025, pp. 10587-10598."
)
UNKNOWN_LICENSE = "unknown"
BOX_CONDITIONS = ("both", "rgb only", "x only")
"""Sensors present in a card's scores against boxes."""
LIMITS = (
    "Not stated by its author. The model predicts only the classes below, for scenes and sensors like those "
    "of its training{}. Evaluate it on your own images before you rely on it; do not use it for safety "
    "decisions."
)


def hub_readme(
    repo: str, config: ModelConfig, card: Mapping[str, Any], file_format: str, parameters: int, license: str
) -> str:
    """README.md of a model repository, with the front matter that the hub reads.

    Args:
        repo: such as "org/name".
        card: the card of the model's file; missing entries are reported as not stated.
        file_format: one of `ktb.checkpoints.files.FORMATS`.
        parameters: in the file.
        license: the hub's key, such as "apache-2.0".
    """
    front = ModelCardData(
        license=license,
        library_name="ktb",
        pipeline_tag="image-segmentation",
        tags=["ktb", "rgb-x", "semantic-segmentation", "multimodal", config.inputs.modality],
    )
    sections = [
        f"---\n{front.to_yaml()}\n---",
        f"# {_text(config.name)}",
        f"RGB+X semantic segmentation after *Keep the Balance* (Cai et al., CVPR 2025): an RGB image and "
        f"{_X_IS[config.inputs.modality]} go in; the masks of three heads (fused, RGB alone, X alone) come "
        f"out, with the sparse attention that fused the two.",
        "\n".join(_facts(config, file_format, parameters)),
        "\n".join(_use(repo, file_format)),
        "\n".join(["## Metrics", "", *_figures(card)]),
        "\n".join(["## Data and training", "", *_training(card, config)]),
        f"## Limitations\n\n{_text(card.get('limits')) or _limits(config)}",
        f"## Classes\n\n{_text(', '.join(config.classes))}",
        f"## Licence\n\nWeights: {_licence_said(license)}. Code: Apache-2.0. The data has terms of its own.",
        f"## Citation\n\n{CITATION}",
    ]
    return "\n\n".join(section.rstrip() for section in sections) + "\n"


def figure_tables(card: Mapping[str, Any]) -> list[str]:
    """A card's metrics as Markdown: per branch, IoU per class, and of the attention; [] without any."""
    lines: list[str] = []
    figures = card.get("figures")
    rows = {b: row for b, row in figures.items() if isinstance(row, Mapping)} if _is_full(figures) else {}
    if rows:
        lines += ["| branch | mIoU | pixel accuracy | class accuracy |", "|---|---|---|---|"]
        for branch, row in rows.items():
            values = (row.get(key) for key in ("miou", "pixel_accuracy", "class_accuracy"))
            lines.append(f"| {branch} | {' | '.join(_down(value) for value in values)} |")
        lines.append("")
    per_class = {branch: row["iou"] for branch, row in rows.items() if _is_full(row.get("iou"))}
    if per_class:
        heads = " | ".join(per_class)
        lines += [
            "IoU per class in percent:",
            "",
            f"| class | {heads} |",
            "|---" * (len(per_class) + 1) + "|",
        ]
        for class_name in next(iter(per_class.values())):
            values = (iou.get(class_name) for iou in per_class.values())
            lines.append(f"| {_text(class_name)} | {' | '.join(_down(value) for value in values)} |")
        lines.append("")
    lines += _calibration_table(card.get("calibration"))
    lines += _domain_table(card.get("domain"))
    lines += _faithfulness_table(card.get("faithfulness"))
    if isinstance(card.get("attention"), list):
        lines += ["| level | mean normalised attention entropy | standard deviation of the balance map |"]
        lines += ["|---|---|---|"]
        for level in card["attention"]:
            values = (_down(level.get(key), 3) for key in ("entropy", "balance_std"))
            lines.append(f"| {level.get('level')} | {' | '.join(values)} |")
        lines.append("")
    if _is_full(alone := card.get("without_x")):
        images = f"{alone['images']} images" if isinstance(alone.get("images"), int) else "images not counted"
        lines += [f"RGB only. {_text(alone.get('data'))}, {images}; {_text(alone.get('protocol'))}:", ""]
        lines += figure_tables({"figures": alone.get("figures")})
    if _is_full(boxes := card.get("boxes")):
        head, *rows = box_rows(boxes)
        lines += [f"Objects found, and pixels outside all boxes. {_text(boxes.get('protocol'))}:", ""]
        lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        lines += [f"| {' | '.join(map(_text, row))} |" for row in rows]
        lines.append("")
    return lines


def _limits(config: ModelConfig) -> str:
    is_calibrated = config.temperatures != UNCALIBRATED
    return LIMITS.format("" if is_calibrated else "; confidences are not calibrated")


def _calibration_table(calibration: Any) -> list[str]:
    """The temperatures and the expected calibration error of a card's calibration; [] without any."""
    if not _is_full(calibration) or not _is_full(calibration.get("temperatures")):
        return []
    temperatures = ", ".join(
        f"{_text(branch)} {float(value):.4g}"
        for branch, value in calibration["temperatures"].items()
        if isinstance(value, int | float)
    )
    parts = [f"Calibration: temperatures {temperatures}"]
    parts += [f"fitted on {_text(calibration['fitted_on'])}"] if calibration.get("fitted_on") else []
    lines = [f"{'; '.join(parts)}. {_text(calibration.get('remark'))}".rstrip(), ""]
    measured = calibration.get("measured")
    if not _is_full(measured):
        return lines
    rows = {name: row for name, row in measured.items() if _is_full(row)}
    branches = list(next(iter(rows.values()), {}))
    lines += [
        f"Expected calibration error in percent, as trained → calibrated ({_text(calibration.get('bins'))} "
        f"bins; {_text(calibration.get('measured_on'))}):",
        "",
        f"| condition | {' | '.join(map(_text, branches))} |",
        "|---" * (len(branches) + 1) + "|",
    ]
    for name, row in rows.items():
        cells = [
            " → ".join(_up((row.get(branch) or {}).get(when, {}).get("ece")) for when in ("before", "after"))
            for branch in branches
        ]
        lines.append(f"| {_text(name)} | {' | '.join(cells)} |")
    return [*lines, ""]


def box_rows(boxes: Mapping[str, Any]) -> list[list[str]]:
    """Rows of text of what `training.evaluate_boxes` measured, titles first.

    Shares of found boxes are rounded down, those of stray pixels up.
    """
    titles = ["sensors", "time", "head"]
    rows: list[list[str]] = []
    for sensors, times in boxes.items():
        for time, branches in times.items() if sensors in BOX_CONDITIONS else ():
            for branch, objects in branches.items():
                cells = [f"{_down(s.get('found'))} / {_up(s.get('stray'))}" for s in objects.values()]
                rows.append([sensors, time, branch, *cells])
                titles[3:] = [f"{name}: found / stray %" for name in objects]
    return [titles, *rows]


def _domain_table(domain: Any) -> list[str]:
    """The frames that a card's domain check flags, though they are like the training; [] without any."""
    if not _is_full(domain):
        return []
    said = f"Domain check: statistics of {_text(domain.get('fitted_on'))}; threshold: "
    lines = [f"{said}{_text(domain.get('threshold'))}.", ""]
    rows = domain.get("flagged")
    if not _is_full(rows) or not all(_is_full(row) for row in rows.values()):
        return lines
    cases = list(next(iter(rows.values())))
    lines += [
        f"Frames flagged as unlike the training, in percent ({_text(domain.get('measured_on'))}):",
        "",
        f"| RGB image with | {' | '.join(map(_text, cases))} |",
        "|---" * (len(cases) + 1) + "|",
    ]
    for name, row in rows.items():
        cells = [_up(row[case]) if case in row else "" for case in cases]
        lines.append(f"| {_text(name)} | {' | '.join(cells)} |")
    return [*lines, ""]


def _faithfulness_table(study: Any) -> list[str]:
    """How well maps forecast an ablation, as `python -m ktb faithfulness` measures it; [] without any."""
    if not _is_full(study) or not _is_full(study.get("ablated")):
        return []
    columns = [(drop, key) for drop in study["ablated"] for key in ("auroc", "within_margin")]
    titles = [
        f"{'X' if drop == 'x' else 'RGB'} ablated{', within the margin' if key == 'within_margin' else ''}"
        for drop, key in columns
    ]
    maps = {drop: found["maps"] for drop, found in study["ablated"].items()}
    lines = [
        f"Faithfulness: AUROC of each map as a forecast of which positions change their class when a sensor "
        f"is ablated, also within tenths of the margin; 0.5 is chance ({_text(study.get('measured_on'))}):",
        "",
        f"| map | {' | '.join(titles)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in next(iter(maps.values())):
        cells = [_down((maps[drop].get(name) or {}).get(key), 3) for drop, key in columns]
        lines.append(f"| {_text(name)} | {' | '.join(cells)} |")
    return [*lines, ""]


def _licence_said(license: str) -> str:
    return (
        "not stated by the uploader"
        if license == UNKNOWN_LICENSE
        else f"{_text(license)}, as the uploader says"
    )


def _facts(config: ModelConfig, file_format: str, parameters: int) -> Iterator[str]:
    backbone = config.backbone
    network = backbone_noun(backbone)
    if backbone.kind == "swin":
        network += f", {backbone.embed_dim} channels"
    labels = DATASETS.get(config.dataset)
    side = config.inputs.short_side
    yield from ("| | |", "|---|---|")
    yield f"| dataset | {labels.title if labels else 'unnamed'}, {config.num_classes} classes |"
    yield f"| X | {config.inputs.modality}, encoded as {config.inputs.encoding} |"
    yield f"| backbone | {network}, frozen |"
    yield f"| parameters in the file | {parameters:,} |"
    yield f"| shorter side in the network | {'that of the image' if side is None else f'{side} px'} |"
    if file_format == ADAPTER_FORMAT:
        yield "| file | without its pretrained backbone, which must be on the machine that loads it |"


def _use(repo: str, file_format: str) -> Iterator[str]:
    yield from (
        "## Use",
        "",
        "```python",
        "from ktb import Predictor, load_model, read_image_rgb, read_x",
        "",
    )
    yield f'predictor = Predictor(load_model("hf://{repo}"))  # hf://{repo}@COMMIT never changes'
    yield 'prediction = predictor(read_image_rgb("photo.png"), read_x("x.png"))'
    yield 'prediction.labels["fused"]  # (H, W) class indices; also "rgb" and "x"'
    yield "```"
    yield from (
        "",
        f"On the command line: `python -m ktb predict --model hf://{repo} --rgb photo.png --x x.png`.",
    )
    if file_format == ADAPTER_FORMAT:
        yield "The pretrained backbone must be installed first: `python -m ktb merge --help`."


def _figures(card: Mapping[str, Any]) -> Iterator[str]:
    tables = figure_tables(card)
    if tables:
        yield f"Measured with this model, in percent. {_protocol(card)}"
        yield from ("", *tables)
    else:
        yield "None measured with this file."
    published = card.get("published")
    if isinstance(published, Mapping) and isinstance(published.get("miou"), int | float):
        yield from ("", f"The authors publish {published['miou']} mIoU. {_text(published.get('protocol'))}")


def _protocol(card: Mapping[str, Any]) -> str:
    images = f" {card['images']} images." if isinstance(card.get("images"), int) else ""
    return f"Protocol: {_text(card.get('protocol')) or 'not stated'}.{images}"


def _training(card: Mapping[str, Any], config: ModelConfig) -> Iterator[str]:
    for key in ("data", "split", "selection", "hours", "origin", "source_file", "source_sha256"):
        if card.get(key) not in (None, ""):
            yield f"- **{key.replace('_', ' ').capitalize()}**: {_text(card[key])}"
    if not card.get("data"):
        labels = DATASETS.get(config.dataset)
        yield f"- **Data**: not stated{f'; its classes are those of {labels.title}' if labels else ''}"
    commands = card.get("commands")
    if isinstance(commands, list) and commands:
        yield from ("", "```bash", *(str(command).replace("```", "") for command in commands), "```")


def _is_full(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _text(value: Any) -> str:
    """A card's value as one line of plain text, escaped for Markdown and its tables."""
    if value is None:
        return ""
    return re.sub(r"([\\`|<>\[\]])", r"\\\1", " ".join(str(value).split()))


def _up(value: Any, decimals: int = 1) -> str:
    """An error as text, rounded up."""
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return rounded_up(value, decimals) if is_number else "not measured"


def _down(value: Any, decimals: int = 1) -> str:
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return rounded_down(value, decimals) if is_number else "not scored"
