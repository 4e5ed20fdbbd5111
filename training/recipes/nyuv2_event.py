r"""lite on NYUv2 with simulated event frames as X, initialised from the embedded depth model.

    python -m training.simulate_events --help    # creates DATA/NYUDepthv2/Event from the RGB images
    python -m training.train nyuv2-lite-event --data DATA/NYUDepthv2 --out runs/event \
        --init assets/checkpoints/ktb-lite-nyuv2-depth.safetensors

Measured on one CPU thread: 47 minutes. Measured mIoU (39 of 40 classes, 327 test frames, short side 384,
single scale, float32): fused 37.6, rgb 35.7, x 29.7.
These are the figures of the embedded event model. It was trained before the depth model had a residual in its
fusion, from version 1 of that model and with model.fusion.residual=false; the recipe as it is was not run.
The RGB images are darkened and blurred more than in other recipes, so that the network has a reason to use X.
"""

from training.recipes.nyuv2_lite import NYUV2_LITE_FINE

NYUV2_LITE_EVENT = NYUV2_LITE_FINE.derive(
    "nyuv2-lite-event",
    modality="event",
    model={"inputs.short_side": 384, "fusion.residual": True},  # as the depth model that it starts from
    epochs=7,
    jitter=0.6,
    jitter_range=(0.2, 1.5),
    blur=0.5,
    blur_sigma=(0.3, 4.0),
    class_weight_power=0.25,
    dequantise=False,  # 0 means no event and must stay 0
    x_scale=(1.0, 1.0),
)
