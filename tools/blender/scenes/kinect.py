"""Simulate the colour camera and the depth sensor of a first-generation Kinect on a perfect rendering."""

import cv2
import numpy as np

FX = 518.86  # focal length in pixels at 640 x 480 (63.4 degrees across)
BASELINE = 0.075  # metres between the infrared projector and camera


def colour(rgb, seed=0, gains=(1.03, 1.0, 0.95)):
    """Add blur, vignette, white-balance error, sensor noise, chroma smear and mild JPEG loss to uint8 RGB."""
    rng = np.random.default_rng(seed)
    h, w = rgb.shape[:2]
    img = (rgb.astype(np.float32) / 255.0) ** 2.2
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    r2 = ((xx - w / 2) ** 2 + (yy - h / 2) ** 2) / (w / 2) ** 2
    img *= np.asarray(gains, np.float32) * (1 - 0.17 * r2)[..., None]
    img = cv2.GaussianBlur(img, (0, 0), 0.75 * w / 640)
    noise = rng.normal(0, 1, img.shape).astype(np.float32)
    noise = 0.6 * noise + 0.9 * cv2.GaussianBlur(noise, (0, 0), 0.8)
    img = np.clip(img + noise * np.sqrt(0.00018 * np.clip(img, 0, 1) + 0.000006), 0, 1)
    out = np.clip((img ** (1 / 2.2) - 0.025) * 1.06 * 255, 0, 255).astype(np.uint8)
    ycc = cv2.cvtColor(out, cv2.COLOR_RGB2YCrCb)
    for c in (1, 2):
        ycc[..., c] = cv2.GaussianBlur(ycc[..., c], (0, 0), 1.4 * w / 640)
    sharp = cv2.GaussianBlur(ycc[..., 0], (0, 0), 1.2).astype(np.float32)
    ycc[..., 0] = np.clip(1.35 * ycc[..., 0] - 0.35 * sharp, 0, 255).astype(np.uint8)
    bgr = cv2.cvtColor(ycc, cv2.COLOR_YCrCb2BGR)
    _, code = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return cv2.cvtColor(cv2.imdecode(code, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _shadow(z, fx):
    """Pixels hidden from the projector by a nearer surface in the same row."""
    h, w = z.shape
    col = np.arange(w)[None] + fx * BASELINE / z
    slot = np.clip(np.round(col), 0, w + 255).astype(int)
    rows = np.repeat(np.arange(h)[:, None], w, 1)
    nearest = np.full((h, w + 256), np.inf)
    for off in (-1, 0, 1):
        np.minimum.at(nearest, (rows, np.clip(slot + off, 0, w + 255)), z)
    return z > nearest[rows, slot] * 1.04 + 0.02


def depth(z, normal, returns, seed=0):
    """Planar depth in metres (h, w) to uint16 millimetres as measured by the sensor, 0 for no measurement.

    normal is the cosine of the angle between ray and surface normal, 0..1; returns is 0 for ordinary
    surfaces, 1 for black or shiny ones (seen in patches) and 2 for windows (never seen).
    """
    rng = np.random.default_rng(seed)
    h, w = z.shape
    fx = FX * w / 640
    valid = np.isfinite(z) & (z > 0.4) & (z < 10.0)
    z = np.where(valid, z, 10.0).astype(np.float64)
    valid &= ~_shadow(z, fx)
    blotch = cv2.GaussianBlur(rng.normal(0, 1, (h, w)), (0, 0), 3.0 * w / 640)
    blotch /= blotch.std()
    valid &= ~((normal < 0.16 + 0.05 * blotch) & (z > 1.0))
    valid &= ~((returns == 1) & (blotch > -0.55)) & (returns != 2)
    local = cv2.erode(z.astype(np.float32), np.ones((3, 3)))
    edge = z - local > 0.03 * z
    valid &= ~(edge & (rng.random((h, w)) < 0.75))
    dropout = cv2.GaussianBlur(rng.normal(0, 1, (h, w)), (0, 0), 1.5)
    valid &= dropout / dropout.std() < 3.4 - 0.12 * z
    shake = cv2.GaussianBlur(rng.normal(0, 1, (2, h, w)).transpose(1, 2, 0), (0, 0), 1.0) * 0.9
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    seen = cv2.remap(
        z.astype(np.float32),
        xx + shake[..., 0].astype(np.float32),
        yy + shake[..., 1].astype(np.float32),
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float64)
    lumps = cv2.GaussianBlur(rng.normal(0, 1, (h, w)), (0, 0), 2.0)
    disparity = 580.0 * BASELINE / seen + rng.normal(0, 0.035, (h, w)) + 0.06 * lumps / lumps.std()
    disparity = np.round(disparity * 8) / 8  # the sensor's eighth-pixel steps: about 2.9 mm at 1 m
    seen = 580.0 * BASELINE / np.maximum(disparity, 1.0)
    holes = cv2.morphologyEx((~valid).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3)))
    border = np.zeros((h, w), bool)
    b = max(1, round(6 * w / 640))
    border[:b] = border[-b:] = border[:, :b] = border[:, -b:] = True
    out = np.where((holes > 0) | border | (seen > 10.0), 0, np.round(seen * 1000))
    return out.astype(np.uint16)
