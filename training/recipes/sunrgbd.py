"""SUN RGB-D from plain depth: as published, and small.

    python -m training.train sunrgbd-swin-b --data DATA/SUN-RGBD --out runs/sunrgbd-swin-b
    python -m training.train sunrgbd-swin-l --data DATA/SUN-RGBD --out runs/sunrgbd-swin-l
    python -m training.train sunrgbd-lite --data DATA/SUN-RGBD --out runs/sunrgbd-lite

One GPU, estimated by the rule in training/cost.py, not measured: B 29 hours, L 63 hours,
small 16 minutes.
Published mIoU (37 classes, probably several scales with flip): B 53.7, L 55.0. The small one was never run.
"""

from training.recipes.nyuv2 import NYUV2_SWIN_B
from training.recipes.nyuv2_lite import NYUV2_LITE

# Pictures of SUN RGB-D have short sides of 427 to 530 pixels: scale 0.5 to 2 is of the crop's, not of theirs.
SUNRGBD_SWIN_B = NYUV2_SWIN_B.derive(
    "sunrgbd-swin-b", dataset="sunrgbd", modality="depth", epochs=300, crop=(480, 480), published=53.7
)
SUNRGBD_SWIN_L = SUNRGBD_SWIN_B.derive("sunrgbd-swin-l", backbone="swin-l", published=55.0)

# Seven times NYUv2's frames: fewer passes, three times the steps. This depth may have 16 bits.
SUNRGBD_LITE = NYUV2_LITE.derive(
    "sunrgbd-lite", dataset="sunrgbd", modality="depth", epochs=15, dequantise=False
)
