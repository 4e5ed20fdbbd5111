"""Faults of real sensors for training: depth with holes and noise, dark and blurred RGB images, misalignment.

All are drawn anew for each sample, with strengths from wide ranges. They are not the robustness suite
(`training.robustness`), which measures fixed levels. training/README.md section 7 says what overlaps.
"""

from functools import lru_cache

import cv2
import numpy as np

from ktb.inputs import fill_holes
from ktb.inputs.perturb import blurred, to_linear, to_srgb
from training.robustness.corruptions import motion_blur

WHITE = 255.0
MAX_TURN, MAX_ZOOM = 1.5, 0.02  # of a misaligned X: degrees, and the deviation of its scale from 1


def depth_faults(depth: np.ndarray, rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one or several faults of a depth camera.

    depth: (H, W) float32 in 0..255, 0 is missing; not modified. rgb: (H, W, 3) uint8, because dark and bright
    surfaces lose depth. Measured pixels are disturbed by noise, random values and coarse steps. Then pixels
    and areas go missing. They are 0, or filled by the nearest measurement as the page does.
    """
    measured = depth > 0
    out = depth.copy()
    if rng.random() < 0.4:
        out += _noise(depth, rng)
    if rng.random() < 0.25:
        hit = rng.random(depth.shape, np.float32) < _log_uniform(rng, 0.005, 0.3)
        out[hit] = WHITE * rng.random(int(hit.sum()), np.float32)
    if rng.random() < 0.3:
        out = _quantised(out, rng)
    out = np.where(measured, np.clip(out, 1, WHITE), 0)
    lost = np.zeros(depth.shape, bool)
    for probability, kind in ((0.35, _pixels), (0.3, _areas), (0.15, _blocks)):
        if rng.random() < probability:
            lost |= kind(depth.shape, rng)
    if rng.random() < 0.25:
        lost |= _shadows(depth, rng)
    if rng.random() < 0.15:
        lost |= _surfaces(rgb, rng)
    if rng.random() < 0.15:
        near, far = rng.uniform(5, 30), rng.uniform(60, 200)
        lost |= (depth < near) | (depth > far)
    lost &= measured
    kept = measured & ~lost
    out[lost] = 0
    if rng.random() < 0.35 and kept.any():
        out[lost] = fill_holes(np.where(kept, out, np.nan).astype(np.float32))[lost]
    return out.astype(np.float32)


def rgb_faults(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one or several faults of a colour camera: little light, noise, blur, a colour cast.

    rgb: (H, W, 3) uint8, not modified.
    """
    dark, soft, cast = rng.random(3) < (0.6, 0.45, 0.2)
    if soft and rng.random() < 0.6:
        rgb = blurred(rgb, _log_uniform(rng, 0.5, 4.5))
    elif soft:
        rgb = motion_blur(rgb, int(rng.integers(3, 22)), rng)
    if cast:
        gains = rng.uniform(0.75, 1.3, 3)
        table = np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8)
        rgb = np.stack([table[rgb[..., i], i] for i in range(3)], axis=-1)
    if dark or not soft:
        rgb = _exposed(rgb, rng)
    return rgb


