"""Time README's first steps, from the clone to a result on a custom pair, in a fresh environment.

    python -m tools.bench_page.first_steps --rgb PHOTO --x DEPTH [--work FOLDER]

Clones this checkout, runs README's command for the page, uploads the pair in Chromium and presses Run, then
runs the same pair from the shell. Needs tests/requirements.txt, for the browser, and about 7 GB below --work,
which are freed at the end. The times include downloads, and depend on the machine and its network.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 900  # seconds for the slowest step
SHOWN_RUN = "(document.querySelector('.ktb-v')?.ktbViewer?.header.run ?? '')"


def tell(start: float, what: str) -> None:
    """Print a line with the seconds since a start."""
    sys.stdout.write(f"{time.monotonic() - start:8.1f} s  {what}\n")
    sys.stdout.flush()


@contextmanager
def timed(title: str) -> Iterator[None]:
    """Print the duration of a step."""
    start = time.monotonic()
    yield
    tell(start, title)


def page_command() -> list[str]:
    """The parts of README's command that starts the page."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^python3 -m venv .*app\.py$", text, re.MULTILINE)
    return line.split(" && ")


def wait_for(address: str, server: subprocess.Popen) -> None:
    """Wait until the page responds."""
    while server.poll() is None:
        try:
            if httpx.get(address, timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the page ended with status {server.returncode}")


def run_own_pair(address: str, rgb: Path, x: Path, chromium: str) -> None:
    """Upload the pair and press Run in the browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        with timed("open the page in the browser"):
            page.goto(address)
            page.wait_for_selector("#ktb-run")
        with timed("upload both files, press Run, see the run"):
            page.set_input_files("#ktb-rgb input[type=file]", str(rgb))
            page.set_input_files("#ktb-x input[type=file]", [str(x)])
            page.wait_for_selector("#ktb-x-read b, #ktb-x-read img")
            before = page.evaluate(SHOWN_RUN)
            page.click("#ktb-run")
            page.wait_for_function(f"before => {SHOWN_RUN} !== before", arg=before)
        browser.close()


def main() -> None:
    """Run and time every step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rgb", type=Path, required=True, help="your RGB image")
    parser.add_argument("--x", type=Path, required=True, help="its depth image")
    parser.add_argument("--work", type=Path, help="an empty folder to work in (default: a temporary one)")
    parser.add_argument("--port", type=int, default=7951, help="port of the page")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    rgb, x = options.rgb.resolve(), options.x.resolve()
    work = options.work or Path(tempfile.mkdtemp())
    clone, start = work / "ktb", time.monotonic()
    try:
        with timed("git clone"):
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        *before, page = page_command()
        for command in before:
            with timed(command):
                subprocess.run(command, shell=True, cwd=clone, check=True, stdout=subprocess.DEVNULL)
        address = f"http://127.0.0.1:{options.port}"
        with timed(f"{page}, until the page responds"):
            server = subprocess.Popen([*page.split(), "--port", str(options.port)], cwd=clone)
            wait_for(address, server)
        try:
            run_own_pair(address, rgb, x, options.chromium)
        finally:
            server.terminate()
            server.wait(PATIENCE)
        own = ["-m", "ktb", "predict", "--rgb", str(rgb), "--x", str(x), "--out", "own"]
        with timed("python -m ktb predict, the same pair"):
            python = clone / ".venv" / "bin" / "python"
            subprocess.run([python, *own], cwd=clone, check=True, stdout=subprocess.DEVNULL)
        assert (clone / "own" / "prediction.json").is_file()
        machine = f"Python {sys.version.split()[0]}, {os.cpu_count()} cores"
        tell(start, f"total, {machine}")
    finally:
        shutil.rmtree(clone, ignore_errors=True)


if __name__ == "__main__":
    main()
