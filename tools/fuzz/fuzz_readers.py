"""Fuzz every reader with damaged files and every encoder with extreme arrays; only InputError may be raised.

    python -m tools.fuzz.fuzz_readers --seconds 600 --seed 1

Runs until the time is over and prints counts by reader as JSON; exit code 1 if anything else than InputError
was raised, a case took over 2 seconds of processor time, or the process ever took over 600 MiB. Cases whose
file could not be made are counted ("unmade") and skipped. Every case can be run again alone: --only png:1234
with the same seed. The case in progress is kept in the file of --progress, so that a crash of the interpreter
can be traced.

    python -m tools.fuzz.fuzz_readers --structures --seconds 3600 --cases 100000

makes the files of `fuzz_structures` and `fuzz_containers` in place of damaging sound ones.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import itertools
import json
import os
import re
import resource
import sys
import time
import traceback
import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from ktb.inputs import InputError
from tools.fuzz.fuzz_damage import damage
from tools.fuzz.fuzz_targets import Reader, readers, structured_readers

MAX_CASE_SECONDS = 2.0
MAX_PEAK = 600 * 2**20
HANG_SECONDS = 120
EACH = {"h5": 10, "aedat4": 6, "zip": 3, "exr": 3}
"""Structures that are slow to generate: they are used every so many rounds."""


@dataclass
class Count:
    accepted: int = 0
    refused: int = 0
    unmade: int = 0
    slowest_s: float = 0.0
    grown_mib: int = 0


def one_case(name: str, reader: Reader, seed: int, case: int) -> bool:
    """Whether the reader accepted a case; InputError counts as a refusal, other errors are raised."""
    return _accepts(reader, *contents(name, reader, seed, case))


def contents(name: str, reader: Reader, seed: int, case: int) -> tuple[bytes, np.random.Generator]:
    """The file of a case, and the random generator for reading it."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), case])
    if reader.make is not None:
        return reader.make(rng), rng
    chosen = reader.seeds[case % len(reader.seeds)]
    data = damage(chosen, reader.seeds, reader.text, rng) if case >= len(reader.seeds) and chosen else chosen
    whole = rng.random() < 0.7 or case < len(reader.seeds)
    return reader.wrap(data) if whole else data, rng


def _accepts(reader: Reader, data: bytes, rng: np.random.Generator) -> bool:
    try:
        reader.feed(data, rng)
    except InputError as error:
        message = str(error)
        assert 10 <= len(message) < 1500, f"a message of {len(message)} letters: {message[:200]}"
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", default="", help="comma-separated names; default: all")
    parser.add_argument("--cases", type=int, default=10**9, help="stop after so many")
    parser.add_argument("--structures", action="store_true", help="files put together in wild ways")
    parser.add_argument("--only", default="", help="reader:case, run alone with its traceback")
    parser.add_argument("--progress", default=os.devnull)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    said = sys.stdout
    if said is sys.__stdout__:  # decoders print, past Python's own stream
        said = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
    faulthandler.enable(sys.__stderr__)
    known = structured_readers() if args.structures else readers()
    if args.only:
        name, _, case = args.only.rpartition(":")
        return 0 if one_case(name, known[name], args.seed, int(case)) else 3
    names = args.readers.split(",") if args.readers else list(known)
    counts = {name: Count() for name in names}
    failures: dict[str, dict[str, str]] = {}
    for name in names:  # what is loaded on first use is not the fault of a case
        with contextlib.suppress(Exception):  # the loop tells what fails
            one_case(name, known[name], args.seed, 0)
    start_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end, peak = time.monotonic() + args.seconds, start_kib
    with open(args.progress, "wb", buffering=0) as progress:
        for name, case in ((name, case) for case in itertools.count() for name in names):
            if args.structures and case % EACH.get(name, 1):
                continue
            done = sum(count.accepted + count.refused for count in counts.values())
            if time.monotonic() > end or len(failures) >= 20 or done >= args.cases:
                break
            progress.seek(0)
            progress.write(f"{name}:{case}".ljust(60).encode())
            faulthandler.dump_traceback_later(HANG_SECONDS, file=sys.__stderr__, exit=True)
            try:
                data, rng = contents(name, known[name], args.seed, case)
            except Exception:  # the maker's own fault says nothing about a reader
                counts[name].unmade += 1
                continue
            made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            begun, trouble = time.process_time(), None
            try:
                with contextlib.redirect_stdout(sys.stderr):  # OpenEXR's package prints
                    accepted = _accepts(known[name], data, rng)
                counts[name].accepted += accepted
                counts[name].refused += not accepted
            except Exception:
                trouble = traceback.format_exc(limit=-4)
            seconds = time.process_time() - begun
            grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - made) >> 10
            counts[name].grown_mib = max(counts[name].grown_mib, grown_mib)
            counts[name].slowest_s = max(counts[name].slowest_s, round(seconds, 3))
            now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if trouble is None and seconds > MAX_CASE_SECONDS:
                trouble = f"took {seconds:.2f} s"
            if trouble is None and now > peak and now > MAX_PEAK >> 10:
                trouble = f"the process took {now >> 10} MiB"
            peak = max(peak, now)
            if trouble:
                # one of a kind is enough: the same line with other numbers is the same fault
                failures.setdefault(
                    re.sub(r"\d+", "", trouble), {"case": f"{name}:{case}", "trouble": trouble}
                )
    faulthandler.cancel_dump_traceback_later()
    shown = {name: vars(count) for name, count in counts.items()}
    total = sum(count.accepted + count.refused for count in counts.values())
    grown = (peak - start_kib) >> 10
    report = (
        json.dumps(
            {
                "cases": total,
                "grown_mib": grown,
                "peak_mib": peak >> 10,
                "readers": shown,
                "failures": list(failures.values()),
            },
            indent=1,
        )
        + "\n"
    )
    said.write(report)
    said.flush()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
