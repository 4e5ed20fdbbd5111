"""Validation of JSON, YAML and command-line values against annotated types, by pydantic, with own messages.

Pydantic and json are imported on first use, so that configurations stay cheap to import.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import reprlib
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ktb.utils.text import did_you_mean

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
MOST_PROBLEMS = 5
STRICT = types.MappingProxyType({"extra": "forbid", "strict": True})
"""`__pydantic_config__` of a dataclass that rejects unknown keys and converts no types."""


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Annotation for one of several dataclasses, selected by the value's "kind"."""

    choices: Mapping[str, type]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        choices = {kind: handler.generate_schema(choice) for kind, choice in self.choices.items()}
        return core_schema.tagged_union_schema(choices, discriminator="kind")

    def __hash__(self) -> int:
        return id(self.choices)


@functools.cache
def adapter(kind: Any) -> TypeAdapter:
    """Pydantic's validator of a type, cached."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def from_json(kind: type[T], value: Any, where: str) -> T:
    """An instance of a dataclass from JSON values; lists become tuples, whole numbers floats.

    Raises:
        ValueError: naming every wrong key by its path below `where`, its value and the allowed values.
    """
    import json

    from pydantic import ValidationError

    try:
        return adapter(kind).validate_json(json.dumps(value, default=repr), strict=True)
    except ValidationError as error:
        raise ValueError("\n".join(explain(error, kind, where))) from None


def require(kind: Any, value: Any, where: str, error: type[ValueError] = ValueError) -> None:
    """Raise `error` for a value that is not of an annotated type; it names `where` and what is allowed."""
    from pydantic import ValidationError

    try:
        adapter(kind).validate_python(value, strict=True)
    except ValidationError as problems:
        raise error("\n".join(explain(problems, kind, where))) from None


def from_text(kind: Any, text: str) -> Any:
    """Parse a command-line text as a field's type: numbers, true/false, none, lists such as 0.8,2.0.

    Raises:
        ValueError: naming the expected type.
    """
    from pydantic import ValidationError

    member = _bare(_members(_bare(kind))[0])
    value: Any = literal(text)
    if get_origin(member) is tuple:
        parts = text.strip("()[] ").split(",")
        value = None if value is None else tuple(literal(part.strip()) for part in parts if part.strip())
    elif member is str or get_origin(member) is Literal:
        value = None if value is None and member is not kind else text
    try:
        return adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        raise ValueError(_expectation(error.errors(include_url=False)[0], kind)) from None


def literal(text: str) -> Any:
    """Parse a text without a type: none, true or false, a number, a list, else the text."""
    names = {"none": None, "true": True, "false": False}
    if text.lower() in names:
        return names[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def checked(cls: type[T]) -> type[T]:
    """Decorator for a frozen dataclass that validates its fields on construction; errors are ValueErrors.

    Whole numbers become floats where the type requires it; no other value is converted. Constraints are given
    in `Annotated` or in `__post_init__`.
    """
    from pydantic import ConfigDict, ValidationError
    from pydantic.dataclasses import dataclass

    made = dataclass(cls, frozen=True, config=ConfigDict(**STRICT))
    make = made.__init__

    @functools.wraps(make)
    def __init__(self: Any, *args: Any, **values: Any) -> None:
        try:
            make(self, *args, **values)
        except ValidationError as error:
            found = explain(error, made, "")
            raise ValueError("\n".join(f"{cls.__name__}: {line}" for line in found)) from None

    made.__init__ = __init__
    return made


def explain(error: ValidationError, kind: Any, where: str) -> Iterator[str]:
    """A sentence for each of the first problems: value, allowed values, nearest allowed value.

    Args:
        kind: the type that was validated. What is allowed is told by the annotations of a dataclass, and by
            the descriptions of a pydantic model's fields.
        where: name of the value, or of the file that a pydantic model was read from.
    """
    if hasattr(kind, "model_fields"):
        yield from (f"{where}: {line}" for line in _by_description(error, kind.model_fields))
        return
    problems = error.errors(include_url=False)
    if unknown := _grouped(problems, "unexpected_keyword_argument"):
        for parent, keys in unknown.items():
            allowed = sorted(field.name for field in dataclasses.fields(_at(kind, parent)))
            near = "".join(did_you_mean(key, allowed) for key in keys[:1])
            yield f"{_path(kind, where, parent) or 'it'} has unknown keys {keys}; allowed: {allowed}.{near}"
        return
    missing = _grouped(problems, "missing")
    for parent, keys in missing.items():
        if isinstance(keys[0], str):
            yield f"{_path(kind, where, parent) or 'it'} lacks the keys {keys}."
    rest = [p for p in problems if p["type"] != "missing" or isinstance(p["loc"][-1], int)]
    for problem in rest[:MOST_PROBLEMS]:
        yield _sentence(problem, kind, where)


def _by_description(error: ValidationError, fields: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each of the first wrong keys of a pydantic model with these fields."""
    problems = {problem["loc"][:2]: problem for problem in reversed(error.errors(include_url=False))}
    for problem in list(problems.values())[::-1][:MOST_PROBLEMS]:
        loc, value, what = problem["loc"], problem["input"], problem["msg"].removeprefix("Value error, ")
        if not loc:  # of several keys
            yield f"{what}."
            continue
        path, description = ".".join(map(str, loc)), getattr(fields.get(loc[0]), "description", None)
        if problem["type"] == "extra_forbidden":
            allowed = list(fields) if len(loc) == 1 else _keys_beside(fields[loc[0]].annotation)
            near = did_you_mean(str(loc[-1]), allowed)
            yield f"key '{path}' is not known; allowed: {', '.join(allowed)}.{near}"
        elif problem["type"] == "missing":
            yield f"key '{path}' is missing; allowed: {description}."
        else:
            near = did_you_mean(value, description.split(", ")) if isinstance(value, str) else ""
            yield f"key '{path}' is {reprlib.repr(value)[:80]}: {what}; allowed: {description}.{near}"


