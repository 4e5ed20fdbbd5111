"""Simulate the events of a hand-held camera from one RGB image.

The RGB image is warped along a short, smooth, random path. Each pixel stores the log intensity of its last
event and fires when the intensity has changed by its contrast threshold, at the linearly interpolated time.
This is the principle of ESIM (Rebecq et al. 2018) with warping instead of rendering. The path ends at the
identity: the window ends at the time of the RGB image, so the latest events lie on its edges.
"""

from dataclasses import dataclass, fields

import cv2
import numpy as np

from ktb.inputs import EventStream, event_frame

PATH_SAMPLES = 257
"""Number of exact points of the path; rendered positions are interpolated between them."""


@dataclass(frozen=True)
class EventOptions:
    """The camera, its motion and its noise. Ranges are (low, high); one uniform draw per RGB image."""

    duration_us: tuple[int, int] = (20_000, 50_000)
    shift_px: tuple[float, float] = (3.0, 8.0)  # length of the path of the image centre
    turn_degrees: tuple[float, float] = (
        60.0,
        150.0,
    )  # bend of the path, so that edges of every direction cause events
    rotation_degrees: float = 0.3  # largest roll at the start of the path, in either direction
    zoom: float = 0.005  # largest relative change of size at the start of the path
    step_px: float = 0.75  # largest motion of a corner between two rendered positions
    blur_px: float = 0.7  # standard deviation of the optical blur, which also removes compression noise
    margin_px: int = 0  # blank border of the RGB image, replaced by a reflection of the interior
    gamma: float = 2.2  # exponent that converts grey values to linear light
    dark_level: float = (
        0.01  # added to the light in [0, 1] before the logarithm: dark areas have less contrast
    )
    threshold: float = 0.2  # change of log intensity that causes an event
    threshold_spread: float = 0.03  # its standard deviation between pixels
    refractory_us: float = 0.0  # time without events of a pixel after one
    noise_hz: float = 0.5  # background events per pixel and second
    hot_share: float = 5e-5  # fraction of hot pixels, which fire without a cause
    hot_hz: float = 400.0  # events per second of a hot pixel

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = value if isinstance(value, tuple) else (value, value)
            if not 0 <= low <= high < np.inf:
                raise ValueError(f"{field.name} {value}: give numbers of at least 0, the lower one first")
        for name, low in (("step_px", self.step_px), ("threshold", self.threshold), ("gamma", self.gamma)):
            if low <= 0:
                raise ValueError(f"{name} {low}: must be above 0")
        if self.dark_level <= 0:
            raise ValueError(f"dark_level {self.dark_level}: must be above 0, the logarithm of 0 is infinite")
        if self.duration_us[0] < 1:
            raise ValueError(f"duration_us {self.duration_us}: must be at least 1 microsecond")


def simulate_events(
    rgb: np.ndarray, rng: np.random.Generator, options: EventOptions = EventOptions()
) -> EventStream:
    """Events of a random camera motion that ends at the RGB image.

    Args:
        rgb: (H, W, 3) uint8.
        rng: draws the motion, the thresholds and the noise; equal states give equal streams.
        options: the camera, its motion and its noise.

    Returns:
        Events at the RGB image's size, sorted by time; t is int64 from 0 to the drawn duration.

    Raises:
        ValueError: an array of another shape or dtype.
    """
    stream, _ = _simulate(rgb, rng, options)
    return stream


def simulate_frame(
    rgb: np.ndarray, rng: np.random.Generator, options: EventOptions = EventOptions()
) -> tuple[np.ndarray, EventStream]:
    """(H, W, 3) uint8 `event_frame` of the whole simulated window, and its stream."""
    stream, duration = _simulate(rgb, rng, options)
    return event_frame(stream, (0, duration)), stream


