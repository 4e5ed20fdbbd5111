"""What SECURITY.md and the fault table say: tests that are there, figures of the code, packages and why."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from app.server.uploads import UploadLimits
from app.web.rate_limits import MAX_CALL_BYTES, PAGES, UPLOADS, RateLimit
from ktb.inputs.limits import MAX_FILE_BYTES

ROOT = Path(__file__).resolve().parents[2]
LINES = [
    line.split("#")[0].strip()
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line.split("#")[0].strip()
]
NEEDED = [Requirement(line) for line in LINES]
TABLE = dict(
    re.findall(
        r"^\| ([\w-]+) \| ([\d.]+) \| \S.*\|$",
        (ROOT / "SECURITY.md").read_text(encoding="utf-8").split("## Least versions")[1],
        re.MULTILINE,
    )
)
COPYLEFT = re.compile(r"(?<!l)(?<!lesser )\b(a?gpl|affero|gnu general public)", re.IGNORECASE)


BOUNDED = {"gradio": "6.32", "timm": "1.1"}
"""Packages whose private names are used, and the first version that nobody has looked at."""


def test_every_requirement_has_its_least_version_and_a_reason():
    least, below = {}, {}
    for requirement in NEEDED:
        for bound in requirement.specifier:
            assert bound.operator in (">=", "<"), requirement
            (least if bound.operator == ">=" else below)[requirement.name] = bound.version
    assert least == TABLE
    assert below == BOUNDED


def test_the_installed_versions_are_no_older():
    for requirement in NEEDED:
        assert Version(metadata.version(requirement.name)) in requirement.specifier, requirement


def brought_along() -> set[str]:
    """Every installed package that the requirements need, and that those need."""
    found: set[str] = set()
    waiting = [requirement.name for requirement in NEEDED]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # for other systems
            continue
        found.add(name)
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                waiting.append(need.name)
    return found


def licence(name: str) -> str:
    """What a package says of its licence, in short: not the texts of what it bundles."""
    about = metadata.metadata(name)
    said = [about.get("License-Expression") or "", *about.get_all("Classifier", [])]
    if len(about.get("License") or "") < 100:
        said.append(about.get("License") or "")
    return "; ".join(
        text for text in said if text and not text.startswith(("Programming", "Operating", "Topic"))
    )


def test_no_package_is_under_the_gpl():
    names = brought_along()
    assert {"starlette", "python-multipart", "uvicorn", "jinja2"} <= names
    found = {name: licence(name) for name in sorted(names)}
    assert {name: said for name, said in found.items() if COPYLEFT.search(said)} == {}


@pytest.mark.parametrize(
    ("said", "is_copyleft"),
    [
        ("GPL-3.0-only", True),
        ("AGPL-3.0", True),
        ("License :: OSI Approved :: GNU General Public License v2 (GPLv2)", True),
        ("LGPL-2.1", False),
        ("GNU Lesser General Public License", False),
        ("MIT", False),
    ],
)
def test_copyleft_is_recognised(said, is_copyleft):
    assert bool(COPYLEFT.search(said)) == is_copyleft


@pytest.mark.parametrize("name", ["SECURITY.md", "docs/reliability.md"])
def test_every_test_that_a_promise_names_is_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "`tests/" in line]
    assert len(rows) >= 10
    checked = 0
    for row in rows:
        for file, names in re.findall(r"`(tests/[\w/]+\.py)`(?::|,|$| \()((?:(?!`tests/).)*)", row):
            source = (ROOT / file).read_text(encoding="utf-8")
            for test in re.findall(r"`(\w+)`", names):
                assert f"def {test}(" in source, f"{name}: {file} has no {test}"
                checked += 1
    assert checked >= len(rows)


def test_limits_are_those_of_the_code():
    text, limits = (ROOT / "SECURITY.md").read_text(encoding="utf-8"), UploadLimits()
    rate = RateLimit().events_per_minute
    for said in (
        f"{MAX_FILE_BYTES >> 20} MiB a file",
        f"{limits.session_files} files and {limits.session_bytes / 2**30:g} GiB a page",
        f"{limits.address_bytes >> 30} GiB from one address",
        f"{limits.total_bytes >> 30} GiB in all",
        f"{limits.idle_seconds:g} s without a byte or below {limits.bytes_per_second / 2**10:g} KiB/s",
        f"{limits.min_free_bytes >> 20} MiB of the disk stay free",
        f"{MAX_CALL_BYTES >> 20} MiB a call",
        f"{rate:,} events and {rate // UPLOADS} uploads a minute from one address, {rate // PAGES} pages",
    ):
        assert said in text, said
    assert (limits.unused_seconds, limits.waiting_seconds) == (5 * 60, 2 * 3600)
    assert f"{rate:,} events and calls a minute" in (ROOT / "docs/api.md").read_text(encoding="utf-8")
