"""`python -m ktb faithfulness`: how well maps forecast the effect of ablating a sensor."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktb.cli.batch import RgbPlace, XPlaces, find_pairs
from ktb.cli.models import located
from ktb.cli.options import DeviceFlag, XFlags, chosen_device

if TYPE_CHECKING:
    from ktb.datasets.pairing import FilePair

SENSORS = {"x": "X", "rgb": "RGB"}


def faithfulness(
    rgb_dir: RgbPlace = None,
    x_dir: XPlaces = None,
    model: Annotated[str | None, typer.Option(help="Name, file or hf://…; see `models`.")] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="File for the results.")] = Path(
        "faithfulness.json"
    ),
    most: Annotated[
        int | None, typer.Option(help="Maximum number of pairs, spread evenly over all pairs.", min=1)
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the maps of each pair; a stopped run resumes from it.",
            file_okay=False,
        ),
    ] = None,
    curves: Annotated[
        int, typer.Option(help="Number of pairs, spread evenly, with deletion and insertion curves.", min=0)
    ] = 0,
    card: Annotated[
        Path | None,
        typer.Option(metavar="FILE.safetensors", help="Write the model here with the scores in its card."),
    ] = None,
    data: Annotated[str, typer.Option(help="Description of the pairs, for the card.")] = "",
    device: DeviceFlag = "auto",
    *,
    flags: XFlags,
) -> None:
    """Measure how well maps forecast the effect of ablating a sensor, over a folder of pairs.

    No labels are needed. For each map: AUROC as a forecast of which positions change their fused class
    without X and without RGB (0.5 is chance), and the same within tenths of the margin. --curves ablates
    tokens in the order of a map, 160 runs of the network a pair. A figure is written beside the results, as
    .svg.

    faithfulness --rgb-dir photos --x-dir depth --out faithfulness.json
    """
    if rgb_dir is None or not x_dir:
        raise ValueError("give --rgb-dir and --x-dir, the folders of the pairs.")
    options = flags.to_options()

    from ktb.analysis.faithfulness import CurveStudy, FaithfulnessStudy, PairMeasurement
    from ktb.analysis.faithfulness.kept import KeptResults
    from ktb.checkpoints.load import load_model
    from ktb.cli.progress import Progress
    from ktb.inference.predictor import Predictor
    from ktb.inputs import read_image_rgb, read_x
    from ktb.outputs.faithfulness_figure import faithfulness_figure
    from ktb.utils.distributed import device_of, rank_of

    pairs = _spread(list(find_pairs(rgb_dir, x_dir, [out]).pairs), most)
    with_curves = {pair.name for pair in _spread(pairs, curves)}
    device = chosen_device(device_of(rank_of()) if device == "auto" else device, "eager")
    file = located(model)
    measure = PairMeasurement(Predictor(load_model(file, device), runtime="eager"))
    name = measure.predictor.model.config.name
    places = {"rgb": rgb_dir, "x": list(x_dir), "options": repr(options)}
    kept = KeptResults(keep, {"model": name, **places})
    study, curve_study, progress = FaithfulnessStudy(), CurveStudy(), Progress()
    progress.start(len(pairs))
    for pair in pairs:
        rgb, x = read_image_rgb(pair.rgb), read_x(pair.x, options=options)
        maps = kept.maps(pair.name, partial(measure, rgb, x, options))
        study.add(maps)
        if pair.name in with_curves:
            curve_study.add(kept.curves(pair.name, partial(measure.curves, rgb, x, maps, options)))
        progress.count({"status": "done"})
    progress.close()
    results = {"model": name, **study.to_dict()}
    if with_curves:
        results["curves"] = curve_study.to_dict()
    _write(out, json.dumps(results, indent=2).encode())
    _write(out.with_suffix(".svg"), faithfulness_figure(results))
    _print_tables(results)
    typer.echo(f"wrote {out} and {out.with_suffix('.svg')}")
    if card is not None:
        _write_card(file, card, measure.predictor.model.card, results, data)
        typer.echo(f"wrote {card}")


def _spread(pairs: list["FilePair"], most: int | None) -> list["FilePair"]:
    """At most so many of the pairs, spread evenly; those of a half number are among those of a whole."""
    if most is None or most >= len(pairs):
        return pairs
    return [pairs[index * len(pairs) // most] for index in range(most)]


def _write(file: Path, data: bytes) -> None:
    from ktb.utils.files import write_atomically

    write_atomically(file, lambda temporary: temporary.write_bytes(data))


def _write_card(
    model: Path, file: Path, card: Mapping[str, Any], results: Mapping[str, Any], data: str
) -> None:
    """Write the model again, with the bits of its weights, and the scores of the maps in its card."""
    from ktb.checkpoints.rewrite import rewrite

    measured_on = ", ".join([*([data] if data else []), f"{results['images']} image pairs"])
    ablated = {
        drop: {
            "changed": found["changed"],
            "maps": {
                name: {key: score[key] for key in ("auroc", "within_margin")}
                for name, score in found["maps"].items()
            },
        }
        for drop, found in results["ablated"].items()
    }
    study = {"measured_on": measured_on, "ablated": ablated}
    rewrite(model, file, card={**card, "faithfulness": study})


def _print_tables(results: dict[str, Any]) -> None:
    from ktb.utils.text import rounded_down

    for drop, sensor in SENSORS.items():
        result = results["ablated"][drop]
        typer.echo(f"{sensor} ablated: {result['changed']:.1%} of {result['positions']:,} positions change")
        typer.echo(f"  {'map':<27}  AUROC  within the margin")
        for name, score in result["maps"].items():
            values = [
                "   -" if score[key] is None else rounded_down(score[key], 3)
                for key in ("auroc", "within_margin")
            ]
            typer.echo(f"  {name:<27}  {values[0]}  {values[1]}")
