"""SUN RGB-D with plain depth as X: as published, and with lite.

    python -m training.train sunrgbd-swin-b --data DATA/SUN-RGBD --out runs/sunrgbd-swin-b
    python -m training.train sunrgbd-swin-l --data DATA/SUN-RGBD --out runs/sunrgbd-swin-l
    python -m training.train sunrgbd-lite --data DATA/SUN-RGBD --out runs/sunrgbd-lite

Duration on one GPU, estimated by training/cost.py and not measured: Swin-B 29 hours, Swin-L 63 hours, lite
16 minutes.
Published mIoU (37 classes, probably several scales with flip): Swin-B 53.7, Swin-L 55.0. lite: unknown, the
recipe was never run.
"""

from training.recipes.nyuv2 import NYUV2_SWIN_B
from training.recipes.nyuv2_lite import NYUV2_LITE

# The images have short sides of 427 to 530 pixels; the scale 0.5 to 2 is relative to the crop, not to these.
SUNRGBD_SWIN_B = NYUV2_SWIN_B.derive(
    "sunrgbd-swin-b", dataset="sunrgbd", modality="depth", epochs=300, crop=(480, 480), published=53.7
)
SUNRGBD_SWIN_L = SUNRGBD_SWIN_B.derive("sunrgbd-swin-l", backbone="swin-l", published=55.0)

# Seven times as many frames as NYUv2: fewer epochs, three times as many steps. Depth may have 16 bits.
SUNRGBD_LITE = NYUV2_LITE.derive(
    "sunrgbd-lite", dataset="sunrgbd", modality="depth", epochs=15, dequantise=False
)
