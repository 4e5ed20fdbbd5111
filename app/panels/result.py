"""The result tab: the fused mask over the photograph, its legend, the download and the footer."""

from __future__ import annotations

import base64
import html
import io
import zipfile

from app.panels.x_input import warnings_box
from app.pictures import display_size, image_tag
from app.service import Result
from ktb.outputs import result_files
from ktb.prediction import ClassRow


def result_panel(result: Result) -> str:
    """Photograph and mask as two layers (opacity is CSS), and the legend beside them."""
    photo = image_tag(display_size(result.rgb), "photograph", css_class="ktb-photo")
    prediction = result.prediction
    colors = display_size(prediction.colors("fused"), smooth=False)
    mask = image_tag(colors, "fused mask", prediction.model, css_class="ktb-mask")
    rows = "".join(_legend_row(row) for row in prediction.class_table("fused"))
    said = warnings_box(prediction.x.warnings)
    return f"""{said}<div class="ktb-result"><div class="ktb-layers">{photo}{mask}</div>
<div class="ktb-legend"><h4>Present classes</h4>
<table><thead><tr><th></th><th>class</th><th class="num">share</th>
<th class="num" title="mean probability that the network gave this class">confidence</th></tr></thead>
<tbody>{rows}</tbody></table></div></div>"""


def _legend_row(row: ClassRow) -> str:
    color = "#{:02x}{:02x}{:02x}".format(*row.color)
    return (
        f'<tr><td><span class="ktb-chip" style="background:{color}"></span></td>'
        f"<td>{html.escape(row.name)}</td>"
        f'<td class="num">{_percent(row.share)}</td><td class="num">{row.confidence:.2f}</td></tr>'
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "&lt; 0.1 %"


def footer(result: Result) -> str:
    """Which checkpoint, where, how fast, at which sizes; and everything as one download."""
    prediction = result.prediction
    height, width = result.rgb.shape[:2]
    parts = [
        f"checkpoint <b>{html.escape(prediction.model)}</b>",
        f"{prediction.seconds:.2f} s on {html.escape(prediction.device)}",
        f"photograph {width}×{height}, network {prediction.network_hw[1]}×{prediction.network_hw[0]}",
        f"X: {html.escape(prediction.x.summary)}",
    ]
    archive = base64.b64encode(_zip(result)).decode()
    name = html.escape(f"{prediction.model}-masks.zip")
    return (
        f'<div class="ktb-footer"><span>{"</span><span>".join(parts)}</span>'
        f'<a class="ktb-download" download="{name}" href="data:application/zip;base64,{archive}">'
        f"Download masks (ZIP)</a></div>"
    )


def _zip(result: Result) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # PNGs do not compress further
        for name, contents in result_files(result.rgb, result.prediction).items():
            archive.writestr(name, contents)
    return buffer.getvalue()
