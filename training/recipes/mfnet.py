"""MFNet, streets by day and night with thermal X: as published, and with lite.

    python -m training.train mfnet-swin-b --data DATA/MFNet --out runs/mfnet-swin-b
    python -m training.train mfnet-swin-l --data DATA/MFNet --out runs/mfnet-swin-l
    python -m training.train mfnet-lite --data DATA/MFNet --out runs/mfnet-lite

Duration on one GPU with 784 training pairs, estimated by training/cost.py and not measured: Swin-B 4 hours,
Swin-L 9 hours, lite 5 minutes.
Published mIoU (9 classes with "unlabeled", probably several scales with flip): Swin-B 59.9, Swin-L 59.2.
lite: unknown, the recipe was never run.
"""

from training.recipes.nyuv2 import NYUV2_SWIN_B
from training.recipes.nyuv2_lite import NYUV2_LITE

MFNET_SWIN_B = NYUV2_SWIN_B.derive(
    "mfnet-swin-b",
    dataset="mfnet",
    modality="thermal",
    epochs=200,
    lr=8e-5,
    weight_decay=5e-4,
    published=59.9,
)
MFNET_SWIN_L = MFNET_SWIN_B.derive("mfnet-swin-l", backbone="swin-l", published=59.2)

# Nearly all pixels are "unlabeled", and the objects are small.
MFNET_LITE = NYUV2_LITE.derive(
    "mfnet-lite", dataset="mfnet", modality="thermal", loss_stride=1, class_weight_power=0.25
)
