"""Fit the weights of `ktb.inputs.recognize` and print its confusion on files that were not used.

    PYTHONPATH=. python tools/fit_recognizer.py DATA

DATA holds NYUDepthv2, CamVid, MSRS, RoadScene and qualitative in the layouts of training/README.md. Fitted
are NYUv2's training depth, the first halves of MSRS and RoadScene, and near infrared *made* from the RGB
images of these (no set of real near infrared was at hand); the other halves, NYUv2's test depth and the real
files of `qualitative` are held out. Every pair is used with its RGB image and without it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ktb.inputs import read_image_rgb, read_x
from ktb.inputs import recognize as recognizer
from ktb.inputs.recognize import CANDIDATES, FEATURES, picture_features, recognize
from ktb.inputs.types import RawX

Item = tuple[str, np.ndarray, np.ndarray]  # modality, X (H, W), RGB image
DECAY = 0.02
EVERY = 6
"""Every sixth frame of NYUv2 and CamVid and every second pair is used, fitted and held out."""


def made_infrared(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A near-infrared image (H, W) uint8 made of an RGB image: mostly red, bright plants, another tone."""
    image = rgb.astype(np.float32) / 255
    weights = rng.dirichlet((4, 1.5, 0.7)).astype(np.float32)
    plants = np.clip(image[..., 1] - np.maximum(image[..., 0], image[..., 2]), 0, 1)
    mixed = image @ weights + rng.uniform(1, 5) * plants
    gain = cv2.resize(rng.uniform(0.5, 1.6, (4, 5)).astype(np.float32), mixed.shape[::-1])
    mixed = np.clip(mixed * gain, 0, None) ** rng.uniform(0.5, 1.5)
    mixed = cv2.GaussianBlur(mixed, (0, 0), rng.uniform(0.3, 1.5))
    right, down = rng.integers(-3, 4, 2)
    mixed = np.roll(mixed, (int(down), int(right)), (0, 1)) + rng.normal(0, rng.uniform(0, 0.03), mixed.shape)
    return np.clip(255 * mixed / max(1e-3, np.percentile(mixed, 99.5)), 0, 255).astype(np.uint8)


def pairs(data: Path, held_out: bool) -> Iterator[Item]:
    """The items of the fit, or those held out."""
    rng = np.random.default_rng(int(held_out))
    nyu = data / "NYUDepthv2"
    names = (nyu / ("test.txt" if held_out else "train.txt")).read_text().split()
    for name in names[::EVERY]:
        rgb = read_image_rgb(nyu / "RGB" / f"{name}.jpg")
        yield "depth", cv2.imread(str(nyu / "Depth" / f"{name}.png"), cv2.IMREAD_UNCHANGED), rgb
        if rng.random() < 0.4:
            yield "nir", made_infrared(rgb, rng), rgb
    for folder in ("MSRS", "RoadScene"):
        files = sorted((data / folder / "RGB").iterdir())
        half = len(files) // 2
        for file in (files[half:] if held_out else files[:half])[:: EVERY // 3]:
            rgb, thermal = read_image_rgb(file), data / folder / "Thermal" / file.name
            yield "thermal", cv2.imread(str(thermal), cv2.IMREAD_GRAYSCALE), rgb
    streets = (data / "CamVid" / ("val.txt" if held_out else "train.txt")).read_text().split()
    for name in streets[::EVERY]:
        found = sorted((data / "CamVid" / "RGB").glob(f"{Path(name).stem}.*"))
        if found:
            rgb = read_image_rgb(found[0])
            yield "nir", made_infrared(rgb, rng), rgb


def real_pairs(data: Path) -> Iterator[tuple[str, Path, Path]]:
    """Modality, X file and RGB file of the real pairs in `qualitative`, all held out."""
    folder = data / "qualitative"
    for kind, suffix in (("thermal", "thermal"), ("nir", "nir")):
        for rgb in sorted((folder / kind).glob("*_rgb.*")):
            yield kind, rgb.with_name(rgb.name.replace("_rgb", f"_{suffix}")), rgb
    for rgb in sorted((folder / "depth").glob("*_rgb.*")):
        (depth,) = folder.glob(f"depth/{rgb.name.split('_')[0]}_depth*")
        yield "depth", depth, rgb
    for file in sorted((folder / "polarization").glob("*_nir*.tif")):
        yield "nir", file, folder / "polarization" / "glass_sRGB.tif"


def fit(rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Weights (candidates, 1 + features) of a multinomial logistic regression with weight decay."""
    weights = torch.zeros(len(CANDIDATES), rows.shape[1] + 1, requires_grad=True)
    balance = 1 / torch.bincount(targets).float()
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = rows @ weights[:, 1:].T + weights[:, 0]
        value = F.cross_entropy(logits, targets, weight=balance) + DECAY * weights[:, 1:].square().mean()
        value.backward()
        return value

    optimizer.step(loss)
    return weights.detach()


def main(data: Path) -> None:
    rows, targets = {True: [], False: []}, []
    for modality, x, rgb in pairs(data, held_out=False):
        found = picture_features(x, rgb)
        rows[True].append([found[name] for name in FEATURES])
        rows[False].append([0.0 if "likeness" in name else found[name] for name in FEATURES])
        targets.append(CANDIDATES.index(modality))
    fitted = {}
    for with_rgb, table in rows.items():
        values = np.array(table)
        middle, scale = values.mean(0).round(4), np.maximum(values.std(0), 1e-3).round(4)
        weights = fit(torch.tensor((values - middle) / scale).float(), torch.tensor(targets)).numpy()
        weights = [[round(float(value), 3) for value in row] for row in weights]
        fitted[with_rgb] = tuple(zip(middle.tolist(), scale.tolist())), tuple(map(tuple, weights))
    print("FITTED =", fitted)
    recognizer.FITTED = fitted
    for title, with_rgb in (("with the RGB image", True), ("without it", False)):
        counts: Counter = Counter()
        for modality, x, rgb in pairs(data, held_out=True):
            found = recognize(RawX(x, name="x.png"), rgb if with_rgb else None)
            counts[modality, found.modality if found.is_sure else "asked"] += 1
        print(f"\nheld out, {title}: true → found: number")
        for (true, found), number in sorted(counts.items()):
            print(f"  {true:8} → {found:8} {number}")
    print("\nreal pairs without their names")
    for modality, x, rgb in real_pairs(data):
        raw = read_x(x)
        found = recognize(RawX(raw.data, raw.format, "x.png", raw.kind), read_image_rgb(rgb))
        print(f"  {modality:8} → {found.modality if found.is_sure else 'asked':8} {x.name}  ({found.why})")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
