"""`python -m ktb predict`: segment one pair or a batch of pairs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ktb.cli.batch import (
    MANY,
    BatchSize,
    PairsList,
    Resume,
    RgbPlace,
    Workers,
    XPlaces,
    find_pairs,
    print_outcome,
    shown,
)
from ktb.cli.models import located
from ktb.cli.options import (
    DeviceFlag,
    PrecisionFlag,
    RuntimeFlag,
    XFlags,
    chosen_device,
    echo_warnings,
    require_none,
    require_one,
)
from ktb.utils.files import file_sha256

if TYPE_CHECKING:
    import numpy as np

    from ktb.datasets.pairing import FilePair
    from ktb.inference.prediction import Drop, Prediction
    from ktb.inference.predictor import Predictor, Tile
    from ktb.inputs import XOptions

_ESTIMATE = "Without an X input"
_ALSO = "Additional files for one pair"


def predict(
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    rgb: Annotated[Path | None, typer.Option(help="The RGB image.")] = None,
    x: Annotated[
        list[Path] | None,
        typer.Option(help="The X input; four times for polarizer images at 0, 45, 90, 135 degrees."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Name, file or hf://…; see `models`. auto chooses by X and the scene.")
    ] = "auto",
    short_side: Annotated[int | None, typer.Option(help="Shorter side in the network, pixels.")] = None,
    tile: Annotated[
        str,
        typer.Option(
            metavar="auto|none|PIXELS",
            help="Side of the tiles for images too large for one pass.",
        ),
    ] = "auto",
    device: DeviceFlag = "auto",
    no_x: Annotated[
        bool, typer.Option("--no-x", help="Run on the RGB image alone.", rich_help_panel=_ESTIMATE)
    ] = False,
    estimate_depth: Annotated[
        bool,
        typer.Option(
            "--estimate-depth",
            help="Estimate depth from the RGB image with a network; needs transformers.",
            rich_help_panel=_ESTIMATE,
        ),
    ] = False,
    depth_model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Depth estimation model, or its folder.", rich_help_panel=_ESTIMATE
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Also write report.html, a single file.", rich_help_panel=_ALSO)
    ] = False,
    figure: Annotated[
        Literal["svg", "pdf", "png"] | None,
        typer.Option(
            help="Also write a publication figure: figure.svg, .pdf or .png.", rich_help_panel=_ALSO
        ),
    ] = None,
    arrays: Annotated[
        bool,
        typer.Option("--arrays", help="Also write arrays.npz: logits, maps, points.", rich_help_panel=_ALSO),
    ] = False,
    ply: Annotated[
        bool,
        typer.Option(
            "--ply",
            help="Also write points.ply, in a batch clouds/NAME.ply: depth as points with colour, class and "
            "confidence. NYU's camera is assumed without --intrinsics or --fov.",
        ),
    ] = False,
    rgb_dir: RgbPlace = None,
    x_dir: XPlaces = None,
    pairs: PairsList = None,
    branches: Annotated[
        Literal["fused", "all"],
        typer.Option(help="Heads whose masks are written in a batch.", rich_help_panel=MANY),
    ] = "fused",
    batch_size: BatchSize = 1,
    workers: Workers = None,
    resume: Resume = True,
    runtime: RuntimeFlag = "auto",
    precision: PrecisionFlag = "float32",
    *,
    flags: XFlags,
) -> None:
    """Segment one pair of images or a batch, and write label maps, masks and overlays.

    One pair: predict --rgb photo.jpg --x depth.png --out result

    A batch: predict --rgb-dir photos --x-dir depth --out results

    Pairs of a list: predict --pairs associations.txt --out results

    A batch writes labels/NAME.png, masks/NAME.png, overlays/NAME.png, with --ply clouds/NAME.ply, and
    results.jsonl with a line per pair.

    Without an X input: --no-x or --estimate-depth in place of --x or --x-dir.
    """
    sources = {"--rgb": rgb is not None, "--rgb-dir": rgb_dir is not None, "--pairs": pairs is not None}
    is_many = require_one(sources, "the RGB images") != "--rgb"
    if pairs is not None:
        without = {"--x": bool(x), "--x-dir": bool(x_dir), "--no-x": no_x, "--estimate-depth": estimate_depth}
        require_none(without, "the list of --pairs names X")
    else:
        x_flag, other = ("--x-dir", "--x") if is_many else ("--x", "--x-dir")
        given = {
            x_flag: bool(x_dir if is_many else x),
            "--no-x": no_x,
            "--estimate-depth": estimate_depth,
        }
        require_none({other: bool(x if is_many else x_dir)}, f"these RGB images need {x_flag}")
        require_one(given, "X")
    require_none({"--depth-model": depth_model is not None and not estimate_depth}, "needs --estimate-depth")
    also = {"--report": report, "--figure": figure is not None, "--arrays": arrays}
    if is_many:
        require_none(also, "only for one pair, --rgb")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder.")
    options = flags.to_options()

    from ktb.batch.predict import CLOUDS, KINDS, predict_pairs
    from ktb.checkpoints.choice import AUTO_MODEL
    from ktb.checkpoints.load import load_model
    from ktb.inference.auto import AutoPredictor
    from ktb.inference.predictor import Predictor
    from ktb.inference.scene import predict_chosen
    from ktb.inputs import read_rgb, read_x
    from ktb.inputs.depth_estimation import DepthEstimator
    from ktb.outputs.files import save_result
    from ktb.utils.distributed import device_of, rank_of

    device = chosen_device(device_of(rank_of()) if device == "auto" else device, runtime)
    path = None if model == AUTO_MODEL else located(model)
    computing = {"short_side": short_side, "runtime": runtime, "precision": precision, "tile": _tile(tile)}
    if not is_many:
        image = read_rgb(rgb)
        photo = image.pixels
        predictor = None if path is None else Predictor(load_model(path, device), **computing)
        known = options if predictor is None else predictor.x_options(options)
        modal_x = read_x(x, options=known) if x else None
        modal_x = DepthEstimator(depth_model, device)(photo) if estimate_depth else modal_x
        keep = {"options": options, "trace": any(also.values())}
        if predictor is None:
            chooser = AutoPredictor(device=device, **computing)
            choice = chooser.choose(photo, modal_x, options)
            known = chooser.predictor(choice.name).x_options(options)
            if x and known != options:  # recordings of events, which the chosen model was trained to read
                modal_x = read_x(x, options=known)
            modal_x = modal_x and replace(modal_x, recognized=choice.modality)
            name, prediction = predict_chosen(
                choice, lambda name: chooser.predictor(name)(image, modal_x, **keep)
            )
            predictor = chooser.predictor(name)
        else:
            prediction = predictor(image, modal_x, **keep)
        points = _points(photo, prediction) if ply else {}  # raises before anything is written
        written = save_result(out, photo, prediction)
        settings = {"model": prediction.model, "short_side": short_side, "x": options.to_dict()}
        ablated = _ablated(predictor, photo, prediction) if report else {}
        card = predictor.model.card
        written += _save_also(out, photo, prediction, ablated, report, figure, arrays, card, settings, points)
        _tell(prediction, predictor.runtime.why)
        for path in written:
            typer.echo(f"wrote {path}")
        return
    matched = find_pairs(
        rgb_dir, x_dir or (), [out / kind for kind in (*KINDS["all"].values(), CLOUDS)], pairs
    )
    path = path or _chosen_for_all(matched.pairs[0], options, estimate_depth)
    predictor = Predictor(load_model(path, device), **computing)
    estimator = DepthEstimator(depth_model, device) if estimate_depth else None
    settings = {"model_sha256": file_sha256(path)}
    with shown(matched, workers, resume, batch_size) as running:
        outcome = predict_pairs(
            predictor, matched.pairs, out, options=options, estimate=estimator, branches=branches, ply=ply,
            settings=settings, running=running,
        )  # fmt: skip
    print_outcome(outcome, out, "prediction")


def _chosen_for_all(pair: "FilePair", options: "XOptions", estimates_depth: bool) -> Path:
    """The file of the model for a batch, chosen by its first pair, which is printed with the reason."""
    from ktb.checkpoints.choice import choose_model
    from ktb.checkpoints.registry import resolve
    from ktb.inputs import read_image_rgb, read_x
    from ktb.inputs.recognize import Recognition, recognize

    found = Recognition("depth", "it is estimated from the RGB images") if estimates_depth else None
    if pair.x:
        found = recognize(read_x(pair.x, options=options), read_image_rgb(pair.rgb), options)
    choice = choose_model(found)
    typer.echo(f"{choice.name} for all pairs, chosen by the first ({pair.name}): {choice.why}")
    return resolve(choice.name)


def _tile(text: str) -> "Tile":
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    if not text.isdecimal():
        raise ValueError(f"--tile {text}: give auto, none, or pixels such as 1024.")
    return int(text)


def _ablated(
    predictor: "Predictor", photo: "np.ndarray", prediction: "Prediction"
) -> "dict[Drop, Prediction]":
    """The same pair with each sensor ablated; nothing where X is missing."""
    if prediction.x.origin == "missing":
        return {}
    return {drop: predictor(photo, prediction.x, trace=False, drop=drop) for drop in ("rgb", "x")}


def _points(photo: "np.ndarray", prediction: "Prediction") -> dict[str, bytes]:
    from ktb.outputs.point_cloud import ply_bytes, point_cloud

    return {"points.ply": ply_bytes(point_cloud(photo, prediction), prediction)}


def _save_also(
    out: Path,
    photo: "np.ndarray",
    prediction: "Prediction",
    ablated: "Mapping[Drop, Prediction]",
    report: bool,
    figure: Literal["svg", "pdf", "png"] | None,
    arrays: bool,
    card: Mapping[str, Any],
    settings: Mapping[str, Any],
    points: Mapping[str, bytes],
) -> list[Path]:
    """Write the requested additional files; returns the paths."""
    files = dict(points)
    look = None
    if prediction.trace:
        from ktb.analysis import Inspection

        look = Inspection(prediction)
    if report:
        from ktb.outputs.report import report_html

        text = report_html(photo, prediction, card=card, settings=settings, inspection=look, ablated=ablated)
        files["report.html"] = text.encode()
    if figure:
        from ktb.outputs.figure import figure_bytes

        files[f"figure.{figure}"] = figure_bytes(photo, prediction, figure, inspection=look)
    if arrays:
        from ktb.outputs.arrays import arrays_npz

        files["arrays.npz"] = arrays_npz(prediction, inspection=look)
    for name, data in files.items():
        (out / name).write_bytes(data)
    return [out / name for name in files]


def _tell(prediction: "Prediction", why: str) -> None:
    """Print the classes on stdout and warnings on stderr."""
    typer.echo(f"{prediction.model}, {prediction.seconds:.2f} s on {prediction.device}")
    typer.echo(f"computed by {prediction.runtime} in {prediction.precision}: {why}")
    if prediction.choice:
        typer.echo(f"chosen automatically: {prediction.choice}")
    typer.echo(f"X: {prediction.x.summary}")
    echo_warnings(prediction.warnings)
    rows = prediction.class_table()
    width = max(len("class"), *(len(row.name) for row in rows))
    typer.echo(f"{'class':<{width}}  share  confidence")
    for row in rows:
        typer.echo(f"{row.name:<{width}} {row.share:6.1%} {row.confidence:11.2f}")
