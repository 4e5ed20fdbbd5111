"""Verify the files of a dataset, and draw a contact sheet.

    python -m training.check nyuv2 --data DIR --modality depth --out DIR
    python -m training.check my.yaml --out DIR

The command reads every file of every split. It lists all problems with their files; the exit status is 1 if
there are any. It writes report.json and contact_sheet.png into --out.
"""

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ktb.datasets.custom import CustomDataset
from ktb.datasets.labels import judge
from ktb.labels import DATASETS, IGNORE_INDEX
from ktb.utils.files import write_atomically
from training.data.datasets import REGISTRY, CustomPairDataset, build_dataset
from training.data.datasets.base import PairDataset
from training.data.datasets.sample import LayoutError, Sample, choose
from training.data.sheets import Tile, contact_sheet
from training.data.x_tally import XTally, describe

MAX_PROBLEMS = 50


@dataclass
class Findings:
    """Notes, and problems: the first `limit` are stored, further ones are counted."""

    limit: int = MAX_PROBLEMS
    problems: list[dict[str, str]] = field(default_factory=list)
    further: int = 0
    notes: list[str] = field(default_factory=list)

    def problem(self, file: str | Path, what: str) -> None:
        """Add a problem of a file once."""
        entry = {"file": str(file), "what": what}
        if entry in self.problems:
            return
        if len(self.problems) < self.limit:
            self.problems.append(entry)
        else:
            self.further += 1

    def error(self, error: ValueError, file: str | Path) -> None:
        """Add an error; a LayoutError has its own file, any other error concerns `file`."""
        known = isinstance(error, LayoutError)
        self.problem(error.path if known else file, error.what if known else str(error))

    @property
    def count(self) -> int:
        """Number of problems."""
        return len(self.problems) + self.further


class _Tally:
    """Statistics of the readable samples of one split."""

    def __init__(self, classes: Sequence[str]):
        self.classes = classes
        self.sizes: Counter[str] = Counter()
        self.pixels = np.zeros(256, np.int64)
        self.low, self.high = np.inf, -np.inf
        self.sums = np.zeros(3)  # number, sum and sum of squares of X's values
        self.kinds: Counter[str] = Counter()

    def add(self, sample: Sample) -> None:
        x = sample.modal_x
        self.sizes[f"{x.shape[1]} x {x.shape[0]}"] += 1
        self.kinds[f"{x.dtype}, {f'{x.shape[2]} channels' if x.ndim == 3 else '1 channel'}"] += 1
        self.pixels += np.bincount(sample.label.ravel(), minlength=256)
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        self.sums += (x.size, x.sum(dtype=np.float64), np.square(x, dtype=np.float64).sum())

    def report(self) -> dict[str, Any]:
        """Sizes, X's range, mean and standard deviation (0..255), and each class's fraction of all pixels."""
        if not self.sizes:
            return {"sizes": {}}
        mean, square = self.sums[1:] / self.sums[0]
        shares = self.pixels / self.pixels.sum()
        return {
            "sizes": dict(self.sizes.most_common()),
            "x": {
                "stored": dict(self.kinds.most_common()),
                "minimum": self.low,
                "maximum": self.high,
                "mean": round(float(mean), 3),
                "deviation": round(float(np.sqrt(max(0.0, square - mean**2))), 3),
            },
            "label_share": {name: round(float(share), 6) for name, share in zip(self.classes, shares)},
            "ignored_share": round(float(shares[IGNORE_INDEX]), 6),
            "absent_classes": [n for n, count in zip(self.classes, self.pixels) if not count],
        }


