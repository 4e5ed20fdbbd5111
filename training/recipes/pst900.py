"""PST900, tunnels with thermal X: as published, and with lite.

    python -m training.train pst900-swin-b --data DATA/PST900 --out runs/pst900-swin-b
    python -m training.train pst900-swin-l --data DATA/PST900 --out runs/pst900-swin-l
    python -m training.train pst900-lite --data DATA/PST900 --out runs/pst900-lite

Duration on one GPU, estimated by training/cost.py and not measured: Swin-B 3 hours, Swin-L 7 hours, lite
4 minutes.
Published mIoU (5 classes with "background", probably several scales with flip): Swin-B 87.6, Swin-L 88.7.
lite: unknown, the recipe was never run.
"""

from training.recipes.nyuv2 import NYUV2_SWIN_B
from training.recipes.nyuv2_lite import NYUV2_LITE

PST900_SWIN_B = NYUV2_SWIN_B.derive(
    "pst900-swin-b",
    dataset="pst900",
    modality="thermal",
    model={"inputs.short_side": 720},
    epochs=200,
    lr=6e-4,
    # As everywhere in the reference, the scale 0.5 to 2 is relative to the crop's height: the short side of
    # 720 becomes 240 to 960.
    published=87.6,
)
PST900_SWIN_L = PST900_SWIN_B.derive("pst900-swin-l", backbone="swin-l", published=88.7)

# Nearly all pixels are "background", and the objects are small.
PST900_LITE = NYUV2_LITE.derive(
    "pst900-lite",
    dataset="pst900",
    modality="thermal",
    model={"inputs.short_side": 360},
    crop=(288, 384),
    scale=(1.0, 2.5),
    loss_stride=1,
    class_weight_power=0.25,
)
