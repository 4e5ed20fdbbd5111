"""`python -m ktb bench`: benchmark models on this machine."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from ktb.cli.models import located
from ktb.cli.options import DeviceFlag, chosen_device

_SCORED = "Labelled pairs, for the mean IoU of every runtime"


def bench(
    out: Annotated[Path, typer.Option(help="Folder for bench.json, bench.png and bench.svg.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="Built-in name, file, or swin-b, swin-l, lite (random weights). Repeatable."),
    ] = None,
    runtime: Annotated[
        list[str] | None, typer.Option(help="auto, eager, openvino, onnx, compile or cudagraph. Repeatable.")
    ] = None,
    precision: Annotated[list[str] | None, typer.Option(help="float32 or bfloat16. Repeatable.")] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HEIGHTxWIDTH", help="Size of the network's inputs, such as 480x640. Repeatable."
        ),
    ] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batch size. Repeatable.")] = None,
    rounds: Annotated[int, typer.Option(help="Number of rounds through all cases.")] = 5,
    threads: Annotated[
        int | None, typer.Option(help="Threads of PyTorch; by default its own choice.")
    ] = None,
    device: DeviceFlag = "auto",
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE.py", help="File whose make(model) returns the baseline's forward."),
    ] = None,
    rgb: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="RGB images.", rich_help_panel=_SCORED)
    ] = None,
    x: Annotated[str | None, typer.Option(metavar="PATTERN", help="X.", rich_help_panel=_SCORED)] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Label images.", rich_help_panel=_SCORED)
    ] = None,
    from_one: Annotated[
        bool,
        typer.Option("--from-one", help="Label k is class k - 1, 0 is unlabelled.", rich_help_panel=_SCORED),
    ] = False,
    frames: Annotated[int, typer.Option(help="Maximum number of pairs.", rich_help_panel=_SCORED)] = 50,
) -> None:
    """Benchmark models, runtimes, precisions, sizes and batch sizes, each in a fresh process.

    bench --model swin-b --runtime eager --runtime auto --size 480x640 --out bench

    All cases run in turn, round after round, so that ratios are valid on a busy machine too. Cases that
    cannot run here are skipped with the reason.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder.")
    sizes = [_height_width(text) for text in size or ["480x640"]]
    scored = {"--rgb": rgb, "--x": x, "--labels": labels}
    if any(scored.values()) and not all(scored.values()):
        missing = ", ".join(flag for flag, place in scored.items() if not place)
        raise ValueError(f"scoring needs --rgb, --x and --labels; {missing} is missing.")
    from ktb.inference.runtimes.base import CPU_RUNTIMES

    device = chosen_device(device, next((name for name in runtime or [] if name in CPU_RUNTIMES), "eager"))

    from ktb.bench import Frames, draw, make_cases, run_cases
    from ktb.bench.cases import RANDOM_MODELS
    from ktb.checkpoints.registry import DEFAULT_MODEL

    for name in set(model or []) - set(RANDOM_MODELS):
        located(name)
    _require_known(runtime or [], precision or [])
    cases = make_cases(
        model or [DEFAULT_MODEL],
        runtime or ["eager"],
        precision or ["float32"],
        sizes,
        batch or [1],
        device,
        threads,
        baseline,
    )
    numbering = "from_one" if from_one else "stored"
    results = run_cases(cases, rounds, Frames(rgb, x, labels, numbering, frames) if rgb else None, _tell)
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench.json").write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    draw(results, out / "bench.png", out / "bench.svg")
    for result in results["results"]:
        typer.echo(_line(result))
    typer.echo(f"wrote {out / 'bench.json'}, bench.png and bench.svg")


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _require_known(runtimes: list[str], precisions: list[str]) -> None:
    from typing import get_args

    from ktb.inference.runtimes import Precision, RuntimeName

    for flag, given, known in (
        ("--runtime", runtimes, get_args(RuntimeName)),
        ("--precision", precisions, get_args(Precision)),
    ):
        if wrong := [value for value in given if value not in known]:
            raise ValueError(f"{flag} {wrong[0]!r}: choose from {', '.join(known)}.")


def _height_width(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})\s*[xX]\s*(\d{1,5})", text.strip())
    if not match:
        raise ValueError(f"--size {text!r}: give height and width in pixels, such as 480x640")
    return int(match[1]), int(match[2])


def _line(result: dict[str, Any]) -> str:
    if "skipped" in result:
        return f"{result['name']}  skipped: {result['skipped']}"
    memory, parity = result["memory"]["process"], result["parity"]
    columns = [
        result["name"],
        f"{result['median']:.3f} s ({result['quartiles'][0]:.3f} to {result['quartiles'][1]:.3f})",
        f"{result['speedup']['median']:.2f}x",
        f"floor {result['floor_seconds']:.3f} s",
        "memory unknown" if memory is None else f"{memory / 1e9:.2f} GB",
        f"first result {result['first_result']:.1f} s",
        f"{100 * parity['equal_labels']:.2f} % of labels equal",
        f"largest difference {parity['largest_difference']:.1e}",
    ]
    if "score" in result:
        columns.append(f"mean IoU {result['score']['miou_change']:+.2f}")
    return "  ".join(columns)
