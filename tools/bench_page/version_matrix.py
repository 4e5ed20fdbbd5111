"""Run most of the tests in a fresh environment for each pair of Python and torch versions.

    python -m tools.bench_page.version_matrix --pair PYTHON3.10=2.8.0 --pair PYTHON3.12=2.11.0 --out matrix
    python -m tools.bench_page.version_matrix --pair PYTHON3.12=2.10.0 --only parity --out matrix-more

PYTHON3.10 is an interpreter. An environment takes up to 8 GB; it is removed before the next one is created.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = (
    "parity", "model", "official", "checkpoint", "predictor", "embedded", "eager", "tiling", "inspection",
    "attribution", "what_if", "sequences", "runtime", "surroundings", "zero_gpu", "api", "depth", "events",
    "align", "estimate", "export", "cli", "imports",
)  # fmt: skip
OWN = (  # a few of these tests open the page
    "pytest", "hypothesis", "pytest-xdist", "playwright", "openvino", "onnx", "onnxruntime", "onnxscript",
)  # fmt: skip
SHOWN = ("torch", "torchvision", "timm", "gradio", "numpy", "opencv-python-headless")
FREE_BYTES = 20 << 30


def main() -> None:
    """Test each pair in turn and print a table; exit code 1 if a test failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", action="append", required=True, metavar="PYTHON=TORCH")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the logs and table.md")
    parser.add_argument("--place", type=Path, help="folder for environments (default: temporary)")
    parser.add_argument("--only", action="append", metavar="NAME", help="tests/test_NAME.py; default: most")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for pair in options.pair:
        interpreter, _, torch = pair.rpartition("=")
        if shutil.disk_usage(options.place or tempfile.gettempdir()).free < FREE_BYTES:
            parser.error(f"less than {FREE_BYTES >> 30} GiB are free; an environment takes up to 8 GB")
        with tempfile.TemporaryDirectory(prefix="ktb-matrix-", dir=options.place) as place:
            rows.append(tried(interpreter, torch, Path(place) / "venv", options.out, options.only or TESTS))
        table = as_table(rows)
        (options.out / "table.md").write_text(table + "\n", encoding="utf-8")
    sys.stdout.write(table + "\n")
    if not all(row["result"].startswith("passed") for row in rows):
        raise SystemExit(1)


def tried(interpreter: str, torch: str, environment: Path, out: Path, tests: Sequence[str]) -> dict[str, str]:
    """Test one pair; returns the installed versions and the test results. Logs go to `out`."""
    started = time.monotonic()
    subprocess.run([interpreter, "-m", "venv", str(environment)], check=True)
    python = str(environment / "bin" / "python")
    version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    log = out / f"python-{version}-torch-{torch}.log"
    install = ["-m", "pip", "install", "--no-cache-dir", "-q", "-r", str(ROOT / "requirements.txt")]
    files = [str(path) for name in tests if (path := ROOT / "tests" / f"test_{name}.py").is_file()]
    with log.open("w", encoding="utf-8") as printed:

        def run(*command: str) -> int:
            return subprocess.run(
                [python, *command], cwd=ROOT, stdout=printed, stderr=subprocess.STDOUT
            ).returncode

        if run(*install, f"torch=={torch}", *OWN):
            return {"python": version, "torch": torch, "result": f"cannot be installed, see {log.name}"}
        run("-m", "pip", "list", "--format", "json")
        failed = run("-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "-rfs", *files)
    text = log.read_text(encoding="utf-8")
    listed = json.loads(re.search(r"^\[\{.*\}\]$", text, re.MULTILINE)[0])
    chosen = {package["name"].lower(): package["version"] for package in listed}
    summary = re.findall(r"^\d+ (?:passed|failed).*$", text, re.MULTILINE)
    counts = re.findall(r"\d+ (?:passed|failed|skipped|error)\w*", summary[-1]) if summary else ["no summary"]
    minutes = (time.monotonic() - started) / 60
    return {
        "python": version,
        **{name: chosen.get(name, "") for name in SHOWN},
        "result": ("failed: " if failed else "passed: ") + ", ".join(counts),
        "minutes": f"{minutes:.0f}",
    }


def as_table(rows: list[dict[str, str]]) -> str:
    """The rows in Markdown."""
    heads = list(dict.fromkeys(name for row in rows for name in row))
    lines = [heads, ["---"] * len(heads), *([row.get(name, "") for name in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
