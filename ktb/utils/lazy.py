"""Lazy imports of a package's names: torch takes more than a second to import."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package that imports its public names from its modules on first use.

    Args:
        package: name of the package.
        homes: submodule → public names defined in it.
    """

    def get(name: str) -> Any:
        for module, names in homes.items():
            if name in names:
                return getattr(importlib.import_module(f"{package}.{module}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get


def resolve(name: str) -> Any:
    """Import and return the object named "module:name"."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