def misaligned(modal_x: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """Move X by up to `pixels` in any direction, turn it a little and change its scale a little.

    modal_x: (H, W[, C]) float32. Each pixel takes the nearest one; the border is repeated.
    """
    height, width = modal_x.shape[:2]
    share = np.sqrt(rng.random())  # uniform over the disc
    angle = rng.uniform(0, 2 * np.pi)
    turn, zoom = rng.uniform(-1, 1, 2) * (MAX_TURN, MAX_ZOOM) * rng.random()
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, 1 + zoom)
    matrix[:, 2] += share * pixels * np.array([np.cos(angle), np.sin(angle)])
    return cv2.warpAffine(
        modal_x, matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _noise(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise that grows with depth; sometimes it is smooth over several pixels."""
    height, width = depth.shape
    cell = int(rng.choice((1, 1, 2, 6)))
    small = rng.standard_normal((-(-height // cell), -(-width // cell)), np.float32)
    noise = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) if cell > 1 else small
    growth = rng.choice((0.0, 1.0, 2.0))
    strength = np.float32(_log_uniform(rng, 0.5, 50)) * (depth / np.float32(WHITE * 0.3)) ** growth
    return noise * np.minimum(strength, 80).astype(np.float32)


def _quantised(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coarse steps: equal in depth, or equal in disparity and so growing with the square of the depth."""
    if rng.random() < 0.5:
        step = np.float32(rng.uniform(2, 16))
        return np.round(depth / step) * step
    steps = np.float32(_log_uniform(rng, 300, 3000))
    disparity = np.maximum(np.round(steps / np.maximum(depth, 1)), 1)
    return steps / disparity


def _pixels(size_hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Single pixels, or clumps of a few."""
    height, width = size_hw
    cell = int(rng.choice((1, 1, 2, 4)))
    small = rng.random((-(-height // cell), -(-width // cell)), np.float32) < rng.uniform(0.02, 0.85)
    lost = cv2.resize(small.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return lost > 0


def _areas(size_hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Areas with smooth outlines: a smooth random field above a quantile."""
    height, width = size_hw
    cells = rng.integers(3, 14)
    field = rng.standard_normal((cells, round(cells * width / height)), np.float32)
    limit = np.quantile(field, 1 - rng.uniform(0.03, 0.6))
    return cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) > limit


def _blocks(size_hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A few upright rectangles."""
    lost = np.zeros(size_hw, bool)
    for _ in range(rng.integers(1, 7)):
        height, width = (max(1, int(side * rng.uniform(0.05, 0.4))) for side in size_hw)
        top, left = rng.integers(0, size_hw[0] - height + 1), rng.integers(0, size_hw[1] - width + 1)
        lost[top : top + height, left : left + width] = True
    return lost


def _shadows(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Strips beside depth edges, on one side, as a projector beside the camera leaves them."""
    edge = np.zeros(depth.shape, np.uint8)
    edge[:, 1:] = np.abs(np.diff(depth, axis=1)) > rng.uniform(4, 15)
    width = int(rng.integers(2, 16))
    anchor = (0, 0) if rng.random() < 0.5 else (width - 1, 0)
    return cv2.dilate(edge, np.ones((1, width), np.uint8), anchor=anchor) > 0


def _surfaces(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The darkest or the brightest pixels, smoothed: surfaces that return too little light or mirror it."""
    grey = cv2.blur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (5, 5))
    share = rng.uniform(0.02, 0.3)
    if rng.random() < 0.5:
        return grey < np.quantile(grey[::4, ::4], share)
    return grey > np.quantile(grey[::4, ::4], 1 - share)


def _exposed(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Less light with shot and read noise; the camera's gain restores some of the brightness."""
    light = _log_uniform(rng, 0.04, 1.0)
    electrons, read_noise = _log_uniform(rng, 150, 6000), rng.uniform(0.5, 12)
    gain = light ** -(rng.random() if rng.random() < 0.5 else 0.0)
    linear, tones = _curves()
    mean = linear * np.float32(light)
    spread = np.sqrt(mean / electrons + (read_noise / electrons) ** 2).astype(np.float32)
    noise = rng.standard_normal(rgb.shape, np.float32)
    values = (mean * gain)[rgb] + (spread * gain)[rgb] * noise
    steps = len(tones) - 1
    return tones[np.clip(values * steps, 0, steps).astype(np.int32)]


@lru_cache(maxsize=1)
def _curves() -> tuple[np.ndarray, np.ndarray]:
    """Linear light of the 256 levels, and the level of each of 4096 steps of linear light."""
    linear = to_linear(np.arange(256) / 255).astype(np.float32)
    tones = np.rint(255 * to_srgb(np.linspace(0, 1, 4096))).astype(np.uint8)
    return linear, tones
