"""Make a night of a street frame's RGB image: little light, lamps, lit windows, a camera's noise."""

import cv2
import numpy as np

from ktb.labels import DATASETS
from training.thermal.simulator import smooth_noise

_CLASSES = DATASETS["camvid"].classes
SKY, BUILDING, CAR = (_CLASSES.index(name) for name in ("sky", "building", "car"))
_LINEAR = ((np.arange(256) / 255) ** 2.2).astype(np.float32)
MAX_LAMPS = 7


def make_night(rgb: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The RGB image (H, W, 3) uint8 as by night; label (H, W) uint8 of CamVid says where the lights are."""
    size = label.shape
    light = np.exp(0.9 * smooth_noise(size, 4, rng)) * np.float32(
        np.exp(rng.uniform(np.log(0.008), np.log(0.3)))
    )
    light[label == SKY] *= np.float32(rng.uniform(0.02, 0.4))
    if rng.random() < 0.5:
        light *= 1 + np.float32(rng.uniform(1, 6)) * _glow(
            size, (0.75 * size[0], rng.uniform(0.3, 0.7) * size[1]), 0.25 * size[0]
        )
    scene = cv2.LUT(rgb, _LINEAR) * cv2.GaussianBlur(light, (0, 0), 2)[..., None]
    scene *= rng.uniform(0.5, 1.2, 3).astype(np.float32)
    for _ in range(rng.integers(0, MAX_LAMPS + 1)):
        where = rng.uniform(0, 0.6) * size[0], rng.uniform(0, 1) * size[1]
        _add_lamp(scene, where, rng.uniform(0.5, 5), rng.uniform((0.7, 0.6, 0.2), (1, 1, 1)), rng)
    _light_windows(scene, label == BUILDING, rng)
    _light_cars(scene, label == CAR, rng)
    shot, read = rng.uniform(0, 0.03), rng.uniform(0, 0.008)
    noise = rng.standard_normal(scene.shape, np.float32)
    scene += noise * (np.float32(shot) * np.sqrt(np.maximum(scene, 0)) + np.float32(read))
    image = np.clip(scene, 0, 1)
    cv2.pow(image, 1 / 2.2, image)
    image = np.round(image * 255).astype(np.uint8)
    sigma = rng.uniform(0, 1.2)
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.3 else image


def _glow(size: tuple[int, int], where: tuple[float, float], radius: float) -> np.ndarray:
    """(H, W) float32 of 1 at `where` (row, column), falling as a Gaussian."""
    rows = np.exp(-(((np.arange(size[0]) - where[0]) / radius) ** 2)).astype(np.float32)
    columns = np.exp(-(((np.arange(size[1]) - where[1]) / radius) ** 2)).astype(np.float32)
    return rows[:, None] * columns


def _add_lamp(scene, where, radius: float, colour: np.ndarray, rng: np.random.Generator) -> None:
    """A saturated lamp with a faint halo, added in place within 12 radii."""
    reach = int(12 * radius) + 1
    row, column = (int(value) for value in where)
    window = (
        slice(max(0, row - reach), row + reach + 1),
        slice(max(0, column - reach), column + reach + 1),
    )
    part = scene[window]
    inner = where[0] - window[0].start, where[1] - window[1].start
    shape = part.shape[:2]
    glow = 3 * _glow(shape, inner, radius) + rng.uniform(0, 0.2) * _glow(shape, inner, 5 * radius)
    part += glow[..., None] * colour.astype(np.float32)


def _light_windows(scene: np.ndarray, building: np.ndarray, rng: np.random.Generator) -> None:
    if rng.random() < 0.4 or not building.any():
        return
    cell = int(rng.integers(5, 16))
    rows, columns = -(-building.shape[0] // cell), -(-building.shape[1] // cell)
    lit = (rng.random((rows, columns)) < rng.uniform(0.003, 0.04)).astype(np.float32)
    lit *= rng.uniform(0.05, 0.8, lit.shape).astype(np.float32)
    lit = np.kron(lit, np.ones((cell, cell), np.float32))[: building.shape[0], : building.shape[1]]
    scene += (lit * building)[..., None] * np.float32((1, 0.9, 0.6))


def _light_cars(scene: np.ndarray, car: np.ndarray, rng: np.random.Generator) -> None:
    if not car.any():
        return
    count, _, boxes, _ = cv2.connectedComponentsWithStats(car.astype(np.uint8))
    for left, top, width, height, area in boxes[1:count]:
        if area < 60 or rng.random() < 0.5:
            continue
        white = rng.random() < 0.5
        colour = np.array((1, 1, 0.9) if white else (1, 0.1, 0.05))
        for side in (0.12, 0.88):
            where = top + rng.uniform(0.5, 0.7) * height, left + side * width
            _add_lamp(scene, where, max(0.7, 0.05 * width * rng.uniform(0.5, 1.3)), colour, rng)
