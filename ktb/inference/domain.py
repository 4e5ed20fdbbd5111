"""The verdict whether the images of a run are like those of the training, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Stream = Literal["rgb", "x"]
STREAMS: Mapping[str, str] = {"rgb": "RGB image", "x": "X"}
ADVICE = " The RGB image is like those of the training: trust the RGB head more."


@dataclass(frozen=True)
class DomainVerdict:
    """The distances of a run's images to the training images.

    Attributes:
        trained_on: the training images in words, such as "the 795 rooms of NYU Depth V2".
        distances: per stream that the run used; above 1 the image is unlike the training images.
    """

    trained_on: str
    distances: Mapping[Stream, float]

    @property
    def outside(self) -> tuple[Stream, ...]:
        """The streams whose image is unlike the training images."""
        return tuple(stream for stream, distance in self.distances.items() if distance > 1)

    @property
    def in_domain(self) -> bool:
        """Whether no image is unlike the training images."""
        return not self.outside

    @property
    def ribbon(self) -> str:
        """A line for a picture of the result; "" in the domain."""
        if not self.outside:
            return ""
        what = {("rgb", "x"): "this pair", ("rgb",): "this picture", ("x",): "this X"}[self.outside]
        return f"outside training: {what} is unlike {self.trained_on} that this model learned from"

    def warnings(self) -> tuple[str, ...]:
        """At most one sentence for every interface, with advice where a head is still in its domain."""
        if not self.outside:
            return ()
        said = f"{self.ribbon[0].upper()}{self.ribbon[1:]}. The result is unreliable."
        return (said + (ADVICE if self.outside == ("x",) and "rgb" in self.distances else ""),)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the training images, and per stream the distance and whether it is in the domain."""
        return {
            "trained_on": self.trained_on,
            **{
                stream: {"in_domain": distance <= 1, "distance": round(float(distance), 4)}
                for stream, distance in self.distances.items()
            },
        }
