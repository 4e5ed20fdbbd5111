"""How weights elsewhere are named: `hf://ORG/NAME[/FILE][@REVISION]` and `https://…#sha256=HEX`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from ktb.checkpoints.metadata import OFFICIAL_SUFFIXES

HUB_FILE = "model.safetensors"
"""The file of a repository that is taken where none is named."""
SUFFIXES = (".safetensors", *OFFICIAL_SUFFIXES)
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
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
        """What the model is called: the repository's name, or the file's if it is one of several."""
        return self.repo.split("/")[1] if self.file == HUB_FILE else PurePosixPath(self.file).stem

    def __str__(self) -> str:
        return f"hf://{self.repo}/{self.file}@{self.revision}"


@dataclass(frozen=True)
class WebFile:
    """A file of a web server, and the SHA-256 that it must have; `url` has no fragment."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name

    @property
    def short_name(self) -> str:
        """What the model is called."""
        return PurePosixPath(self.name).stem

    def __str__(self) -> str:
        return shown(self.url)


def parse_address(name: str, sha256: str | None = None) -> HubFile | WebFile | None:
    """What a name says about a file elsewhere; None for one that is no address.

    Args:
        name: pathlib may have shortened its slashes.
        sha256: that the file must have; for the web required, here or in the name.

    Raises:
        ValueError: an address that cannot be used, with what is wrong about it.
    """
    match = re.match(r"(hf|https?):/{1,2}(?=[^/])", name)
    if match is None:
        return None
    if sha256 is not None:
        sha256 = _checked_sha256(sha256)
    rest = name[match.end() :]
    return _hub_file(rest, sha256) if match[1] == "hf" else _web_file(f"{match[1]}://{rest}", sha256)


def is_repository(name: str) -> bool:
    """Whether a name is one of a repository: ORG/NAME."""
    return re.fullmatch(f"{_PART}/{_PART}", name) is not None


def require_safe(url: str, coming_from: str | None = None) -> None:
    """ValueError unless a URL is encrypted, or stays on this machine."""
    parts = urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS
    if parts.scheme == "https":
        return
    if coming_from is None and not is_local:
        raise ValueError(
            f"{shown(url)} is not encrypted; give an https:// address (http:// is for servers on this "
            f"machine)."
        )
    if coming_from is not None and (not is_local or urlsplit(coming_from).scheme == "https"):
        raise ValueError(
            f"{shown(coming_from)} leads on to {shown(url)}, which is not encrypted; nothing was taken from "
            f"there. Ask for an address that stays with https."
        )


def shown(url: str) -> str:
    """A URL without what could be secret in it: user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


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


def _web_file(url: str, sha256: str | None) -> WebFile:
    try:
        parts = urlsplit(url)
        _ = parts.port  # which raises for one that is no number
    except ValueError as error:
        raise ValueError(f"{url!r} is no address of a file: {error}.") from error
    require_safe(url)
    said = parse_qs(parts.fragment).get("sha256", [])
    if said:
        in_name = _checked_sha256(said[0])
        if sha256 not in (None, in_name):
            raise ValueError(f"{shown(url)}: the address says sha256 {in_name}, the argument {sha256}.")
        sha256 = in_name
    if sha256 is None:
        raise ValueError(
            f"{shown(url)}: say which file you mean by its checksum, so that nobody can give you another: "
            f"ADDRESS#sha256=64_HEXADECIMAL_DIGITS, or load_model(ADDRESS, sha256=…). The page that offers "
            f"the file may name it; of a file that you have, `sha256sum FILE` tells it."
        )
    file = WebFile(urlunsplit(parts._replace(fragment="")), sha256)
    if not file.name.endswith(SUFFIXES) or re.search(r'^\.|[\\:*?"<>|\x00-\x1f]', file.name):
        raise ValueError(
            f"{shown(url)}: the path must end in the file's name, with {_listed(SUFFIXES)}. For another "
            f"address, download the file with a browser and give its path."
        )
    return file


def _checked_sha256(text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise ValueError(f"sha256 is {text!r}; give 64 hexadecimal digits, as `sha256sum FILE` prints them.")
    return text.lower()


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
