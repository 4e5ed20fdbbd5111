"""Contents of a file, never more than the limit."""

from pathlib import Path

from ktb.modalities.limits import MAX_FILE_BYTES, InputError

Source = str | Path | bytes


def load(source: Source, filename: str | None) -> tuple[bytes, str]:
    """Contents and name for messages."""
    if isinstance(source, bytes):
        data, name = source, filename or "the file"
    else:
        name = filename or Path(source).name
        if not Path(source).is_file():
            raise InputError(f"{name}: there is no such file; check the path")
        with open(source, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    if not data:
        raise InputError(f"{name}: the file is empty (0 bytes); upload it again")
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{name}: larger than {MAX_FILE_BYTES >> 20} MiB; crop it or store it in 16 bits")
    return data, name
