"""What compares results to the last bit does so on 1 and 2 threads, with and without oneDNN.

The kernels that PyTorch chooses differ by processor: what holds with each of these choices rests on none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MARK = "@pytest.mark.bits"


@pytest.mark.parametrize("onednn", ["1", "0"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_bits_do_not_depend_on_threads_or_kernels(threads, onednn):
    files = [str(path) for path in sorted(TESTS.rglob("test_*.py")) if f"\n{MARK}\n" in path.read_text()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"OMP_NUM_THREADS": threads, "KTB_TEST_ONEDNN": onednn}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "bits", *files]
    ended = subprocess.run(command, env=environment, cwd=TESTS.parent, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-5000:]
