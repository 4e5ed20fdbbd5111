"""The command line, run in this process."""

from __future__ import annotations

from typer.testing import CliRunner

from ktb.__main__ import app


def run(*arguments):
    """The result of `python -m ktb` with these arguments."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
