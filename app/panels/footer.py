"""The line below a result: checkpoint, device, time, sizes, and the download of the masks."""

from __future__ import annotations

import base64

from markupsafe import Markup

from app.html.templates import render
from app.results import Result
from ktb.outputs.files import result_zip


def footer(result: Result) -> Markup:
    """Which checkpoint, where, how fast, at which sizes; and everything as one download.

    The download is in the footer, or is made on request (`app.widgets.downloads`) if it takes seconds.
    """
    prediction = result.prediction
    height, width = result.rgb.shape[:2]
    archive = "" if prediction.is_lazy else base64.b64encode(result_zip(result.rgb, prediction)).decode()
    return render(
        "footer",
        prediction=prediction,
        device_why=result.device_why,
        width=width,
        height=height,
        network_width=prediction.network_hw[1],
        network_height=prediction.network_hw[0],
        archive=Markup(archive),  # nothing to escape in it
    )
