"""MFNet's streets by day and night, X is thermal: as published, and small.

    python -m training.train mfnet-swin-b --data DATA/MFNet --out runs/mfnet-swin-b
    python -m training.train mfnet-swin-l --data DATA/MFNet --out runs/mfnet-swin-l
    python -m training.train mfnet-lite --data DATA/MFNet --out runs/mfnet-lite

One GPU, estimated by the rule in training/cost.py, not measured, with 784 training pairs:
B 4 hours, L 9 hours, small 5 minutes.
Published mIoU (9 classes with "unlabeled", probably several scales with flip): B 59.9, L 59.2. The small
one was never run.
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
