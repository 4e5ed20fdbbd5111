"""`python -m ktb faithfulness`: how well maps forecast the effect of ablating a sensor."""

import json
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
    measure = PairMeasurement(Predictor(load_model(located(model), device), runtime="eager"))
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


def _spread(pairs: list["FilePair"], most: int | None) -> list["FilePair"]:
    """At most so many of the pairs, spread evenly; those of a half number are among those of a whole."""
    if most is None or most >= len(pairs):
        return pairs
    return [pairs[index * len(pairs) // most] for index in range(most)]


def _write(file: Path, data: bytes) -> None:
    from ktb.utils.files import write_atomically

    write_atomically(file, lambda temporary: temporary.write_bytes(data))


def _print_tables(results: dict[str, Any]) -> None:
    for drop, sensor in SENSORS.items():
        result = results["ablated"][drop]
        typer.echo(f"{sensor} ablated: {result['changed']:.1%} of {result['positions']:,} positions change")
        typer.echo(f"  {'map':<27}  AUROC  within the margin")
        for name, score in result["maps"].items():
            values = [
                "   -" if score[key] is None else f"{score[key]:.3f}" for key in ("auroc", "within_margin")
            ]
            typer.echo(f"  {name:<27}  {values[0]}  {values[1]}")
