"""`python -m ktb encode`: encode X inputs as network images."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ktb.cli.batch import PairsList, Resume, Workers, find_pairs, print_outcome, shown
from ktb.cli.models import located
from ktb.cli.options import XFlags, echo_warnings, require_none, require_one

if TYPE_CHECKING:
    from ktb.config import InputConfig
    from ktb.inputs import EncodedX, XOptions
    from ktb.outputs.x_image import Format

_FOR = "Encoding"
_OUTPUT = "Output"
_MANY = "Batches of files"


def encode(
    x: Annotated[
        list[Path] | None,
        typer.Argument(metavar="X", help="The X input: one file, or several files of one input."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Output file, .png or .npy.", rich_help_panel=_OUTPUT)
    ] = None,
    sixteen_bit: Annotated[
        bool, typer.Option("--sixteen-bit", help="Write a 16-bit PNG.", rich_help_panel=_OUTPUT)
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Also write the report.", rich_help_panel=_OUTPUT),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Also write a preview of X.", rich_help_panel=_OUTPUT),
    ] = None,
    for_model: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="NAME_OR_FILE", help="Encode as this checkpoint expects.", rich_help_panel=_FOR
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Encoder, if not the default of --modality.", rich_help_panel=_FOR),
    ] = None,
    max_metres: Annotated[
        float | None,
        typer.Option(help="Depth in metres that is mapped to 1, by default 10.", rich_help_panel=_FOR),
    ] = None,
    rgb: Annotated[
        Path | None,
        typer.Option(help="The RGB image; X is resized to its size.", rich_help_panel=_FOR),
    ] = None,
    x_dir: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="X files: a folder, a glob, or a pattern with {name}; repeatable if an X input has "
            "several files.",
            rich_help_panel=_MANY,
        ),
    ] = None,
    rgb_dir: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Their RGB images, which give the size.", rich_help_panel=_MANY),
    ] = None,
    pairs: PairsList = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for NAME.png of each and results.jsonl.", rich_help_panel=_MANY
        ),
    ] = None,
    npy: Annotated[
        bool, typer.Option("--npy", help="Write NAME.npy instead.", rich_help_panel=_MANY)
    ] = False,
    workers: Workers = None,
    resume: Resume = True,
    *,
    flags: XFlags,
) -> None:
    """Encode an X input of any kind as the 3-channel image of the network, and report its properties.

    The content of an image cannot be detected: name the checkpoint (--for) or the modality.

    One input: encode depth.png --modality hha --out hha.png

    A batch: encode --x-dir depth --modality hha --out-dir hha
    """
    sources = {"X": bool(x), "--x-dir": bool(x_dir), "--pairs": pairs is not None}
    is_many = require_one(sources, "the X input") != "X"
    if pairs is not None:
        require_none({"--rgb-dir": rgb_dir is not None}, "the list of --pairs names the RGB images")
    other = {"--out": out, "--report": report, "--preview": preview, "--rgb": rgb}
    if not is_many:
        other = {"--out-dir": out_dir, "--rgb-dir": rgb_dir, "--npy": npy or None}
    many = "--x-dir" if pairs is None else "--pairs"
    remedy = f"is for one X; with {many} give --out-dir" if is_many else "is for --x-dir; with X give --out"
    require_none({flag: value is not None for flag, value in other.items()}, remedy)
    if is_many and out_dir is None:
        raise ValueError(f"{many}: give --out-dir DIR, the folder for the images.")
    if not is_many and (out is None or out.suffix.lower() not in (".png", ".npy")):
        raise ValueError(f"--out {'is missing' if out is None else out}: give a file ending in .png or .npy.")
    options = flags.to_options()
    if options.matrix or options.calibration:
        flag = {"--rgb-dir": rgb_dir, "--pairs": pairs} if is_many else {"--rgb": rgb}
        require_one({name: place is not None for name, place in flag.items()}, "X is to be aligned")
    inputs = _inputs(for_model, encoding, max_metres, options)
    if not is_many:
        kind = _kind(out.suffix.lower() == ".npy", sixteen_bit)
        _encode_one(x, rgb, inputs, options, {"out": out, "report": report, "preview": preview}, kind)
        return

    from ktb.batch.encode import encode_pairs

    kind = _kind(npy, sixteen_bit)
    matched = find_pairs(rgb_dir, x_dir, [out_dir], pairs)
    with shown(matched, workers, resume) as running:
        outcome = encode_pairs(matched.pairs, out_dir, inputs, kind=kind, options=options, running=running)
    print_outcome(outcome, out_dir, "encoded")


def _kind(npy: bool, sixteen_bit: bool) -> "Format":
    if npy and sixteen_bit:
        raise ValueError("--sixteen-bit is for PNG; .npy keeps the exact values.")
    return "npy" if npy else "png16" if sixteen_bit else "png"


def _inputs(
    for_model: str | None, encoding: str | None, max_metres: float | None, options: "XOptions"
) -> "InputConfig | None":
    """The input configuration to encode for; None if nothing specifies it."""
    if for_model is not None:
        require_none(
            {"--encoding": encoding is not None, "--max-metres": max_metres is not None},
            "set by the checkpoint of --for",
        )
        from ktb.checkpoints.load import load_official
        from ktb.checkpoints.metadata import OFFICIAL_SUFFIXES, read_header

        path = located(for_model)
        is_official = path.suffix in OFFICIAL_SUFFIXES
        return (load_official(path).config if is_official else read_header(path)[0]).inputs

    from ktb.config import InputConfig
    from ktb.modalities import DEFAULT_ENCODINGS, MODALITIES

    modality = None if options.modality == "auto" else options.modality
    if modality is None and encoding is not None:
        owners = [name for name, info in MODALITIES.items() if encoding in info.encodings]
        modality = owners[-1] if owners else "other"  # the last modality of the encoding "image" is "other"
    if modality is None:
        require_none({"--max-metres": max_metres is not None}, "needs --modality depth")
        return None
    more = {} if max_metres is None else {"max_metres": max_metres}
    return InputConfig(modality=modality, encoding=encoding or DEFAULT_ENCODINGS[modality], **more)


def _encode_one(
    x: list[Path],
    rgb: Path | None,
    inputs: "InputConfig | None",
    options: "XOptions",
    targets: dict[str, Path | None],
    kind: "Format",
) -> None:
    from PIL import Image

    from ktb.batch.encode import encode_file
    from ktb.inputs import read_rgb, read_x
    from ktb.outputs.x_image import x_file, x_report
    from ktb.utils.files import write_atomically

    for target in filter(None, targets.values()):
        if not target.parent.is_dir():
            raise ValueError(f"the folder {target.parent} does not exist; create it first.")
    raw = read_x(x, options=options if inputs is None else options.as_trained(inputs))
    reading = encode_file(raw, inputs, None if rgb is None else read_rgb(rgb), options)
    contents, rule = x_file(reading, kind)
    report = x_report(reading, rule)
    write_atomically(targets["out"], lambda path: path.write_bytes(contents))
    if targets["report"]:
        text = json.dumps({"x": [str(path) for path in x], **report}, indent=2) + "\n"
        write_atomically(targets["report"], lambda path: path.write_text(text, encoding="utf-8"))
    if targets["preview"]:
        picture = Image.fromarray(reading.preview)
        write_atomically(targets["preview"], lambda path: picture.save(path, "PNG"))
    _tell(reading, report)
    for target in filter(None, targets.values()):
        typer.echo(f"wrote {target}" + f" (value = {rule})" * (target == targets["out"]))


def _tell(reading: "EncodedX", report: dict) -> None:
    """Print the report on stdout and warnings on stderr."""
    rows = dict(reading.facts)
    rows["encoded as"] = f"{reading.encoding}, for {reading.modality}"
    rows["image"] = "{width} x {height}".format_map(report["size"])
    if report["filled_share"]:
        rows["filled"] = f"{report['filled_share']:.1%} of the pixels, from the nearest measurement"
    channels = ["{min:.3f} / {mean:.3f} / {max:.3f}".format_map(values) for values in report["channels"]]
    if len(set(channels)) == 1:
        rows["each channel"] = f"{channels[0]} (min / mean / max)"
    else:
        rows |= {f"channel {n}": f"{text} (min / mean / max)" for n, text in enumerate(channels, 1)}
    typer.echo(f"X: {reading.summary}")
    width = max(map(len, rows))
    for title, text in rows.items():
        typer.echo(f"  {title:<{width}}  {text}")
    echo_warnings(report["warnings"])
