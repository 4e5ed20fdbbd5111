"""One table of the missing-modality protocols EMM, RMM and NM for several models.

    python -m training.robustness --model A --dataset … --out scores/a --families missing x-pixels x-noise
    python -m training.robustness.missing scores/a scores/b --out missing.md

EMM is the mean mIoU over both sensors, RGB alone and X alone (zero tokens in place of a missing one), RMM the
mean over 25, 50 and 75 % of X's pixels set to zero, NM the mean over three levels of noise on X
(`training.robustness.corruptions`). All scores are of the fused head and of the RGB head, in percent.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ktb.utils.files import write_atomically
from training.evaluation.reports import shown
from training.robustness.conditions import CLEAN, CORRUPTED, MISSING, ONLY, Condition
from training.robustness.suite import FILE

logger = logging.getLogger(__name__)

BRANCHES = ("fused", "rgb")
EMM_KEYS = {
    "both": (CLEAN,),
    **{only: (Condition(MISSING, only, "tokens").key,) for only in ONLY},
}


def protocol_keys() -> dict[str, tuple[str, ...]]:
    """Column → keys of the conditions whose mean it is."""
    rmm, nm = (
        tuple(Condition(family, level).key for level in CORRUPTED[family].kind.levels)
        for family in ("x-pixels", "x-noise")
    )
    return {
        "both": (CLEAN,),
        "RGB only": EMM_KEYS["rgb-only"],
        "X only": EMM_KEYS["x-only"],
        "EMM": tuple(key for keys in EMM_KEYS.values() for key in keys),
        "RMM": rmm,
        "NM": nm,
    }


def missing_table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown lines: a row per model and head, a column per protocol.

    Raises:
        ValueError: a record lacks a condition, which is named with the command to compute it.
    """
    columns = protocol_keys()
    lines = [f"| model, head | frames | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for record in records:
        rows, settings = record["conditions"], record["settings"]
        if lacking := sorted({key for keys in columns.values() for key in keys} - set(rows)):
            raise ValueError(
                f"{record['model']}: the conditions {', '.join(lacking)} are not computed; run "
                f"`python -m training.robustness … --families missing x-pixels x-noise` into its folder."
            )
        frames = f"{settings['images']} {settings['dataset']} {settings['split']}, {settings['modality']}"
        for branch in BRANCHES:
            cells = [_mean([rows[key][branch]["miou"] for key in keys]) for keys in columns.values()]
            lines.append(f"| {record['model']}, {branch} | {frames} | {' | '.join(cells)} |")
    return lines


def _mean(values: Sequence[float | None]) -> str:
    scored = [value for value in values if value is not None]
    return shown(sum(scored) / len(scored) if len(scored) == len(values) else None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, write and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m training.robustness.missing", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folders", nargs="+", type=Path, help=f"folders with {FILE} of the models")
    parser.add_argument("--out", type=Path, required=True, help="the Markdown file to write")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        records = [json.loads((folder / FILE).read_text(encoding="utf-8")) for folder in options.folders]
        lines = missing_table(records)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    text = "\n".join(lines) + "\n"
    write_atomically(options.out, lambda path: path.write_text(text, encoding="utf-8"))
    logger.info("%s", text)


if __name__ == "__main__":
    main()
