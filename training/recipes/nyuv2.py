"""NYU Depth V2 with HHA as X, as published; the other published recipes derive from this one.

    python -m training.train nyuv2-swin-b --data DATA/NYUDepthv2 --out runs/nyuv2-swin-b
    python -m training.train nyuv2-swin-l --data DATA/NYUDepthv2 --out runs/nyuv2-swin-l

Duration on one GPU, estimated by training/cost.py and not measured: Swin-B 9 hours, Swin-L 19 hours.
Published mIoU (40 classes, 654 test frames, probably several scales with flip): Swin-B 59.0, Swin-L 59.9.
The published weights are those of the best epoch on the test frames; here the last one is used (eval_every).
"""

from training.recipes.base import Recipe

NYUV2_SWIN_B = Recipe(
    name="nyuv2-swin-b",
    published=59.0,
    dataset="nyuv2",
    modality="hha",
    backbone="swin-b",
    model={"inputs.short_side": 480},
    epochs=400,
    batch_size=4,
    lr=4e-4,
    weight_decay=0.01,
    # The released schedule reaches 0 one epoch after the last, this one at its end: the final rates differ.
    warmup_epochs=10,
    warmup_start=0.1,
    poly_power=0.9,
    grad_clip=None,
    ema=None,
    precision="fp32",
    seed=3407,
    crop=(480, 640),
    scale=(0.5, 2.0),
    flip=0.5,
    jitter=0.2,
    jitter_range=(0.5, 1.5),
    blur=0.2,
    mask_rgb=0.25,
    mask_x=0.25,
    branch_weight=0.01,
    loss="ce",
)

NYUV2_SWIN_L = NYUV2_SWIN_B.derive("nyuv2-swin-l", backbone="swin-l", published=59.9)