def check(
    name: str,
    root: Path | None,
    *,
    modality: str | None = None,
    splits: Sequence[str] | None = None,
    rows: int = 6,
    limit: int = MAX_PROBLEMS,
    progress: bool = True,
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Read a whole dataset: (report, contact sheet of up to 2 * `rows` samples).

    name, root, modality: as for `build_dataset`. splits: all by default. limit: number of listed problems;
    further ones are counted. The sheet is None if no sample can be read. Raises ValueError for an unknown
    name, split or modality, and if the folder is missing.
    """
    known = _splits(name, root)
    splits = [choose(f"{name}: split", split, known) for split in splits or known]
    findings, opened = Findings(limit), {}
    report: dict[str, Any] = {"dataset": name, "splits": {}}
    tiles: list[Tile] = []
    pixels = np.zeros(256, np.int64)
    pictures: dict[bytes, tuple[str, str]] = {}
    x_tally, stored = XTally(), Counter[int]()
    for split in splits:
        try:
            dataset = build_dataset(name, root, split, modality=modality, verify=False)
        except LayoutError as error:
            findings.error(error, name)
            continue
        opened[split] = dataset
        wanted = set(
            np.linspace(0, len(dataset) - 1, -(-2 * rows // len(splits))).round().astype(int).tolist()
        )
        tally = _Tally(dataset.classes)
        for index in tqdm(range(len(dataset)), desc=split, unit="pair", disable=not progress):
            sample, problems = dataset.examine(index)
            for problem in problems:
                findings.error(problem, dataset.names[index])
            if sample is None:
                continue
            tally.add(sample)
            _note_twin(pictures, sample, split, findings)
            if index in wanted:
                tiles.append(Tile(sample, " · ".join(filter(None, (split, dataset.condition(index))))))
        pixels += tally.pixels
        if isinstance(dataset, CustomPairDataset):
            x_tally.merge(dataset.x_tally)
            stored.update(dataset.stored_labels)
        report["splits"][split] = _describe(dataset, tally)
        _check_counts(dataset, findings)
    _check_lists(opened, findings)
    report["x_reading"] = {}
    for dataset in list(opened.values())[:1]:
        report["x_reading"] = dataset.x_reading()
        if isinstance(dataset, CustomPairDataset):
            report["x_reading"] |= x_tally.report()
            _judge_labels(dataset, stored, findings)
    report |= {
        "modality": modality or next((d.modality for d in opened.values()), None),
        "layout": next((d.layout for d in opened.values()), None),
        "problems": findings.problems,
        "further_problems": findings.further,
        "notes": findings.notes,
    }
    sheet = _draw(next(iter(opened.values())), report, tiles, pixels) if tiles else None
    return report, sheet


def _splits(name: str, root: Path | None) -> tuple[str, ...]:
    """The splits of a dataset; ValueError if its folder is missing."""
    if name.lower().endswith((".yaml", ".yml")):
        return CustomDataset(name, root).splits
    kind = REGISTRY[choose("Dataset", name, REGISTRY)]
    if root is None or not root.is_dir():
        raise ValueError(f"{name}: --data {root}: the dataset's folder is missing. Layout: {kind.layout}")
    return kind.splits


def _describe(dataset: PairDataset, tally: _Tally) -> dict[str, Any]:
    conditions = Counter(filter(None, map(dataset.condition, range(len(dataset)))))
    counts = {"samples": len(dataset), "readable": sum(tally.sizes.values())}
    if dataset.split in dataset.published:
        counts["published"] = dataset.published[dataset.split]
    return counts | tally.report() | ({"conditions": dict(sorted(conditions.items()))} if conditions else {})


def _check_counts(dataset: PairDataset, findings: Findings) -> None:
    published = dataset.published.get(dataset.split, len(dataset))
    if published != len(dataset):
        findings.notes.append(f"{dataset.split}: {len(dataset)} samples, published are {published}")


def _note_twin(pictures: dict, sample: Sample, split: str, findings: Findings) -> None:
    """Note an RGB image that is also in another split."""
    digest = hashlib.blake2b(sample.rgb.tobytes(), digest_size=16).digest()
    first_split, first_name = pictures.setdefault(digest, (split, sample.name))
    if first_split != split:
        text = f"the same RGB image is in {first_split} ('{first_name}') and in {split} ('{sample.name}')"
        findings.notes.append(text)


def _check_lists(opened: dict[str, PairDataset], findings: Findings) -> None:
    """Report samples that occur twice, in one split or in two, and files that no split uses."""
    seen: dict[Path, str] = {}
    used: dict[Path, set[str]] = defaultdict(set)
    for split, dataset in opened.items():
        for index, name in enumerate(dataset.names):
            files = dataset.files(index)
            if files[0] in seen:
                both = (
                    f"twice in {split}" if seen[files[0]] == split else f"in {seen[files[0]]} and in {split}"
                )
                findings.problem(files[0], f"sample '{name}' is {both}")
            seen.setdefault(files[0], split)
            for file in files:
                used[file.parent].add(file.name)
    if len(opened) < len(next(iter(opened.values())).splits if opened else ()):
        return  # files of the other splits are unknown
    for folder, names in used.items():
        suffixes = {Path(name).suffix for name in names}
        there = {p.name for p in folder.glob("*") if p.suffix in suffixes and not p.name.startswith(".")}
        if unused := sorted(there - names):
            some = ", ".join(unused[:3]) + (", ..." if len(unused) > 3 else "")
            findings.notes.append(f"{folder}: {len(unused)} files are in no split: {some}")


def _judge_labels(dataset: CustomPairDataset, stored: Counter[int], findings: Findings) -> None:
    """Add what the stored values of all labels tell together; problems come first."""
    problems, notes = judge(stored, dataset.data.label_rule)
    for what in problems:
        findings.problems.insert(0, {"file": str(dataset.data.file), "what": what})
    findings.notes += notes


def _draw(dataset: PairDataset, report: dict, tiles: list[Tile], pixels: np.ndarray) -> np.ndarray:
    shares = dict(zip(dataset.classes, pixels / pixels.sum())) | {
        "ignored": pixels[IGNORE_INDEX] / pixels.sum()
    }
    counts = ", ".join(f"{part['samples']} {split}" for split, part in report["splits"].items())
    present = int((pixels[: dataset.num_classes] > 0).sum())
    title = DATASETS[dataset.name].title if dataset.name in DATASETS else dataset.name
    problems = len(report["problems"]) + report["further_problems"]
    subtitle = f"{counts} · {present} of {dataset.num_classes} classes occur · {problems or 'no'} problems"
    return contact_sheet(
        tiles,
        dataset.classes,
        dataset.palette,
        dataset.modality,
        title=f"{title}, RGB and {dataset.modality}",
        subtitle=subtitle,
        fractions=shares,
    )


def _print(report: dict[str, Any]) -> None:
    for line in describe(report["x_reading"]):
        print(line)
    for split, part in report["splits"].items():
        sizes = ", ".join(f"{count} of {size}" for size, count in list(part["sizes"].items())[:3])
        print(f"{split}: {part['samples']} samples, {part['readable']} readable ({sizes or 'none'})")
        if x := part.get("x"):
            kinds = ", ".join(x["stored"])
            spread = f"{x['minimum']:g}..{x['maximum']:g}, mean {x['mean']:.1f} ± {x['deviation']:.1f}"
            print(f"  X: {kinds}; {spread}")
            shares = sorted(part["label_share"].items(), key=lambda item: -item[1])
            print("  labels: " + ", ".join(f"{n} {100 * s:.1f} %" for n, s in shares[:6]), end="")
            print(f", ...; ignored {100 * part['ignored_share']:.1f} %")
            if part["absent_classes"]:
                print(f"  absent: {', '.join(part['absent_classes'])}")
        if conditions := part.get("conditions"):
            print("  conditions: " + ", ".join(f"{n} {c}" for n, c in conditions.items()))
    for note in report["notes"][:10]:
        print(f"note: {note}")
    if len(report["notes"]) > 10:
        print(f"note: and {len(report['notes']) - 10} more notes in the report")
    for problem in report["problems"]:
        print(f"PROBLEM {problem['file']}: {problem['what']}")
    if report["further_problems"]:
        print(f"PROBLEM and {report['further_problems']} more")
    if report["problems"] and report["layout"]:
        print(f"Expected layout: {report['layout']}")
    print("The tree is in order." if not report["problems"] else "The tree has problems.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and check; returns 0 without problems, 1 with problems."""
    parser = argparse.ArgumentParser(
        prog="python -m training.check", description="Verify the files of a dataset."
    )
    parser.add_argument("dataset", help=f"one of {', '.join(REGISTRY)}, or a YAML file")
    parser.add_argument("--data", type=Path, help="the dataset's folder (optional with a YAML file)")
    parser.add_argument("--modality", help="the modality of X (default: the dataset's first)")
    parser.add_argument("--split", nargs="+", help="only these splits")
    parser.add_argument("--out", type=Path, help="folder for report.json and contact_sheet.png")
    parser.add_argument("--rows", type=int, default=6, help="rows of the contact sheet, two samples each")
    options = parser.parse_args(arguments)
    try:
        report, sheet = check(
            options.dataset, options.data, modality=options.modality, splits=options.split, rows=options.rows
        )
    except ValueError as error:
        parser.error(str(error))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        write_atomically(options.out / "report.json", lambda path: path.write_text(text, encoding="utf-8"))
        if sheet is not None:
            encoded = cv2.imencode(".png", sheet[..., ::-1])[1].tobytes()
            write_atomically(options.out / "contact_sheet.png", lambda path: path.write_bytes(encoded))
    _print(report)
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
