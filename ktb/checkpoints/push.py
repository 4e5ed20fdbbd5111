"""Publish a model on the Hugging Face hub: weights and model card in one commit."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from ktb.checkpoints.card import UNKNOWN_LICENSE, hub_readme
from ktb.checkpoints.load import load_model, save_model
from ktb.checkpoints.metadata import OFFICIAL_SUFFIXES, file_format, parameter_count, read_header
from ktb.checkpoints.registry import resolve
from ktb.checkpoints.remote.address import HUB_FILE, is_repository
from ktb.checkpoints.remote.hub import endpoint, explained
from ktb.modeling.model import KTB
from ktb.utils.cache import require_online
from ktb.utils.files import file_sha256

README = "README.md"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Upload:
    """The contents of an upload, or of a dry run.

    Attributes:
        repo: ORG/NAME.
        files: name in the repository → (bytes, SHA-256).
        readme: the text of README.md.
        license: the hub's key; "unknown" if not given.
        is_of_the_authors: whether the weights are converted from those of the paper's authors.
        commit: commit on the hub; None after a dry run.
        url: URL of that commit; None after a dry run.
    """

    repo: str
    files: dict[str, tuple[int, str]]
    readme: str
    license: str
    is_of_the_authors: bool = False
    commit: str | None = None
    url: str | None = None

    @property
    def address(self) -> str:
        """Address for `load_model`, with the commit if there is one."""
        return f"hf://{self.repo}" + (f"@{self.commit}" if self.commit else "")


def push_to_hub(
    model: KTB | str | Path,
    repo: str,
    *,
    private: bool = False,
    license: str | None = None,
    message: str | None = None,
    token: str | None = None,
    dry_run: bool = False,
) -> Upload:
    """Upload a model as `model.safetensors`, with a README.md from its configuration and card.

    A KTB file is uploaded unchanged; a model or an official file is converted first. The repository is
    created if necessary; an existing README.md is replaced and remains in the history.

    Args:
        model: a loaded model, or an argument for `load_model`.
        repo: ORG/NAME.
        private: make the repository private. A ValueError is raised if it exists and is public.
        license: the hub's key, such as "apache-2.0"; by default the card's, else "unknown".
        token: access token; by default that of `hf auth login` or HF_TOKEN.
        dry_run: only return what would be uploaded, without network access.

    Raises:
        ValueError: the repository's name is invalid, the model cannot be read, or the hub refuses.
    """
    if not is_repository(repo):
        raise ValueError(f"{repo!r} names no repository; write ORG/NAME.")
    with _as_our_file(model) as path:
        config, card = read_header(path)
        chosen = license or (card["license"] if isinstance(card.get("license"), str) else UNKNOWN_LICENSE)
        readme = hub_readme(repo, config, card, file_format(path) or "", parameter_count(path), chosen)
        digest = hashlib.sha256(readme.encode()).hexdigest()
        files = {HUB_FILE: (path.stat().st_size, file_sha256(path)), README: (len(readme.encode()), digest)}
        upload = Upload(repo, files, readme, chosen, is_of_the_authors="source_file" in card)
        if dry_run:
            return upload
        require_online(f"the repository {repo}", "push from a machine that may use the network")
        try:
            return _pushed(upload, path, private, message or f"Upload {config.name}", token)
        except ValueError:
            raise
        except Exception as error:  # the HTTP library's types differ between versions of huggingface_hub
            raise explained(error, repo, f"the upload of {config.name}") from error


def _pushed(upload: Upload, path: Path, private: bool, message: str, token: str | None) -> Upload:
    api = HfApi(endpoint=endpoint(), token=token)
    api.create_repo(upload.repo, private=private, exist_ok=True)
    if private and not api.repo_info(upload.repo).private:
        raise ValueError(
            f"{upload.repo} exists and is public; nothing was uploaded. Make it private in its settings, or "
            f"leave --private out."
        )
    operations = [
        CommitOperationAdd(HUB_FILE, path),
        CommitOperationAdd(README, upload.readme.encode()),
    ]
    commit = api.create_commit(upload.repo, operations, commit_message=message)
    _log.info("uploaded %s as %s", upload.repo, commit.oid)
    return replace(upload, commit=commit.oid, url=str(commit.commit_url))


@contextmanager
def _as_our_file(model: KTB | str | Path) -> Iterator[Path]:
    """A file in KTB's format; the model's own file if it is one."""
    path = None if isinstance(model, KTB) else resolve(model)
    if path is not None and path.suffix not in OFFICIAL_SUFFIXES:
        yield path
        return
    loaded = model if isinstance(model, KTB) else load_model(path, "cpu")
    with tempfile.TemporaryDirectory(prefix="ktb-push-") as folder:
        written = Path(folder) / HUB_FILE
        save_model(written, loaded, loaded.card)
        yield written
