"""Labels of custom datasets: stored values to classes, and what the values of a whole set tell."""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ktb.inputs import InputError, read_x
from ktb.inputs.readers.labels import labels_from_colors, read_label_picture
from ktb.labels import IGNORE_INDEX, RGB

_ENOUGH_IGNORED = 0.005
"""Share of the pixels from which an ignored value beside an absent class is a problem."""
_SMOOTHED = 16  # values of no class, from which a mask was smoothed or compressed


@dataclass(frozen=True)
class LabelRule:
    """What the stored values of a dataset mean.

    Attributes:
        classes: names; palette: colours of the classes, for label pictures in colour.
        values: stored value -> class.
        ignored: stored values that are not labelled.
        is_said: whether the user named the ignored values.
    """

    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    values: Mapping[int, int]
    ignored: frozenset[int]
    is_said: bool

    def to_classes(self, stored: np.ndarray, name: str) -> np.ndarray:
        """Classes (H, W) uint8, 255 = ignored, of stored values (H, W) or colours (H, W, 3).

        Raises:
            InputError: a value or colour has no meaning.
        """
        if stored.ndim == 3:
            return labels_from_colors(stored, self.palette, name, "the classes' colours in the YAML file")
        found, places = np.unique(stored, return_inverse=True)
        classes = [self.values.get(int(v), IGNORE_INDEX if int(v) in self.ignored else -1) for v in found]
        wrong = [int(value) for value, one in zip(found, classes) if one < 0]
        if wrong:
            raise InputError(
                f"{name}: label value {reprlib.repr(wrong)[1:-1]} is outside {self.known()} and not in "
                f"'ignore' {sorted(self.ignored)}"
            )
        return np.array(classes, np.uint8)[places].reshape(stored.shape)

    def known(self) -> str:
        """The stored values of classes, such as "0..20" or "0, 255"."""
        stored = sorted(self.values)
        if stored == list(range(stored[0], stored[-1] + 1)):
            return f"{stored[0]}..{stored[-1]}"
        return ", ".join(map(str, stored))


def read_stored(file: Path) -> np.ndarray:
    """Stored labels (H, W) integers, or (H, W, 3) uint8 colours, of a lossless picture or an array.

    Raises:
        InputError: a JPEG or WebP picture, fractions, or an unreadable file.
    """
    if file.suffix.lower() not in (".npy", ".npz"):
        return read_label_picture(file)[0]
    stored = read_x(file).data
    if not isinstance(stored, np.ndarray) or stored.ndim != 2 or stored.dtype.kind not in "uib":
        found = f"{stored.dtype} {stored.shape}" if isinstance(stored, np.ndarray) else "events"
        raise InputError(f"{file.name}: {found}; labels are class numbers (H, W)")
    return stored


class Judgement(NamedTuple):
    """What is wrong with the labels of a set, each with its remedy, and what is worth a look."""

    problems: list[str]
    notes: list[str]


def judge(counts: Mapping[int, int], rule: LabelRule) -> Judgement:
    """Judge the stored values of all label files of a set.

    counts: stored value -> pixels, also of files that were refused.
    """
    pixels = {value: count for value, count in counts.items() if count}
    total = sum(pixels.values())
    if not total:
        return Judgement([], [])
    present = {rule.values[value] for value in pixels if value in rule.values}
    absent = [name for number, name in enumerate(rule.classes) if number not in present]
    unknown = sorted(value for value in pixels if value not in rule.values and value not in rule.ignored)
    if unknown:
        return Judgement([_about_unknown(pixels, unknown, rule)], [])
    problems, notes = [], []
    for value in sorted(rule.ignored & set(pixels)):
        share = pixels[value] / total
        if absent and not rule.is_said:
            text = (
                f"{_named(absent)} in no label, while {100 * share:.1f} % of the pixels are {value}, "
                f"which is ignored. If {value} means {absent[0]}, say so in the YAML file, such as "
                f"values: {_mapping(pixels, rule, {value: absent[0]})}; if it is not labelled, say "
                f"ignore: [{value}]"
            )
            is_problem = share >= _ENOUGH_IGNORED or len(present) == 1
            (problems if is_problem else notes).append(text)
    if not present:
        problems.append("no pixel has a class: all are ignored. Check 'ignore', 'values' and the files")
    first = min(rule.values)
    if first == 0 and rule.values[0] not in present and len(rule.classes) > 1 and present:
        numbers = sorted(value for value in pixels if value in rule.values)
        if numbers == list(range(1, numbers[-1] + 1)) and len(rule.classes) - 1 in present:
            notes.append(
                f"the value 0 ('{rule.classes[0]}') occurs nowhere, and all from 1 to {numbers[-1]} do: if "
                "the labels count their classes from 1, say label_offset: 1"
            )
    return Judgement(problems, notes)


def _about_unknown(pixels: Mapping[int, int], unknown: Sequence[int], rule: LabelRule) -> str:
    """A problem with values of no class, and the likeliest remedy, by all values of the set."""
    total, count = sum(pixels.values()), len(rule.classes)
    share = sum(pixels[value] for value in unknown) / total
    text = f"values of no class fill {100 * share:.1f} % of the pixels: {reprlib.repr(list(unknown))[1:-1]}"
    ordinary = sorted(value for value in pixels if value not in rule.ignored)
    is_plain = sorted(rule.values) == list(range(count))
    if is_plain and list(unknown) == [count]:
        if 0 not in pixels:
            return f"{text}. No label is 0: the classes count from 1, say label_offset: 1"
        return (
            f"{text}. With 0 there are {count + 1} values for {count} classes: if 0 is not labelled, say "
            f"label_offset: 1 and ignore: [0, 255]; else a class is missing in the list"
        )
    if len(unknown) > max(_SMOOTHED, 2 * count):
        return (
            f"{text}. So many values are those of a smoothed mask: export it without anti-aliasing, and "
            "resize it by the nearest pixel"
        )
    if len(ordinary) <= count or len(pixels) <= count:
        stored = ordinary if len(pixels) > count else sorted(pixels)
        pairs = ", ".join(f"{value}: {name}" for value, name in zip(stored, rule.classes))
        return f"{text}. Say what each value means, such as values: {{{pairs}}}"
    return f"{text}. Name a class for each, or list them in 'ignore', or say what they mean in 'values'"


def _mapping(pixels: Mapping[int, int], rule: LabelRule, more: Mapping[int, str]) -> str:
    known = {value: rule.classes[rule.values[value]] for value in sorted(pixels) if value in rule.values}
    return "{" + ", ".join(f"{value}: {name}" for value, name in (known | dict(more)).items()) + "}"


def _named(names: Sequence[str]) -> str:
    some = ", ".join(f"'{name}'" for name in names[:3])
    some += f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"the class {some} occurs" if len(names) == 1 else f"the classes {some} occur"
