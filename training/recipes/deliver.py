"""DELIVER, simulated streets with events as X: as published, and with lite.

    python -m training.train deliver-swin-b-event --data DATA/DELIVER --out runs/deliver-swin-b-event
    python -m training.train deliver-lite-event --data DATA/DELIVER --out runs/deliver-lite-event

`--set modality=depth` (or hha, lidar) selects another sensor.
Duration on one GPU, estimated by training/cost.py and not measured: Swin-B 37 hours, lite 12 minutes.
Published mIoU (25 classes, split val, probably several scales with flip): Swin-B 58.4. lite: unknown, the
recipe was never run.
"""

from training.recipes.nyuv2 import NYUV2_SWIN_B
from training.recipes.nyuv2_lite import NYUV2_LITE

DELIVER_SWIN_B_EVENT = NYUV2_SWIN_B.derive(
    "deliver-swin-b-event",
    dataset="deliver",
    modality="event",
    model={"inputs.short_side": 1024},
    epochs=200,
    lr=2e-4,
    crop=(768, 768),  # the scale is relative to it: the short side of 1042 becomes 384 to 1536
    published=58.4,
)

# Five times as many frames as NYUv2, hence fewer epochs. A value of 0 means no event and must stay 0.
DELIVER_LITE_EVENT = NYUV2_LITE.derive(
    "deliver-lite-event",
    dataset="deliver",
    modality="event",
    model={"inputs.short_side": 512},
    epochs=15,
    crop=(320, 320),
    scale=(0.8, 2.5),
    dequantise=False,
)
