"""One engine for configurations, recipes and flags: what it takes, what it refuses, and what it says."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field

from ktb.utils.text import did_you_mean
from ktb.utils.validation import STRICT, OneOf, checked, from_json, from_text, literal


@dataclass(frozen=True)
class Square:
    kind: Literal["square"] = "square"
    side: float = 1.0


@dataclass(frozen=True)
class Circle:
    kind: Literal["circle"] = "circle"
    radius: float = 1.0
    centre: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.radius <= 0:
            raise ValueError(f"radius is {self.radius}; give a positive length.")


@dataclass(frozen=True)
class Drawing:
    __pydantic_config__: ClassVar = STRICT
    shape: Annotated[object, OneOf({"square": Square, "circle": Circle})]
    layers: tuple[Circle, ...] = ()
    ink: Literal["black", "red"] = "black"
    dpi: int | None = None
    frame: Square = field(default_factory=Square)


def test_json_becomes_the_annotated_types():
    values = {"shape": {"kind": "circle", "radius": 2, "centre": [1, 2]}, "layers": [{}], "dpi": None}
    drawing = from_json(Drawing, values, "drawing")
    assert drawing == Drawing(Circle(radius=2.0, centre=(1, 2)), (Circle(),))
    assert isinstance(drawing.shape.radius, float)


def test_numbers_survive_to_the_last_bit():
    rng = random.Random(0)
    numbers = [math.ldexp(rng.random() - 0.5, rng.randrange(-1000, 1000)) for _ in range(3000)]
    for number in [*numbers, 5e-324, -0.0, 1.7976931348623157e308, 0.1, 1 / 3]:
        read = from_json(Drawing, json.loads(json.dumps({"shape": {"kind": "square", "side": number}})), "d")
        assert read.shape.side.hex() == float(number).hex()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"^drawing lacks the keys \['shape'\]\.$"),
        ([], r"^drawing is \[\]; expected an object\.$"),
        ({"shape": {}}, r"^drawing\.shape\.kind is None; allowed: square, circle\.$"),
        ({"shape": 4}, r"^drawing\.shape\.kind is None; allowed: square, circle\.$"),
        ({"shape": {"kind": "sqare"}}, "'sqare'; allowed: square, circle. Did you mean 'square'"),
        ({"shape": {"kind": "square", "sid": 1}}, r"drawing\.shape has unknown keys \['sid'\].*mean 'side'"),
        ({"shape": {"kind": "square", "side": "1"}}, r"^drawing\.shape\.side is '1'; expected a finite numb"),
        ({"shape": {"kind": "circle", "radius": -1}}, r"^radius is -1\.0; give a positive length\.$"),
        (
            {"shape": {"kind": "circle", "centre": [1]}},
            r"shape\.centre has 1 entries; expected a list of 2 v",
        ),
        ({"shape": {"kind": "circle", "centre": [1, 2, 3]}}, r"shape\.centre has 3 entries; expected a list"),
        ({"shape": {"kind": "circle", "centre": [1, 2.5]}}, r"centre\[1\] is 2\.5; expected a whole number"),
        ({"shape": {"kind": "square"}, "layers": [{}, {"x": 1}]}, r"drawing\.layers\[1\] has unknown keys"),
        (
            {"shape": {"kind": "square"}, "ink": "blak"},
            "ink is 'blak'; allowed: black, red. Did you mean 'bla",
        ),
        ({"shape": {"kind": "square"}, "dpi": True}, "dpi is True; expected a whole number or none"),
    ],
)
def test_what_is_wrong_is_named_with_its_path_and_the_remedy(values, message):
    with pytest.raises(ValueError, match=message):
        from_json(Drawing, values, "drawing")


def test_huge_values_are_cut_in_messages():
    with pytest.raises(ValueError, match="ink is 'x") as caught:
        from_json(Drawing, {"shape": {"kind": "square"}, "ink": "x" * 10**6}, "drawing")
    assert len(str(caught.value)) < 200


@checked
class Run:
    name: str
    epochs: Annotated[int, Field(gt=0)] = 3
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 1.0
    size: tuple[int, int] = (1, 2)
    sigmas: tuple[float, ...] = ()
    fast: bool = False

    def __post_init__(self) -> None:
        if self.fast and self.epochs > 9:
            raise ValueError("fast runs have at most 9 epochs")


def test_a_checked_dataclass_refuses_what_does_not_fit():
    assert Run("a", 4, 2).rate == 2.0
    for values, message in (
        ({"epochs": 0}, "^Run: epochs is 0; it must be greater than 0.$"),
        ({"epochs": "3"}, "^Run: epochs is '3'; expected a whole number.$"),
        ({"rate": math.nan}, "^Run: rate is nan; expected a finite number or none.$"),
        ({"fast": True, "epochs": 10}, "^Run: fast runs have at most 9 epochs$"),
        ({"epoch": 3}, r"^Run: it has unknown keys \['epoch'\].* Did you mean 'epochs'"),
    ):
        with pytest.raises(ValueError, match=message):
            Run("a", **values)
    with pytest.raises(AttributeError):
        Run("a").epochs = 4


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "12", 12), (float, "5e-4", 5e-4), (float, "3", 3.0), (bool, "True", True), (str, "12", "12"),
        (float | None, "none", None), (str | None, "None", None), (str, "none", "none"),
        (tuple[int, int], "(480, 640)", (480, 640)), (tuple[float, ...], "0.5", (0.5,)),
        (tuple[float, ...], "", ()), (tuple[float, float] | None, "none", None), (Literal["1"], "1", "1"),
    ],
)  # fmt: skip
def test_texts_are_read_by_the_type_of_their_field(kind, text, value):
    found = from_text(kind, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (int, "1.5", "^expected a whole number$"),
        (float, "none", "^expected a finite number$"),
        (bool, "1", "^expected true or false$"),
        (tuple[int, int], "480", "^expected a list of 2 values$"),
        (tuple[int, int], "480,x", "^expected a whole number$"),
        (Literal["a", "b"], "c", "^allowed: a, b$"),
        (Annotated[float, Field(lt=1)], "1", "^it must be less than 1$"),
    ],
)
def test_texts_that_do_not_fit(kind, text, message):
    with pytest.raises(ValueError, match=message):
        from_text(kind, text)


def test_literals_and_the_nearest_name():
    texts = ("NONE", "true", "1e3", "(1, 2)", "a b")
    assert [literal(text) for text in texts] == [None, True, 1000.0, (1, 2), "a b"]
    assert did_you_mean("short_side", ["lr", "model.inputs.short_side"], dotted=True) == (
        " Did you mean 'model.inputs.short_side'?"
    )
    assert did_you_mean("zzz", ["lr"]) == ""