def _keys_beside(kind: Any) -> list[str]:
    """The keys of the pydantic model that a field is a tuple of."""
    return list(get_args(kind)[0].model_fields)


def _sentence(problem: Mapping[str, Any], kind: Any, where: str) -> str:
    loc, value = problem["loc"], problem["input"]
    if problem["type"] == "value_error" and dataclasses.is_dataclass(_at(kind, loc)):
        return str(problem["ctx"]["error"])  # the dataclass's own check, which names its fields
    if problem["type"] in ("missing", "too_long"):
        parent = loc[:-1] if problem["type"] == "missing" else loc
        return f"{_path(kind, where, parent)} has {len(value)} entries; {_expectation(problem, kind)}."
    path = _path(kind, where, loc)
    if _choices(_at(kind, loc)):
        path, value = f"{path}.kind", value.get("kind") if isinstance(value, Mapping) else None
    expectation = _expectation(problem, kind)
    near = did_you_mean(value, expectation.split(": ")[-1].split(", ")) if isinstance(value, str) else ""
    return f"{path} is {reprlib.repr(value)}; {expectation}.{near}"


def _expectation(problem: Mapping[str, Any], kind: Any) -> str:
    """Expected values at the path of a problem: "expected a whole number", "allowed: white, black"."""
    loc = problem["loc"]
    if problem["type"] in ("missing", "too_long"):  # for a list, pydantic reports the first missing entry
        loc = loc[:-1] if problem["type"] == "missing" else loc
    kind = _at(kind, loc)
    if choices := _choices(kind):
        return f"allowed: {', '.join(choices)}"
    members = _members(_bare(kind))
    if get_origin(members[0]) is Literal:
        return f"allowed: {', '.join(map(str, get_args(members[0])))}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"].startswith(("greater_than", "less_than")):
        return problem["msg"].replace("Input should", "it must", 1)
    return f"expected {' or '.join(map(_name, _union(_bare(kind))))}"


def _name(kind: Any) -> str:
    kind = _bare(kind)
    names = {
        int: "a whole number", float: "a finite number", str: "a text", bool: "true or false",
        type(None): "none",
    }  # fmt: skip
    if get_origin(kind) is tuple:
        items = get_args(kind)
        return "a list" if items[-1] is Ellipsis else f"a list of {len(items)} values"
    return names.get(kind) or "an object"


def _grouped(problems: Iterable[Mapping[str, Any]], kind: str) -> dict[tuple, list]:
    """The keys of all problems of one kind, grouped by path."""
    groups: dict[tuple, list] = {}
    for problem in problems:
        if problem["type"] == kind:
            groups.setdefault(problem["loc"][:-1], []).append(problem["loc"][-1])
    return {parent: sorted(keys, key=str) for parent, keys in groups.items()}


def _choices(kind: Any) -> tuple[str, ...]:
    """The dataclasses of an annotation with `OneOf`, by kind."""
    marks = [mark for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, OneOf)]
    return tuple(marks[0].choices) if marks else ()


def _bare(kind: Any) -> Any:
    """A type without its `Annotated` metadata."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _union(kind: Any) -> tuple[Any, ...]:
    is_union = isinstance(kind, types.UnionType) or str(get_origin(kind)) == "typing.Union"
    return get_args(kind) if is_union else (kind,)


def _members(kind: Any) -> tuple[Any, ...]:
    """The types of a union without None; else the type itself."""
    return tuple(member for member in _union(kind) if member is not type(None))


def _step(kind: Any, key: Any) -> Any:
    """The type at a key, an index or a kind below a type."""
    for mark in getattr(kind, "__metadata__", ()):
        if isinstance(mark, OneOf) and key in mark.choices:
            return mark.choices[key]
    kind = _bare(_members(_bare(kind))[0])
    if dataclasses.is_dataclass(kind):
        return get_type_hints(kind, include_extras=True)[key]
    if get_origin(kind) is tuple:
        items = get_args(kind)
        return items[0] if items[-1] is Ellipsis or key >= len(items) else items[key]
    return kind


def _at(kind: Any, loc: tuple) -> Any:
    return functools.reduce(_step, loc, kind)


def _path(kind: Any, where: str, loc: tuple) -> str:
    """Display form of a key's path, without the kinds added by pydantic, indices in brackets."""
    for key in loc:
        if key not in _choices(kind):
            where += f"[{key}]" if isinstance(key, int) else f".{key}" if where else str(key)
        kind = _step(kind, key)
    return where