def _simulate(rgb: np.ndarray, rng: np.random.Generator, options: EventOptions) -> tuple[EventStream, int]:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise ValueError(f"an RGB image of shape {rgb.shape}, {rgb.dtype}: give (H, W, 3) uint8 RGB")
    size_hw = rgb.shape[:2]
    duration = int(rng.integers(*options.duration_us, endpoint=True))
    times, motions = camera_path(size_hw, duration, rng, options)
    signal = log_intensity(rgb, options)
    pixel, t, polarity = _fire(signal, times, motions, rng, options)
    noise = _noise(size_hw, duration, rng, options)
    pixel, t, polarity = (np.concatenate(parts) for parts in zip((pixel, t, polarity), noise, strict=True))
    # 16-bit times sort several times faster
    t = np.clip(t, 0, duration).astype(np.min_scalar_type(duration))
    order = np.argsort(t, kind="stable")
    y, x = np.divmod(pixel[order].astype(np.int32), np.int32(size_hw[1]))
    return EventStream(x, y, t[order].astype(np.int64), polarity[order], size_hw), duration


def log_intensity(rgb: np.ndarray, options: EventOptions = EventOptions()) -> np.ndarray:
    """(H, W) float32 natural logarithm of the linear light of a (H, W, 3) uint8 RGB image."""
    light = (np.arange(256, dtype=np.float32) / 255) ** np.float32(options.gamma)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if margin := options.margin_px:
        if 4 * margin > min(grey.shape):
            raise ValueError(
                f"margin_px {margin}: at most a quarter of the RGB image's {min(grey.shape)} pixels"
            )
        inner = grey[margin:-margin, margin:-margin]
        grey = cv2.copyMakeBorder(inner, *[margin] * 4, cv2.BORDER_REFLECT_101)
    signal = light[grey]
    if options.blur_px:
        signal = cv2.GaussianBlur(signal, (0, 0), options.blur_px, borderType=cv2.BORDER_REFLECT_101)
    return cv2.log(signal + np.float32(options.dark_level))


