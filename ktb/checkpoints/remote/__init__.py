"""Remote weights: files of Hugging Face repositories, kept in the cache of huggingface_hub."""

from ktb.checkpoints.remote.address import HubFile, parse_address
from ktb.checkpoints.remote.hub import Progress, Transfer, download_from_hub

__all__ = ["HubFile", "Progress", "Transfer", "download_from_hub", "parse_address"]
