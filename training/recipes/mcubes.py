"""MCubeS, materials with NIR, DoLP or AoLP as X: as published, and with lite.

    python -m training.train mcubes-swin-b-nir --data DATA/MCubeS --out runs/mcubes-swin-b-nir
    python -m training.train mcubes-swin-b-dolp --data DATA/MCubeS --out runs/mcubes-swin-b-dolp
    python -m training.train mcubes-swin-b-aolp --data DATA/MCubeS --out runs/mcubes-swin-b-aolp
    python -m training.train mcubes-lite-nir --data DATA/MCubeS --out runs/mcubes-lite-nir
    python -m training.train mcubes-lite-dolp --data DATA/MCubeS --out runs/mcubes-lite-dolp
    python -m training.train mcubes-lite-aolp --data DATA/MCubeS --out runs/mcubes-lite-aolp

Duration on one GPU, estimated by training/cost.py and not measured: Swin-B 3 hours each, lite 5 minutes each.
Published mIoU of Swin-B (20 materials, probably several scales with flip): NIR 53.8, DoLP 54.5, AoLP 53.7.
lite: unknown, the recipes were never run.
"""

from training.recipes.nyuv2 import NYUV2_SWIN_B
from training.recipes.nyuv2_lite import NYUV2_LITE

# The released evaluation also crops the central 1024 x 1024 of 1024 x 1032; here the images are not cropped.
MCUBES_SWIN_B_NIR = NYUV2_SWIN_B.derive(
    "mcubes-swin-b-nir",
    dataset="mcubes",
    modality="nir",
    model={"inputs.short_side": 1024},
    epochs=500,
    lr=6e-5,
    crop=(512, 512),
    jitter=0.0,
    blur=0.5,
    blur_sigma=(0.0, 1.0),
    blur_x=True,
    loss="ohem",
    ohem_threshold=0.7,
    ohem_min_kept=1 / 16,
    published=53.8,
)
MCUBES_SWIN_B_DOLP = MCUBES_SWIN_B_NIR.derive(
    "mcubes-swin-b-dolp", modality="dolp", blur_x=False, published=54.5
)
MCUBES_SWIN_B_AOLP = MCUBES_SWIN_B_DOLP.derive("mcubes-swin-b-aolp", modality="aolp", published=53.7)
MCUBES_SWIN_B = (MCUBES_SWIN_B_NIR, MCUBES_SWIN_B_DOLP, MCUBES_SWIN_B_AOLP)

# X is left as it is: sines may be negative, which dequantise and x_scale would take for missing.
MCUBES_LITE_NIR = NYUV2_LITE.derive(
    "mcubes-lite-nir",
    dataset="mcubes",
    modality="nir",
    model={"inputs.short_side": 512},
    epochs=80,
    crop=(320, 320),
    scale=(0.8, 2.0),
    jitter=0.0,
    dequantise=False,
    x_scale=(1.0, 1.0),
)
MCUBES_LITE_DOLP = MCUBES_LITE_NIR.derive("mcubes-lite-dolp", modality="dolp")
MCUBES_LITE_AOLP = MCUBES_LITE_NIR.derive("mcubes-lite-aolp", modality="aolp")
MCUBES_LITE = (MCUBES_LITE_NIR, MCUBES_LITE_DOLP, MCUBES_LITE_AOLP)
