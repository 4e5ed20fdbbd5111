"""The sequence tab's HTML: progress with the latest frame, and the results with a plot over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from app.html.images import display_size, image_tag
from app.html.templates import render
from app.panels.x_input import error_box, warnings_box
from ktb.video.run import SequenceResult
from ktb.video.table import FrameRecord

EMPTY = """<div class="ktb-empty"><b>No video yet</b>
<span>Upload a zip with a folder <i>rgb</i> and a folder <i>x</i> of equally named frames, or a video of
RGB images and the one of X that belongs to it, and press <i>Run all frames</i>. You get a video, a table
with a row per frame, and the share of each class over time.</span></div>"""
WAITING = """<div class="ktb-empty" role="status"><b>Waiting for its turn</b>
<span>Another visitor's video is running; yours starts when it ends. Single runs are not held up.</span>
</div>"""
MAX_COLUMNS = 300  # of the plot; more frames are averaged
MAX_CLASSES = 8  # with a colour of their own in the plot
MAX_NAME = 80  # letters of a frame's name
_WIDTH, _HEIGHT = 900, 240
_CONTAINERS = {".webm": "WebM", ".mp4": "MP4"}
_PLAYED = ("VP8", "H.264")  # by browsers
_OTHER = (154, 161, 171)


def progress_panel(
    record: FrameRecord | None, total: int | None, failed: int, seconds: float, checkpoint: str
) -> Markup:
    """How far a video is, and its latest frame. total: None where the video does not say."""
    done = 0 if record is None else record.index + 1
    picture = Markup()
    if record is not None:
        alt = f"frame {record.index}: {record.name}" + (" (failed)" if record.error else "")
        picture = image_tag(display_size(record.picture), alt, checkpoint)
    return render(
        "video_progress",
        done=done,
        total=total,
        done_percent=100 * done / total if total else 0.0,
        each=f"{seconds / done:.2f} s a frame" if done else "starting",
        left=_clock((total - done) * seconds / done) if total and done else "",
        failed=failed,
        picture=picture,
    )


def result_panel(
    result: SequenceResult,
    classes: Sequence[str],
    shares: np.ndarray,
    palette: Sequence[tuple[int, int, int]],
    failures: Sequence[str],
    names: Sequence[str],
) -> Markup:
    """The video with a slider over its frames, the downloads and the plot of a video.

    Args:
        shares: (frames, K), NaN for failed frames; palette: K colours.
        failures: what is said of the first failed frames.
        names: what is said of each frame.
    """
    if not result.frames:
        return error_box("The run was stopped before its first frame." if result.stopped
                         else "There is no frame in the video.")  # fmt: skip
    videos = [(path, f"{_CONTAINERS[path.suffix]} ({codec})") for path, codec in result.videos.items()]
    files = (*videos, (result.table, "Table (CSV)"), (result.report, "Report (JSON)"))
    plays = [path for path, codec in result.videos.items() if codec in _PLAYED]
    cut = [name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…" for name in names]
    counted = [f"({times} of {result.frames}) {text}" for text, times in result.warnings.items()]
    return render(
        "video_result",
        result=result,
        seconds=result.seconds / result.frames,
        warnings=warnings_box([*result.notes, *failures, *counted]),
        video=_address(plays[0]) if plays else "",
        names=json.dumps(cut),
        first=cut[0],
        codec_notes=result.codec_notes,
        links=[{"address": _address(path), "text": text} for path, text in files],
        plot=shares_plot(classes, shares, palette),
    )


def shares_plot(
    classes: Sequence[str], shares: np.ndarray, palette: Sequence[tuple[int, int, int]]
) -> Markup:
    """Shares of the largest classes over time, stacked, as inline SVG; gaps where frames failed."""
    frames = len(shares)
    if not np.isfinite(shares).any():
        return Markup()
    columns = np.array_split(shares, min(frames, MAX_COLUMNS))
    known = [part[np.isfinite(part).all(axis=1)] for part in columns]
    means = np.stack([part.mean(axis=0) if len(part) else np.full(len(classes), np.nan) for part in known])
    overall = np.nanmean(means, axis=0)
    order = [int(i) for i in np.argsort(-overall, kind="stable")[:MAX_CLASSES] if overall[i] > 0]
    rest = [i for i in range(len(classes)) if i not in order and overall[i] > 0]
    parts = [(classes[i], palette[i], means[:, i]) for i in order]
    if rest:
        parts.append((f"{len(rest)} more", _OTHER, means[:, rest].sum(axis=1)))
    floor, bands = np.zeros(len(means)), []
    for name, color, values in parts:
        path = _steps(floor, floor + values)
        bands.append({"name": name, "color": color, "path": path, "mean": float(np.nanmean(values))})
        floor = floor + values
    return render(
        "video_plot",
        width=_WIDTH,
        height=_HEIGHT,
        frames=frames,
        bands=bands,
        averaged=len(columns[0]) if frames > MAX_COLUMNS else 0,
    )


def _steps(low: np.ndarray, high: np.ndarray) -> str:
    """A path around every run of columns that have values."""
    width = _WIDTH / len(low)
    path, start = [], None
    for i in range(len(low) + 1):
        has_value = i < len(low) and np.isfinite(high[i])
        if has_value and start is None:
            start = i
        if not has_value and start is not None:
            span = range(start, i)
            upper = [f"{x * width:.1f},{(1 - high[k]) * _HEIGHT:.1f}" for k in span for x in (k, k + 1)]
            lower = [
                f"{x * width:.1f},{(1 - low[k]) * _HEIGHT:.1f}" for k in reversed(span) for x in (k + 1, k)
            ]
            path.append(f"M{' L'.join(upper + lower)}Z")
            start = None
    return "".join(path)


def _address(path) -> str:
    """Relative, so that it holds behind a proxy."""
    return f"gradio_api/file={quote(str(path))}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
