"""One reading of X for all pairs of a batch, guessed from a few of them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from ktb.batch.runner import Running
from ktb.config import InputConfig
from ktb.datasets.pairing import FilePair
from ktb.inputs import RawX, XOptions, read_x
from ktb.inputs.sets import EXAMINED, SetReading, settle


def reading_of(pairs: Sequence[FilePair], inputs: InputConfig | None, options: XOptions) -> SetReading | None:
    """The reading of the X files of a batch; None for fewer than two files, or if they do not agree.

    Files that cannot be read are left out here; their own record names the reason.
    """
    with_x = [pair for pair in pairs if pair.x]
    if inputs is None or len(with_x) < 2:
        return None
    options = options.as_trained(inputs)

    def some() -> Iterator[tuple[str, RawX]]:
        for pair in with_x[:: -(-len(with_x) // EXAMINED)]:
            try:
                yield pair.name, read_x(pair.x, options=options)
            except (ValueError, OSError):
                continue

    found = settle(some(), inputs, options)
    return found if found is not None and found.files else None


def noted(running: Running, reading: SetReading | None) -> Running:
    """The execution options with the reading among the entries of run.json.

    It is no setting: a file that is added or repaired does not make the others be done again.
    """
    if reading is None:
        return running
    return replace(running, notes={**running.notes, "x_reading": asdict(reading)})
