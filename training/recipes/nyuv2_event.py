r"""The small model on NYUv2 with simulated event frames as X, started from the one that was trained on depth.

    python -m training.simulate_events --help    # makes DATA/NYUDepthv2/Event from the RGB images
    python -m training.train nyuv2-lite-event --data DATA/NYUDepthv2 --out runs/event \
        --init assets/checkpoints/ktb-lite-nyuv2-depth.safetensors

The RGB images are darkened and blurred more than elsewhere, so that X is worth looking at.
"""

from training.recipes.nyuv2_lite import NYUV2_LITE_FINE

NYUV2_LITE_EVENT = NYUV2_LITE_FINE.derive(
    "nyuv2-lite-event",
    modality="event",
    epochs=7,
    jitter=0.6,
    jitter_range=(0.2, 1.5),
    blur=0.5,
    blur_sigma=(0.3, 4.0),
    class_weight_power=0.25,
    dequantise=False,  # 0 means no event, and stays 0
    x_scale=(1.0, 1.0),
)
