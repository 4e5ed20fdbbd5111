"""DELIVER's simulated streets, X are events: as published, and small.

    python -m training.train deliver-swin-b-event --data DATA/DELIVER --out runs/deliver-swin-b-event
    python -m training.train deliver-lite-event --data DATA/DELIVER --out runs/deliver-lite-event

With `--set modality=depth` (or hha, lidar) either learns from another sensor.
One GPU, estimated by the rule in training/cost.py, not measured: B 37 hours, small
12 minutes.
Published mIoU (25 classes, on the split val, probably several scales with flip): 58.4. The small one was
never run.
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
    crop=(768, 768),
    scale=(
        0.5 * 1042 / 768,
        2.0 * 1042 / 768,
    ),  # 0.5 to 2 of the stored 1042 x 1042; 1 means the crop's 768 here
    published=58.4,
)

# Five times NYUv2's frames: fewer passes. 0 means no event, and stays 0.
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
