"""`python -m ktb faithfulness`: how well maps forecast the effect of ablating a sensor."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ktb.cli.batch import RgbPlace, XPlaces, find_pairs
from ktb.cli.models import located
from ktb.cli.options import DeviceFlag, XFlags, chosen_device

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
    device: DeviceFlag = "auto",
    *,
    flags: XFlags,
) -> None:
    """Measure how well maps forecast the effect of ablating a sensor, over a folder of pairs.

    No labels are needed. For each map: AUROC as a forecast of which positions change their fused class
    without X and without RGB (0.5 is chance), and the same within tenths of the margin.

    faithfulness --rgb-dir photos --x-dir depth --out faithfulness.json
    """
    if rgb_dir is None or not x_dir:
        raise ValueError("give --rgb-dir and --x-dir, the folders of the pairs.")
    options = flags.to_options()

    from ktb.analysis import Inspection
    from ktb.analysis.faithfulness import FaithfulnessStudy
    from ktb.checkpoints.load import load_model
    from ktb.cli.progress import Progress
    from ktb.inference.predictor import Predictor
    from ktb.inputs import read_image_rgb, read_x
    from ktb.utils.distributed import device_of, rank_of
    from ktb.utils.files import write_atomically

    pairs = list(find_pairs(rgb_dir, x_dir, [out]).pairs)
    if most is not None and most < len(pairs):
        pairs = [pairs[index * len(pairs) // most] for index in range(most)]
    device = chosen_device(device_of(rank_of()) if device == "auto" else device, "eager")
    predictor, study = Predictor(load_model(located(model), device)), FaithfulnessStudy()
    progress = Progress()
    progress.start(len(pairs))
    for pair in pairs:
        rgb = read_image_rgb(pair.rgb)
        prediction = predictor(rgb, read_x(pair.x, options=options), options=options)
        inspection = Inspection(prediction) if prediction.trace else None
        ablated = {drop: predictor(rgb, prediction.x, trace=False, drop=drop) for drop in SENSORS}
        study.add(prediction, inspection, ablated)
        progress.count({"status": "done"})
    progress.close()
    found = {"model": predictor.model.config.name, **study.to_dict()}
    text = json.dumps(found, indent=2)
    write_atomically(out, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    for drop, sensor in SENSORS.items():
        result = found["ablated"][drop]
        typer.echo(f"{sensor} ablated: {result['changed']:.1%} of {result['positions']:,} positions change")
        typer.echo(f"  {'map':<36}  AUROC  within the margin")
        for name, score in result["maps"].items():
            values = ["   -" if one is None else f"{one:.3f}" for one in score.values()]
            typer.echo(f"  {name:<36}  {values[0]}  {values[1]}")
    typer.echo(f"wrote {out}")