def camera_path(
    size_hw: tuple[int, int], duration_us: int, rng: np.random.Generator, options: EventOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Times and affine maps of a smooth path; no corner moves more than step_px between two of them.

    Returns:
        (K,) float64 microseconds from 0 to duration_us, K ≥ 2, and (K, 2, 3) float64 maps from pixels of
        the rendered view to those of the RGB image; the last one is the identity.
    """
    height, width = size_hw
    progress = np.linspace(0, 1, PATH_SAMPLES)
    heading = rng.uniform(0, 2 * np.pi) + np.radians(
        rng.choice((-1, 1)) * rng.uniform(*options.turn_degrees)
    ) * (progress - 0.5)
    speed = 1 + rng.uniform(0, 0.5) * np.cos(2 * np.pi * progress + rng.uniform(0, 2 * np.pi))
    velocity = speed * np.exp(1j * heading)
    shift = _back_from_end(velocity, speed) * rng.uniform(*options.shift_px)
    roll = _wander(progress, rng) * np.radians(options.rotation_degrees)
    zoom = np.exp(_wander(progress, rng) * options.zoom)

    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    motions = np.empty((PATH_SAMPLES, 2, 3))
    motions[:, 0, 0] = motions[:, 1, 1] = zoom * np.cos(roll)
    motions[:, 1, 0] = zoom * np.sin(roll)
    motions[:, 0, 1] = -motions[:, 1, 0]
    motions[:, :, 2] = centre - motions[:, :, :2] @ centre + np.stack([shift.real, shift.imag], axis=-1)

    corners = np.array([[x, y, 1] for x in (0, width - 1) for y in (0, height - 1)])
    tracks = np.einsum("kij,cj->kci", motions, corners)
    moved = np.linalg.norm(np.diff(tracks, axis=0), axis=-1).max(axis=1)
    distance = np.concatenate([[0], np.cumsum(moved)])
    steps = max(1, int(np.ceil(distance[-1] / options.step_px)))
    # a camera at rest has no distance to divide by
    at = (
        np.interp(np.linspace(0, distance[-1], steps + 1), distance, progress)
        if moved.any()
        else progress[[0, -1]]
    )
    flat = motions.reshape(PATH_SAMPLES, 6)
    motions = np.stack([np.interp(at, progress, column) for column in flat.T], axis=-1).reshape(-1, 2, 3)
    motions[-1] = np.eye(2, 3)
    return at * duration_us, motions


def _back_from_end(velocity: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Positions along a path of length 1 that ends at 0."""
    middle = (velocity[1:] + velocity[:-1]) / 2
    position = np.concatenate([[0], np.cumsum(middle)]) / ((speed[1:] + speed[:-1]) / 2).sum()
    return position - position[-1]


def _wander(progress: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random value per time, of about -1 to 1 at the start and 0 at the end."""
    return rng.uniform(-1, 1) * (1 - progress) + rng.uniform(-0.3, 0.3) * np.sin(np.pi * progress)


def _fire(
    signal: np.ndarray,
    times: np.ndarray,
    motions: np.ndarray,
    rng: np.random.Generator,
    options: EventOptions,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat pixel, time and polarity of every threshold crossing while the camera moves along the path."""
    height, width = signal.shape
    spread = rng.standard_normal(signal.size, np.float32) * np.float32(options.threshold_spread)
    # a pixel with a threshold near 0 would fire without end
    threshold = np.maximum(np.float32(options.threshold) + spread, np.float32(options.threshold / 4))
    per_threshold = 1 / threshold
    silent_until = np.full(signal.size, -np.inf, np.float32) if options.refractory_us else None

    def view(motion: np.ndarray) -> np.ndarray:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(
            signal, motion, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101
        )
        return warped.ravel()

    before = view(motions[0])
    memory = before.copy()
    change = np.empty_like(memory)
    events = [(np.empty(0, np.intp), np.empty(0, np.float32), np.empty(0, bool))]
    for start, end, motion in zip(times[:-1], times[1:], motions[1:]):
        now = view(motion)
        np.subtract(now, memory, out=change)
        change *= per_threshold
        pixel = np.flatnonzero(np.abs(change) >= 1)
        crossings = np.trunc(change[pixel])
        sign = np.sign(crossings)
        # the first crossing and the distance of two crossings, as fractions of this step
        slope = now[pixel] - before[pixel]
        level, unit = memory[pixel] - before[pixel], sign * threshold[pixel]
        memory[pixel] += crossings * threshold[pixel]
        left = np.abs(crossings)
        number = 1
        while pixel.size:
            share = np.clip((level + number * unit) / slope, 0, 1)
            t = np.float32(start) + share * np.float32(end - start)
            if silent_until is None:
                events.append((pixel, t, sign > 0))
            else:
                heard = t >= silent_until[pixel]
                events.append((pixel[heard], t[heard], sign[heard] > 0))
                silent_until[pixel[heard]] = t[heard] + np.float32(options.refractory_us)
            number += 1
            more = left >= number
            pixel, sign, left = pixel[more], sign[more], left[more]
            level, unit, slope = level[more], unit[more], slope[more]
        before = now
    return tuple(np.concatenate(parts) for parts in zip(*events))


def _noise(
    size_hw: tuple[int, int], duration_us: int, rng: np.random.Generator, options: EventOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Background events of all pixels and events of a few hot pixels, in the form of `_fire`."""
    pixels, seconds = size_hw[0] * size_hw[1], duration_us / 1e6
    everywhere = rng.integers(pixels, size=rng.poisson(options.noise_hz * seconds * pixels))
    hot = rng.integers(pixels, size=rng.poisson(options.hot_share * pixels))
    hot_polarity = rng.random(hot.size) < 0.5
    fired = rng.poisson(options.hot_hz * seconds, hot.size)
    pixel = np.concatenate([everywhere, np.repeat(hot, fired)])
    polarity = np.concatenate([rng.random(everywhere.size) < 0.5, np.repeat(hot_polarity, fired)])
    return pixel, rng.uniform(0, duration_us, pixel.size).astype(np.float32), polarity
