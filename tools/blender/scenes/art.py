"""Pictures painted with numpy: landscapes, abstracts, posters, screens, calendars and a view outside."""

import numpy as np


def _noise(rng, h, w, cells, octaves=4):
    """Smooth value noise 0..1 of shape (h, w)."""
    out, total = np.zeros((h, w)), 0.0
    for o in range(octaves):
        n = cells * 2**o
        grid = rng.random((n + 2, n + 2))
        y, x = np.linspace(0, n, h)[:, None], np.linspace(0, n, w)[None]
        i, j = np.minimum(y.astype(int), n), np.minimum(x.astype(int), n)
        fy, fx = y - i, x - j
        fy, fx = fy * fy * (3 - 2 * fy), fx * fx * (3 - 2 * fx)
        top = grid[i, j] * (1 - fx) + grid[i, j + 1] * fx
        low = grid[i + 1, j] * (1 - fx) + grid[i + 1, j + 1] * fx
        out += (top * (1 - fy) + low * fy) / 2**o
        total += 1 / 2**o
    return out / total


def _lerp(a, b, t):
    return np.asarray(a) * (1 - t[..., None]) + np.asarray(b) * t[..., None]


def landscape(seed, h=160, w=220, warm=False):
    """Hills under a sky, in brush-like colours."""
    rng = np.random.default_rng(seed)
    y = np.linspace(0, 1, h)[:, None] * np.ones((1, w))
    low = (0.95, 0.72, 0.45) if warm else (0.86, 0.9, 0.9)
    img = _lerp((0.33, 0.5, 0.72), low, np.clip(y * 1.8, 0, 1))
    img = _lerp(img, (0.97, 0.95, 0.9), np.clip((_noise(rng, h, w, 4) - 0.5) * 4, 0, 0.8))
    hues = [(0.42, 0.5, 0.6), (0.3, 0.42, 0.36), (0.36, 0.45, 0.2), (0.5, 0.5, 0.2), (0.25, 0.33, 0.12)]
    for k, hue in enumerate(hues):
        ridge = 0.38 + 0.13 * k + 0.22 * (_noise(rng, 1, w, 3)[0] - 0.5) * (1.3 - 0.15 * k)
        mask = (y > ridge[None]).astype(float)
        shade = np.asarray(hue) * (0.75 + 0.5 * _noise(rng, h, w, 12))[..., None]
        img = img * (1 - mask[..., None]) + shade * mask[..., None]
    return np.clip(img + rng.normal(0, 0.02, img.shape), 0, 1)


def abstract(seed, h=200, w=160):
    """Overlapping blocks and discs on a textured ground."""
    rng = np.random.default_rng(seed)
    palettes = [
        [(0.75, 0.25, 0.16), (0.9, 0.68, 0.3), (0.16, 0.25, 0.36), (0.88, 0.84, 0.74)],
        [(0.15, 0.36, 0.4), (0.83, 0.45, 0.3), (0.93, 0.88, 0.75), (0.3, 0.2, 0.25)],
        [(0.55, 0.6, 0.3), (0.2, 0.3, 0.2), (0.9, 0.8, 0.5), (0.7, 0.4, 0.2)],
    ]
    pal = palettes[seed % 3]
    img = np.ones((h, w, 3)) * pal[3] if seed % 2 else np.ones((h, w, 3)) * (0.9, 0.87, 0.8)
    yy, xx = np.mgrid[0:h, 0:w]
    for k in range(9):
        c = pal[rng.integers(0, 3)]
        cy, cx, r = rng.uniform(0.1, 0.9) * h, rng.uniform(0.1, 0.9) * w, rng.uniform(0.08, 0.3) * w
        mask = np.hypot(yy - cy, xx - cx) < r if k % 2 else (abs(yy - cy) < r) & (abs(xx - cx) < r * 0.6)
        img[mask] = img[mask] * 0.2 + np.asarray(c) * 0.8
    return np.clip(img * (0.85 + 0.3 * _noise(rng, h, w, 16)[..., None]), 0, 1)


