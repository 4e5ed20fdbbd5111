"""Compute the stored results of the examples for the embedded checkpoints: `python -m tools.store_examples`.

Run it whenever an embedded checkpoint, an example or the reading of X changes; a test tells when.
"""

from __future__ import annotations

import argparse

from app.layout import offered
from app.widgets.examples import Example
from app.widgets.stored_results import FOLDER, pack
from ktb import Prediction, Predictor, load_model, read_image_rgb, read_x
from ktb.checkpoints.registry import built_in_models
from ktb.utils.files import write_atomically


def predictions(name: str) -> dict[Example, Prediction]:
    """The predictions of a checkpoint for the examples that the page offers for it, read as by the page."""
    predictor = Predictor(load_model(name, "cpu"), runtime="eager")
    offer = offered(predictor.model.config.inputs, None)
    return {
        example: predictor(read_image_rgb(example.rgb), read_x(example.x), options=offer.options, trace=False)
        for example in offer.pairs
    }


def main() -> None:
    """Write a file for each embedded checkpoint."""
    argparse.ArgumentParser(prog="python -m tools.store_examples", description=__doc__).parse_args()
    FOLDER.mkdir(exist_ok=True)
    for name, checkpoint in built_in_models().items():
        found = predictions(name)
        if not found:
            print(f"{name} has no examples")
            continue
        data = pack(checkpoint, found)
        write_atomically(FOLDER / f"{name}.npz", lambda path, data=data: path.write_bytes(data))
        print(f"wrote {FOLDER / name}.npz ({len(data) / 1e3:.0f} kB)")


if __name__ == "__main__":
    main()
