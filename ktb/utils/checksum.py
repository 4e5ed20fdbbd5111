"""SHA-256 of files, in pieces."""

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def require_sha256(path: Path, expected: str, what: str) -> None:
    """ValueError naming both sums if a file has another one than `expected`."""
    if (found := file_sha256(path)) != expected.lower():
        raise ValueError(
            f"{what} has sha256 {found}, expected {expected.lower()}. It is damaged, or not the file that "
            f"was meant: do not use it."
        )
