"""The Space as a stranger gets it: built, installed into a new environment, started, and used in a browser.

    python tests/fresh_space.py --python python3.12 --out fresh

It takes minutes and about 8 GB, which are free again at its end. `out` gets what was printed and a picture.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright
from space_server import Server, running

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = "/usr/bin/chromium"
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
WAIT_MS = 180_000
VERSIONS = """
import sys, importlib.metadata as found
names = ("torch", "torchvision", "gradio", "timm", "numpy", "opencv-python-headless", "huggingface_hub")
print("Python", sys.version.split()[0], *(f"{name} {found.version(name)}" for name in names), sep=", ")
"""


class Steps:
    """Tells of a step, with the seconds since the one before."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        sys.stdout.write(f"{now - self._last:7.1f} s  {text}\n")
        sys.stdout.flush()
        self._last = now


def main() -> None:
    """Do it, and say how long each step took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environment")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ktb-fresh-") as folder:
        tree, environment, place = (Path(folder) / name for name in ("tree", "venv", "server"))
        place.mkdir()
        step = Steps()
        command = [sys.executable, "-m", "app.space", "push", "my-lab/ktb", "--dry-run", "--out", str(tree)]
        listed = said(command, ROOT)
        (options.out / "files.txt").write_text(listed)
        step(f"built:{listed.splitlines()[-2]}")
        said([options.python, "-m", "venv", str(environment)], ROOT)
        python = str(environment / "bin" / "python")
        said([python, "-m", "pip", "install", "-q", "--no-cache-dir", "-r", "requirements.txt"], tree)
        step(f"installed: {said([python, '-c', VERSIONS], tree).strip()}")
        try:
            with running(tree, place, python) as server:
                step(f"started: {httpx.get(server.address + '/healthz').text}")
                use(server, options.out, step)
        finally:
            if (place / "log.txt").exists():
                (options.out / "log.txt").write_text((place / "log.txt").read_text())


def use(server: Server, out: Path, step: Steps) -> None:
    """Run an example, look at a pixel, take a picture."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        tab = chromium.new_page(viewport={"width": 1400, "height": 1000})
        tab.set_default_timeout(WAIT_MS)
        tab.goto(server.address, wait_until="domcontentloaded")
        tab.wait_for_selector("#ktb-run")
        step("the page is open")
        tab.locator("#ktb-examples button.thumbnail-item").first.click()
        tab.wait_for_selector("#ktb-stage img.ktb-mask")
        step(f"an example shows its mask: {' | '.join(tab.inner_text('#ktb-foot').splitlines())}")
        tab.get_by_role("tab", name="Fusion").first.click()
        tab.wait_for_selector("#ktb-pane-photo svg")
        tab.locator("#ktb-pane-photo img").first.click(position={"x": 150, "y": 120}, force=True)
        tab.wait_for_selector("#ktb-table table")
        step("a clicked pixel shows where it looked")
        tab.screenshot(path=str(out / "page.png"))
        chromium.close()
    step(f"at the end: {httpx.get(server.address + '/healthz').text}")
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    step("most memory of the server: " + " ".join(status.split("VmHWM:")[1].split()[:2]))


def said(command: list[str], folder: Path) -> str:
    """What a command prints; it has to succeed."""
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
