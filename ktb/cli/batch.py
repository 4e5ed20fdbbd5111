"""Options and progress reporting shared by the batch commands."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktb.cli.options import echo_warnings

if TYPE_CHECKING:
    from ktb.batch.runner import Outcome
    from ktb.datasets.pairing import Matched

MANY = "Batches of pairs, matched by name"
_SHOWN = 5

RgbPlace = Annotated[
    str | None,
    typer.Option(
        "--rgb-dir",
        metavar="PATTERN",
        help="RGB images: a folder, a glob, or a pattern such as 'photos/{name}_rgb.png'.",
        rich_help_panel=MANY,
    ),
]
XPlaces = Annotated[
    list[str] | None,
    typer.Option(
        "--x-dir",
        metavar="PATTERN",
        help="X files, like --rgb-dir; repeatable if an X input has several files.",
        rich_help_panel=MANY,
    ),
]
PairsList = Annotated[
    Path | None,
    typer.Option(
        "--pairs",
        metavar="LIST",
        help="A list with an RGB image and its X on each line, such as TUM's associations.txt.",
        rich_help_panel=MANY,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Threads that prefetch and write files; by default up to 4.", rich_help_panel=MANY),
]
BatchSize = Annotated[
    int,
    typer.Option(help="Pairs of one size per forward pass.", rich_help_panel=MANY),
]
Resume = Annotated[
    bool, typer.Option(help="Skip what an earlier run completed, or do it again.", rich_help_panel=MANY)
]


def find_pairs(
    rgb: str | None, x: Sequence[str], results: Sequence[Path], pairs: Path | None = None
) -> "Matched":
    """The pairs of a list, or those matched by these patterns.

    Names without a file in one of the patterns are reported on stderr.
    """
    from ktb.datasets.pairing import listed, match

    if pairs is not None:
        return listed(pairs)
    matched = match(rgb, x, results)
    for place, names in matched.lacking.items():
        some = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        echo_warnings([f"'{place}' has no file for {len(names)} names, which are left out: {some}"])
    return matched


@contextmanager
def shown(matched: "Matched", workers: int | None, resume: bool, batch_size: int = 1):
    """Context with the `Running` of a batch and a progress bar; under a launcher, for this process."""
    from ktb.batch.runner import Running
    from ktb.cli.progress import Progress  # tqdm takes a tenth of a second
    from ktb.utils.distributed import rank_of

    rank = rank_of()
    progress = Progress(label=rank.label)
    running = Running(
        workers, batch_size, rank, resume, {"left_out": matched.lacking}, progress.start, progress.count
    )
    try:
        yield running
    except KeyboardInterrupt:
        progress.close()
        typer.echo(
            "Stopped: all written results are complete; run the same command again to resume.", err=True
        )
        raise typer.Exit(130) from None
    else:
        progress.close()


def print_outcome(outcome: "Outcome", folder: Path, part: str) -> None:
    """Print the outcome of a batch; `part` is the entry of the records with X's facts.

    Exit code 1 if a pair failed, but not under a launcher, which would stop the other processes.
    """
    from ktb.batch.runner import RESULTS
    from ktb.utils.distributed import rank_of

    rank = rank_of()

    done = [record[part] for record in outcome.records if record["status"] == "done"]
    failed, skipped = len(outcome.failed), outcome.skipped
    warnings = Counter(warning for report in done for warning in report["warnings"])
    for warning, count in warnings.most_common(_SHOWN):
        echo_warnings([f"({count} of {len(done)}) {warning}"])
    echo_warnings(_different_units(outcome, part))
    parts = [f"{len(done) - skipped} done", *([f"{skipped} done by an earlier run"] if skipped else [])]
    typer.echo(f"{rank.label}{', '.join(parts)}, {failed} failed; see {folder / RESULTS}")
    if part == "prediction" and len(done) > skipped:
        typer.echo(f"{rank.label}the network was busy {outcome.busy:.0%} of the time")
    if failed:
        typer.echo("Run the same command again to retry the failed pairs.", err=True)
        if rank.is_alone:
            raise typer.Exit(1)


def _different_units(outcome: "Outcome", part: str) -> list[str]:
    """A warning if different units were detected in the files of one folder, usually a wrong guess."""
    names: dict[str, list[str]] = defaultdict(list)
    for record in outcome.records:
        if record["status"] == "done" and (unit := _facts(record[part]).get("unit")):
            names[unit].append(record["name"])
    if len(names) < 2:
        return []
    found = "; ".join(f"{unit} for {len(some)}, such as {some[0]}" for unit, some in names.items())
    return [f"different units were detected: {found}. If that is wrong, give --unit"]


def _facts(report: dict[str, Any]) -> dict[str, str]:
    return report.get("x", report).get("facts", {})
