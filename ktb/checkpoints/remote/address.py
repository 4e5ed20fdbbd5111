"""Addresses of weights on the Hugging Face hub: `hf://ORG/NAME[/FILE][@REVISION]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from ktb.checkpoints.metadata import OFFICIAL_SUFFIXES

HUB_FILE = "model.safetensors"
"""Default file of a repository."""
SUFFIXES = (".safetensors", *OFFICIAL_SUFFIXES)
_PART = r"[A-Za-z0-9][\w.-]*"
_HUB = re.compile(rf"({_PART}/{_PART})(?:@([^/@]+))?(?:/([^@]+))?(?:@([^@]+))?")


@dataclass(frozen=True)
class HubFile:
    """A file of a model repository on the Hugging Face hub; `revision` is a branch, a tag or a commit."""

    repo: str
    file: str = HUB_FILE
    revision: str = "main"
    sha256: str | None = None

    @property
    def short_name(self) -> str:
        """Name of the model: the repository's, or the file's for a file other than the default."""
        return self.repo.split("/")[1] if self.file == HUB_FILE else PurePosixPath(self.file).stem

    def __str__(self) -> str:
        return f"hf://{self.repo}/{self.file}@{self.revision}"


def parse_address(name: str, sha256: str | None = None) -> HubFile | None:
    """Parse a name as an address; None if it is not one.

    Args:
        name: an address, also with slashes merged by pathlib.
        sha256: the expected SHA-256 of the file.

    Raises:
        ValueError: the address is invalid; the message gives the reason.
    """
    match = re.match(r"(hf|https?):/{1,2}(?=[^/])", name)
    if match is None:
        return None
    rest = name[match.end() :]
    if match[1] != "hf":
        url = _without_secrets(f"{match[1]}://{rest}")
        raise ValueError(
            f"{url}: weights are not downloaded from web servers. Download the file (`curl -LO {url}`) and "
            f"give its path, or name a repository of the Hugging Face hub: hf://ORG/NAME@REVISION."
        )
    return _hub_file(rest, None if sha256 is None else _checked_sha256(sha256))


def is_repository(name: str) -> bool:
    """Whether a name is a repository's: ORG/NAME."""
    return re.fullmatch(f"{_PART}/{_PART}", name) is not None


def _without_secrets(url: str) -> str:
    """A URL without user, password, query and fragment."""
    place, _, path = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")[2].partition("/")
    return f"{url.partition(':')[0]}://{place.rpartition('@')[2]}/{path}"


def _hub_file(rest: str, sha256: str | None) -> HubFile:
    match = _HUB.fullmatch(rest)
    repo, before, file, after = match.groups() if match else (None, None, None, None)
    if repo is None or (before and after):
        raise ValueError(
            f"'hf://{rest}' names no file of a repository; write hf://ORG/NAME@REVISION or "
            f"hf://ORG/NAME/FILE.safetensors@REVISION. @REVISION may be left out and is main then."
        )
    file = file or HUB_FILE
    if not file.endswith(SUFFIXES) or ".." in file.split("/"):
        raise ValueError(f"'hf://{rest}': the file is {file!r}; its name must end in {_listed(SUFFIXES)}.")
    return HubFile(repo, file, before or after or "main", sha256)


def _checked_sha256(text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise ValueError(f"sha256 is {text!r}; give 64 hexadecimal digits, as `sha256sum FILE` prints them.")
    return text.lower()


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
