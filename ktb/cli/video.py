"""`python -m ktb sequence`: segment a video frame by frame."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ktb.cli.models import located
from ktb.cli.options import (
    DeviceFlag,
    PrecisionFlag,
    RuntimeFlag,
    XFlags,
    chosen_device,
    echo_warnings,
    require_one,
)

if TYPE_CHECKING:
    from ktb.video.run import FrameRecord


def sequence(
    rgb: Annotated[
        str,
        typer.Option(
            metavar="PATTERN_OR_VIDEO",
            help="A folder, a glob, a pattern such as 'photos/{name}_rgb.png', a video, or a zip of both.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    x: Annotated[str | None, typer.Option(metavar="PATTERN_OR_VIDEO", help="X files, like --rgb.")] = None,
    no_x: Annotated[bool, typer.Option("--no-x", help="Run on the RGB images alone.")] = False,
    model: Annotated[str | None, typer.Option(help="Name, file or hf://…; see `models`.")] = None,
    short_side: Annotated[int | None, typer.Option(help="Shorter side in the network, pixels.")] = None,
    device: DeviceFlag = "auto",
    fps: Annotated[
        float | None, typer.Option(help="Frame rate of the result; by default that of the input, or 10.")
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            metavar="VIEW,...",
            help="Views from left to right: photo, x, overlay, mask, balance.",
        ),
    ] = "overlay,mask,balance",
    opacity: Annotated[float, typer.Option(help="Opacity of the mask over the RGB image, 0 to 1.")] = 0.6,
    container: Annotated[
        Literal["webm", "mp4", "both"],
        typer.Option(help="webm (VP8), mp4 (H.264 if there is an encoder, such as ffmpeg's), or both."),
    ] = "webm",
    runtime: RuntimeFlag = "auto",
    precision: PrecisionFlag = "float32",
    *,
    flags: XFlags,
) -> None:
    """Segment a video and write a result video, a table with a row per frame, and a report.

    Two folders: sequence --rgb photos --x depth --out result

    Two videos: sequence --rgb day.mp4 --x thermal.mp4 --out result

    The RGB images alone: --no-x in place of --x. A zip archive as --rgb contains both: a folder rgb and a
    folder x. Ctrl-C stops and leaves a playable video and a complete table of the frames so far.
    """
    is_zip = rgb.lower().endswith(".zip")
    if not (is_zip and x is None and not no_x):
        require_one({"--x": x is not None, "--no-x": no_x}, "X")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder.")
    x_options = flags.to_options()

    from ktb.checkpoints.load import load_model
    from ktb.cli.progress import Progress
    from ktb.inference.predictor import Predictor
    from ktb.video.run import SequenceOptions, open_frames, run_sequence

    views = tuple(view.strip() for view in layout.split(",") if view.strip())
    options = SequenceOptions(x_options, fps, views, opacity, container)
    device = chosen_device(device, runtime)
    predictor = Predictor(load_model(located(model), device), short_side, runtime, precision)
    frames = open_frames(rgb, x, predictor.x_options(x_options), with_x=not no_x)
    progress = Progress(unit="frame")
    progress.start(frames.length)

    def count(record: "FrameRecord") -> None:
        status = "done" if record.error is None else "failed"
        progress.count({"name": record.name, "status": status, "error": record.error})

    try:
        result = run_sequence(predictor, frames, out, options, count)
    except KeyboardInterrupt:
        progress.close()
        typer.echo(f"Stopped: the video and the table in {out} end with the last frame.", err=True)
        raise typer.Exit(130) from None
    progress.close()
    echo_warnings([*result.notes, *result.codec_notes])
    for warning, times in result.warnings.items():
        echo_warnings([f"({times} of {result.frames}) {warning}"])
    typer.echo(f"{result.checkpoint}, {result.frames} frames, {result.failed} failed, {result.seconds:.1f} s")
    codecs = {path: f" ({codec})" for path, codec in result.videos.items()}
    for path in (*result.videos, result.table, result.report):
        if path.is_file():
            typer.echo(f"wrote {path}{codecs.get(path, '')}")
    if result.failed:
        raise typer.Exit(1)
