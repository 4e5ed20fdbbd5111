"""Packages whose names are imported when they are first used: torch takes more than a second to import."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package that gets its public names from its modules.

    Args:
        package: its name.
        homes: module below it → the names that it has.
    """

    def get(name: str) -> Any:
        for module, names in homes.items():
            if name in names:
                return getattr(importlib.import_module(f"{package}.{module}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get


def resolve(name: str) -> Any:
    """What "module:name" names; the module is imported here first."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
