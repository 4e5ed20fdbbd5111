"""Publish a model on the Hugging Face hub: its weights and a card for people, in one commit."""

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
    """What is, or would be, uploaded.

    Attributes:
        repo: ORG/NAME.
        files: name in the repository → (bytes, SHA-256).
        readme: the text of README.md.
        license: the hub's key; "unknown" if nobody said one.
        is_of_the_authors: the weights are converted ones of the paper's authors.
        commit: of the hub; None after a dry run.
        url: of that commit; None after a dry run.
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
        """What `load_model` takes: exactly this commit, once there is one."""
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
    """Upload a model as `model.safetensors` with a README.md made from its configuration and card.

    A file of ours goes up as it is, byte for byte; a model or an official file is written in our format
    first. The repository is made if need be; what README.md was there stays in its history.

    Args:
        model: a loaded model, or what `load_model` takes.
        repo: ORG/NAME.
        private: only for those whom the owner lets in. An existing repository that is public is refused.
        license: the hub's key, such as "apache-2.0"; by default the card's, else "unknown".
        token: by default that of `hf auth login` or HF_TOKEN.
        dry_run: only tell what would be uploaded; nothing goes over the network.

    Raises:
        ValueError: the name is none, the model cannot be read, or the hub refuses.
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
    """A file in our format; the model's own if it is one."""
    path = None if isinstance(model, KTB) else resolve(model)
    if path is not None and path.suffix not in OFFICIAL_SUFFIXES:
        yield path
        return
    loaded = model if isinstance(model, KTB) else load_model(path)
    with tempfile.TemporaryDirectory(prefix="ktb-push-") as folder:
        written = Path(folder) / HUB_FILE
        save_model(written, loaded, loaded.card)
        yield written
