"""The start of the commands of this package that record their own command line in what they write."""

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def run_command(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace, str], None],
    arguments: Sequence[str] | None = None,
) -> None:
    """Parse a command line, log with the time to stderr, and call `run` with the options and the command.

    A ValueError of `run` is a user error: it becomes the parser's usage and one line on stderr, status 2.

    Args:
        parser: its `prog` is how the command is called, "python -m training.evaluate".
        run: receives the parsed options and the whole command line as a shell would take it.
        arguments: without the program; None for those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        run(options, f"{parser.prog} {shlex.join(arguments)}")
    except ValueError as error:
        parser.error(str(error))


def without_folders(command: str) -> str:
    """A command line for a model card, which others read: of each absolute path only the last part."""
    words = shlex.split(command)
    return shlex.join(Path(word).name if Path(word).is_absolute() else word for word in words)