def portrait(seed, h=180, w=140):
    """A framed photograph: two head-and-shoulder shapes on a soft background."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:h, 0:w]
    img = _lerp((0.35, 0.4, 0.3), (0.7, 0.72, 0.6), _noise(rng, h, w, 4))
    for cx, shirt, hair in (
        (0.35, (0.3, 0.35, 0.5), (0.2, 0.13, 0.08)),
        (0.65, (0.7, 0.3, 0.3), (0.45, 0.3, 0.15)),
    ):
        dy, dx = yy / h, (xx / w - cx)
        img[((dy - 1.05) / 0.5) ** 2 + (dx / 0.24) ** 2 < 1] = shirt
        img[((dy - 0.40) / 0.19) ** 2 + (dx / 0.15) ** 2 < 1] = hair
        img[((dy - 0.46) / 0.15) ** 2 + (dx / 0.11) ** 2 < 1] = (0.82, 0.62, 0.5)
    return img


def matted(img, border=0.16, colour=(0.93, 0.92, 0.88)):
    """Add a paper mat around a picture."""
    h, w = img.shape[:2]
    b = int(border * min(h, w))
    out = np.ones((h + 2 * b, w + 2 * b, 3)) * colour
    out[b:-b, b:-b] = img
    return out


def desktop(seed=0, h=240, w=400):
    """A computer screen: wallpaper, an editor window with coloured text, a task bar."""
    rng = np.random.default_rng(seed)
    img = _lerp((0.1, 0.25, 0.5), (0.35, 0.6, 0.8), _noise(rng, h, w, 3))
    for y0, y1, x0, x1 in ((18, 190, 20, 250), (60, 215, 190, 380)):
        img[y0:y1, x0:x1] = 0.95
        img[y0 : y0 + 12, x0:x1] = (0.35, 0.45, 0.6)
        for y in range(y0 + 20, y1 - 8, 7):
            x = x0 + 8 + 10 * rng.integers(0, 4)
            while x < x1 - 40:
                n = rng.integers(8, 34)
                img[y : y + 3, x : x + n] = ((0.2, 0.2, 0.25), (0.2, 0.35, 0.7), (0.6, 0.25, 0.2))[
                    rng.integers(0, 3)
                ]
                x += n + 5
                if rng.random() < 0.2:
                    break
    img[-14:] = (0.15, 0.18, 0.25)
    return img


def calendar(h=260, w=180):
    """A wall calendar with a photograph above the days."""
    img = np.ones((h, w, 3)) * 0.95
    img[6:120, 8:-8] = landscape(12, 114, w - 16)
    img[128:142, 40:-40] = (0.7, 0.2, 0.2)
    for r in range(5):
        for c in range(7):
            y, x = 154 + r * 20, 14 + c * 22
            img[y : y + 14, x : x + 18] = 0.86
            img[y + 3 : y + 9, x + 4 : x + 11] = (0.7, 0.2, 0.2) if c == 6 else (0.3, 0.3, 0.3)
    return img


def whiteboard(h=220, w=360):
    """Marker scribbles: a diagram, curves and lines of handwriting."""
    rng = np.random.default_rng(5)
    img = np.ones((h, w, 3)) * (0.93, 0.94, 0.95) - 0.05 * _noise(rng, h, w, 5)[..., None]
    inks = [(0.1, 0.15, 0.5), (0.65, 0.1, 0.1), (0.1, 0.4, 0.2), (0.1, 0.1, 0.12)]

    def dot(y, x, ink):
        img[
            int(np.clip(y, 0, h - 2)) : int(np.clip(y, 0, h - 2)) + 2, int(np.clip(x, 0, w - 2)) : int(x) + 2
        ] = ink

    for row in range(9):
        for t in range(20, 20 + rng.integers(70, 150)):
            dot(
                30 + row * 19 + 4 * np.sin(t * 0.9 + 3 * np.sin(t * 0.37)), t, inks[row % 4 if row < 4 else 3]
            )
    for t in np.linspace(0, 1, 600):
        dot(180 - 120 * t**0.4, 215 + 120 * t, inks[1])
        dot(180 - 90 * t - 12 * np.sin(14 * t), 215 + 120 * t, inks[0])
        dot(180, 205 + 140 * t, inks[3])
        dot(50 + 135 * t, 210, inks[3])
    return img


def outside(seed=3, h=256, w=384):
    """A bright, washed-out view through a window: sky, trees, a lawn."""
    rng = np.random.default_rng(seed)
    y = np.linspace(0, 1, h)[:, None] * np.ones((1, w))
    img = _lerp((0.72, 0.85, 1.0), (0.97, 0.98, 1.0), np.clip(y * 1.7, 0, 1))
    img = _lerp(img, (1, 1, 1), np.clip((_noise(rng, h, w, 5) - 0.45) * 4, 0, 0.9))
    for base, hue, cells in ((0.50, (0.55, 0.68, 0.55), 7), (0.60, (0.33, 0.5, 0.28), 11)):
        crown = base - 0.28 * (_noise(rng, 1, w, cells, 5)[0] - 0.3)
        mask = (y > crown[None]).astype(float) * (_noise(rng, h, w, 40, 2) > 0.25)
        img = _lerp(img, np.asarray(hue) * (0.6 + 0.8 * _noise(rng, h, w, 20))[..., None], mask)
    for _ in range(3):
        img = sum(np.roll(img, s, a) for s in (-1, 0, 1) for a in (0, 1)) / 6
    lawn = (y > 0.78).astype(float)
    return np.clip(
        _lerp(img, np.asarray((0.45, 0.6, 0.3)) * (0.8 + 0.4 * _noise(rng, h, w, 24))[..., None], lawn), 0, 1
    )


def show(seed=4, h=180, w=320):
    """A television picture: a football match seen from the stand."""
    rng = np.random.default_rng(seed)
    img = np.ones((h, w, 3)) * (0.2, 0.5, 0.2)
    img[:, (np.arange(w) // 26) % 2 == 0] = (0.25, 0.58, 0.25)
    img[:44] = 0.25 + 0.5 * rng.random((44, w, 3)) * 0.8
    img[44:56] = (0.15, 0.25, 0.6)
    img[70:72] = img[160:162] = 0.9
    for k in range(16):
        y, x = rng.integers(66, 165), rng.integers(10, w - 12)
        img[y : y + 8, x : x + 4] = (0.85, 0.15, 0.15) if k % 2 else (0.95, 0.95, 0.95)
        img[y + 8 : y + 12, x : x + 4] = (0.1, 0.1, 0.2)
    img[8:20, 14:80] = (0.9, 0.9, 0.92)
    return img


def carpet(seed=6, h=300, w=420):
    """An oriental rug: nested borders, a medallion and mirrored ornaments."""
    rng = np.random.default_rng(seed)
    red, navy, sand, rust = (0.5, 0.12, 0.1), (0.12, 0.15, 0.28), (0.74, 0.64, 0.46), (0.62, 0.32, 0.16)
    yy, xx = np.abs(np.mgrid[0:h, 0:w] - np.array([h / 2, w / 2])[:, None, None] + 0.5)
    edge = np.minimum(h / 2 - yy, w / 2 - xx)
    img = np.ones((h, w, 3)) * red
    quarter = _noise(rng, h // 2, w // 2, 26, 2)
    motif = np.block([[quarter[::-1, ::-1], quarter[::-1]], [quarter[:, ::-1], quarter]])
    img[motif > 0.62] = sand
    img[motif < 0.36] = navy
    img[(motif > 0.5) & (motif < 0.52)] = rust
    oval = np.abs(xx / w * 3.4) ** 1.4 + np.abs(yy / h * 3.4) ** 1.4
    for limit, rgb in ((1.0, sand), (0.94, navy), (0.5, sand), (0.45, red), (0.12, sand)):
        img[(oval < limit) & ((motif < 0.58) | (limit > 0.96))] = rgb
    for lo, hi, rgb in (
        (0, 6, navy),
        (6, 10, sand),
        (10, 36, navy),
        (36, 40, sand),
        (40, 46, rust),
        (46, 49, sand),
    ):
        img[(edge >= lo) & (edge < hi)] = rgb
    along = np.where(h / 2 - yy < w / 2 - xx, xx, yy)
    flower = np.hypot((along % 26) - 13, edge - 23)
    img[(flower < 9) & (edge < 36)] = red
    img[(flower < 5) & (edge < 36)] = sand
    return np.clip(img * (0.8 + 0.35 * _noise(rng, h, w, 90, 2))[..., None], 0, 1)
