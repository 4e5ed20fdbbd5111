r"""lite on NYUv2 with 8-bit depth, on a CPU; the three runs of the embedded model.

    python -m training.train nyuv2-lite --data DATA/NYUDepthv2 --out runs/a --steps 1204
    python -m training.train nyuv2-lite-fine --data DATA/NYUDepthv2 --out runs/b \
        --init runs/a/model.safetensors
    python -m training.train nyuv2-lite-long --data DATA/NYUDepthv2 --out runs/c \
        --init runs/b/model.safetensors

Measured on 2 CPU cores under other load: 37 and 60 minutes, 2.5 hours with the third run. Measured mIoU (39
of 40 classes, 327 test frames, short side 384, single scale, float32): fused 42.9, rgb 37.1, x 30.2 after two
runs; 43.9, 39.5 and 33.9 after three.
"""

from training.recipes.base import Recipe

NYUV2_LITE = Recipe(
    name="nyuv2-lite",
    dataset="nyuv2",
    modality="depth",
    epochs=30,
    batch_size=8,
    lr=1e-3,
    crop=(240, 320),
    scale=(0.8, 1.8),
    loss_stride=2,
    ema=0.998,
    grad_clip=5.0,
    dequantise=True,
    x_scale=(0.9, 1.1),
    mask_rgb=0.125,
    mask_x=0.125,
    branch_weight=0.3,
    alpha=(1.0, 1.0, 1.0, 1.0),
    qk_gain=3.0,
    bias_sigmas=(0.08, 0.16, 0.32),
    prompt_zero=True,
)

# Larger crops, a new schedule and a higher weight of the branches; start it with --init.
NYUV2_LITE_FINE = NYUV2_LITE.derive(
    "nyuv2-lite-fine",
    epochs=17,
    lr=8e-4,
    warmup_epochs=0.3,
    crop=(288, 384),
    scale=(0.8, 1.6),
    branch_weight=0.7,
    model={"inputs.short_side": 384},
)

# A third run with moderate class weights for rare classes.
NYUV2_LITE_LONG = NYUV2_LITE_FINE.derive(
    "nyuv2-lite-long", epochs=14, lr=7e-4, warmup_epochs=0.2, class_weight_power=0.25
)
