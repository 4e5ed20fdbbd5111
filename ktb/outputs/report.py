"""Report of one run as a self-contained, printable HTML file with the viewer inside."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ktb.analysis import Inspection, LevelMaps
from ktb.analysis.color_range import map_scale
from ktb.analysis.describe import describe_level
from ktb.config import BRANCHES, HEADS
from ktb.inference.prediction import Drop, Prediction
from ktb.outputs.bundle import make_bundle
from ktb.outputs.embed import viewer_parts
from ktb.outputs.files import OVERLAY_OPACITY, png_bytes, tagged
from ktb.utils.text import percent
from ktb.visualize import outline_boundaries, overlay, scalar_to_colors

MAX_SIDE = 1000  # longer side of an image in the report in pixels
CITATION = (
    "Cai et al.: Keep the Balance: A Parameter-Efficient Symmetrical Framework for RGB+X Semantic "
    "Segmentation. CVPR 2025, pp. 10587-10598."
)
STYLE = """
:root { color-scheme: light dark; --ink: #1d2026; --soft: #5b6270; --paper: #fff; --line: #d9dce2;
  --note: #fdf1e5; --rgb: #2f74c0; --x: #c65f12; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --soft: #9aa2b1; --paper: #15181d;
  --line: #333943; --note: #33261a; --rgb: #7fb2e8; --x: #f0a066; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.2rem 3rem; max-width: 1080px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
p, td, dd, pre { overflow-wrap: anywhere; } .soft, figcaption, th { color: var(--soft); }
.grid { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 240px), 1fr)); }
.two { grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); }
.three { grid-template-columns: repeat(3, minmax(0, 1fr)); }
figure { margin: 0; break-inside: avoid; }
img { display: block; width: 100%; height: auto; border-radius: 6px; }
figcaption { font-size: .85rem; margin-top: .3rem; } figcaption b { color: var(--ink); }
.note { margin: .5rem 0; padding: .5rem .9rem; background: var(--note); border-left: 4px solid var(--x); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; } tr { break-inside: avoid; }
th, td { text-align: left; padding: 3px 8px 3px 0; border-bottom: 1px solid var(--line); font-weight: 400; }
.num { text-align: right; font-variant-numeric: tabular-nums; }
td.num { white-space: nowrap; }
.chip { display: inline-block; width: 13px; height: 13px; margin-right: 8px; border-radius: 3px;
  vertical-align: -1px; border: 1px solid rgba(127, 127, 127, .5); print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
dl { display: grid; grid-template-columns: minmax(6rem, auto) minmax(0, 1fr); gap: .2rem 1rem;
  margin: .8rem 0; font-size: .9rem; } dt { color: var(--soft); } dd { margin: 0; }
.bar { max-width: 460px; margin: .9rem auto 0; } .bar img { height: 16px; border-radius: 3px; }
.bar div { display: flex; justify-content: space-between; font-size: .82rem; }
pre { white-space: pre-wrap; padding: .7rem .9rem; border: 1px solid var(--line); border-radius: 6px;
  font: .84rem/1.45 ui-monospace, Consolas, monospace; }
@media (max-width: 600px) { .four { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  th, td { padding-right: 5px; font-size: .82rem; } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --paper: #fff; --line: #bbb;
  --note: #fff; --rgb: #114689; --x: #7b3305; } @page { margin: 14mm; }
  body { padding: 0; max-width: none; font-size: 10.5pt; } h2 { break-after: avoid; }
  .two { grid-template-columns: repeat(2, 1fr); }
  .four { grid-template-columns: repeat(4, 1fr); } }
"""


def report_html(
    rgb: np.ndarray,
    prediction: Prediction,
    *,
    card: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    inspection: Inspection | None = None,
    ablated: Mapping[Drop, Prediction] | None = None,
    viewer: bool = True,
) -> str:
    """Write the report of one run as HTML.

    Args:
        rgb: (H, W, 3) uint8, the RGB image of the prediction.
        card: the checkpoint's card; its scalar entries are shown.
        settings: settings of the run, shown as JSON; the viewer opens on their `view`.
        inspection: an inspection of this prediction, whose cached maps are reused.
        ablated: predictions of the same pair with a sensor ablated, for the viewer.
        viewer: include the viewer and its bundle, which need JavaScript; without, the file has no script.

    Returns:
        A complete HTML document, which loads nothing; all text from files is escaped.
    """
    if prediction.trace and inspection is None:
        inspection = Inspection(prediction)
    (height, width), (inner_h, inner_w) = rgb.shape[:2], prediction.network_hw
    name = html.escape(prediction.model)
    section, style, scripts = "", "", "'none'"
    if viewer:
        bundle = make_bundle(rgb, prediction, inspection=inspection, ablated=ablated)
        if settings and settings.get("view"):
            bundle = replace(bundle, header={**bundle.header, "show": settings["view"]})
        section, style, scripts = viewer_parts(bundle)
    parts = [
        f"<header><h1>Segmentation by {name}</h1>"
        f'<p class="soft">An RGB image and X, segmented by KTB: {width} × {height} pixels, in the network '
        f"{inner_w} × {inner_h}, {prediction.seconds:.2f} s on {html.escape(prediction.device)}.</p>"
        f"{_chosen(prediction)}{_notes(prediction.warnings)}</header>",
        _section("Viewer", section) if viewer else "",
        _section("Inputs", _inputs(rgb, prediction)),
        _section("Result", _result(rgb, prediction)),
        _section("Predictions of the heads", _branches(prediction)),
        _section("Fusion: sensor balance per position", _fusion(prediction, inspection)),
        _section("Classes", _classes(prediction)),
        _section("Checkpoint", _facts(_plain_lines(card or {})) or '<p class="soft">It has no card.</p>'),
        _section("Settings", _settings(settings)) if settings is not None else "",
        _section("How to cite", f"<p>{html.escape(CITATION)}</p><p>Name the checkpoint with it: {name}.</p>"),
    ]
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {scripts}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>KTB: {name}</title><style>{STYLE}{style}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _chosen(prediction: Prediction) -> str:
    if not prediction.choice:
        return ""
    return f'<p class="soft">The checkpoint was chosen automatically: {html.escape(prediction.choice)}.</p>'


def _inputs(rgb: np.ndarray, prediction: Prediction) -> str:
    reading = prediction.x
    photo = _figure(_photo(rgb, "RGB image"), "RGB image", f"{rgb.shape[1]} × {rgb.shape[0]}")
    if reading.origin == "missing":
        alone = "There was no X: the network ran on the RGB image alone, with zero tokens in its place."
        return f'<div class="grid two">{photo}</div><p>{alone}</p>'
    preview = tagged(_smaller(reading.preview), reading.origin)
    x = _figure(_photo(preview, "X as it was read"), f"X: {reading.modality}", reading.summary)
    facts = {"origin": reading.origin, "encoding": reading.encoding, **reading.facts}
    return f'<div class="grid two">{photo}{x}</div>{_facts(facts)}'


def _result(rgb: np.ndarray, prediction: Prediction) -> str:
    mask = prediction.colors("fused")
    is_outside = bool(prediction.ribbon)
    blended = tagged(_smaller(overlay(rgb, mask, OVERLAY_OPACITY)), prediction.x.origin, is_outside)
    over = _figure(_mask(blended, "fused mask over the RGB image", prediction), "Over the RGB image", "")
    plain = _mask(_smaller(mask, smooth=False), "fused mask", prediction)
    return f'<div class="grid two">{over}{_figure(plain, "Fused mask", "colours: see Classes")}</div>'


def _branches(prediction: Prediction) -> str:
    figures = []
    for branch in BRANCHES:
        share = float(np.mean(prediction.labels[branch] == prediction.labels["fused"]))
        note = "the result" if branch == "fused" else f"{percent(share)} of the pixels as fused"
        if branch == "x" and prediction.x.origin == "missing":
            note = "there was no X: its input was zero tokens and prompts from the RGB image"
        image = _mask(_smaller(prediction.colors(branch), smooth=False), f"{branch} mask", prediction)
        figures.append(_figure(image, HEADS[branch], note))
    hint = (
        "The RGB head and the X head each use one stream, but the prompts pass information between the "
        "streams: a head's mask is not what the network would predict without the other sensor."
    )
    return f'<div class="grid three">{"".join(figures)}</div><p class="soft">{hint}</p>'


def _fusion(prediction: Prediction, inspection: Inspection | None) -> str:
    if inspection is None:
        return "<p>There is no attention to show: the checkpoint fuses by a plain mean.</p>"
    levels = inspection.all_maps()
    if inspection.x_is_missing:
        said = "There was no X, so no map says where it contributed."
        return f"<p>{said}</p>{''.join(map(_level_words, levels))}"
    scale = map_scale("balance", levels)
    labels = _smaller(prediction.labels["fused"], smooth=False)
    figures, words = [], []
    for maps in levels:
        balance = cv2.resize(maps.balance, labels.shape[::-1], interpolation=cv2.INTER_LINEAR)
        image = _mask(
            outline_boundaries(labels, scale.colors(balance), (70, 70, 76)),
            f"balance, level {maps.level}",
            prediction,
        )
        note = scale.describe_beyond(maps.balance) + ("; uniform attention" if maps.is_uniform else "")
        figures.append(_figure(image, f"Level {maps.level}", note))
        words.append(_level_words(maps))
    ramp = np.repeat(scalar_to_colors(np.linspace(0, 1, 255), 0, 1, "diverging")[None], 4, axis=0)
    bar = (
        f'<div class="bar">{_img(png_bytes(ramp, prediction.model), "png", "colour scale", ramp)}'
        f"<div><span>{scale.low:.2f} RGB image</span><span>0.50</span><span>X {scale.high:.2f}</span>"
        "</div></div>"
    )
    hint = (
        "Balance: fraction of each position's attention on X, mean over the heads. Colour range: "
        f"{scale.rule}. Attention is not the whole fusion: the rest of the fused feature is convolved "
        "from both streams together."
    )
    return f'<div class="grid four">{"".join(figures)}</div>{bar}{"".join(words)}<p class="soft">{hint}</p>'


def _level_words(maps: LevelMaps) -> str:
    said = html.escape(describe_level(maps, "X"))
    return f"<p><b>Level {maps.level}</b>, one position every {maps.stride} pixels: {said}</p>"


def _classes(prediction: Prediction) -> str:
    shares = {b: {row.index: row.share for row in prediction.class_table(b)} for b in ("rgb", "x")}
    rows = "".join(
        f'<tr><td><span class="chip" style="background:rgb{row.color}"></span>{html.escape(row.name)}</td>'
        f'<td class="num">{percent(row.share)}</td><td class="num">{row.confidence:.2f}</td>'
        + "".join(f'<td class="num">{percent(shares[b].get(row.index, 0.0))}</td>' for b in ("rgb", "x"))
        + "</tr>"
        for row in prediction.class_table("fused")
    )
    return (
        '<table><thead><tr><th>class of the fused mask</th><th class="num">share</th>'
        '<th class="num">mean confidence</th><th class="num">RGB head</th><th class="num">X head</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _settings(settings: Mapping[str, Any]) -> str:
    return f"<pre>{html.escape(json.dumps(settings, indent=2, ensure_ascii=False))}</pre>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _notes(warnings: Sequence[str]) -> str:
    return "".join(f'<p class="note">{html.escape(text)}</p>' for text in dict.fromkeys(warnings))


def _facts(facts: Mapping[str, Any]) -> str:
    lines = "".join(f"<dt>{html.escape(str(k))}</dt><dd>{html.escape(str(v))}</dd>" for k, v in facts.items())
    return f"<dl>{lines}</dl>" if lines else ""


def _plain_lines(card: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key.replace("_", " "): value for key, value in card.items() if isinstance(value, str | int | float)
    }


def _smaller(image: np.ndarray, smooth: bool = True) -> np.ndarray:
    scale = MAX_SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST_EXACT)


def _photo(image: np.ndarray, alt: str) -> str:
    shown, buffer = _smaller(image), io.BytesIO()
    Image.fromarray(shown).save(buffer, format="jpeg", quality=90)
    return _img(buffer.getvalue(), "jpeg", alt, shown)


def _mask(image: np.ndarray, alt: str, prediction: Prediction) -> str:
    return _img(png_bytes(image, prediction.model, origin=prediction.x.origin), "png", alt, image)


def _img(data: bytes, kind: str, alt: str, image: np.ndarray) -> str:
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    size = f'width="{image.shape[1]}" height="{image.shape[0]}"'
    return f'<img alt="{html.escape(alt)}" {size} src="{source}">'


def _figure(image: str, title: str, note: str) -> str:
    said = f"<b>{html.escape(title)}</b> {html.escape(note)}"
    return f"<figure>{image}<figcaption>{said}</figcaption></figure>"
