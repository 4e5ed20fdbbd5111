"""The line below a result: checkpoint, device, time, sizes, and the download of the masks."""

from __future__ import annotations

from markupsafe import Markup

from app.html.templates import render
from app.results import Result


def footer(result: Result) -> Markup:
    """Which checkpoint, where, how fast, at which sizes; and the button of `app.widgets.downloads`."""
    prediction = result.prediction
    height, width = result.rgb.shape[:2]
    return render(
        "footer",
        prediction=prediction,
        device_why=result.device_why,
        width=width,
        height=height,
        network_width=prediction.network_hw[1],
        network_height=prediction.network_hw[0],
    )
