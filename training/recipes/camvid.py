r"""lite on CamVid's streets with simulated thermal images and nights, then with real pairs beside them.

    python -m training.train camvid-thermal --data DATA/CamVid --out runs/streets \
        --init assets/checkpoints/ktb-lite-nyuv2-depth.safetensors --new-classes
    python -m training.train camvid-thermal-pairs --data DATA/CamVid --pairs DATA/MSRS DATA/RoadScene \
        --out runs/streets-pairs --init runs/streets/model.safetensors
"""

from training.recipes.nyuv2_lite import NYUV2_LITE_FINE

CAMVID_THERMAL = NYUV2_LITE_FINE.derive(
    "camvid-thermal",
    dataset="camvid",
    modality="thermal",
    epochs=10,
    lr=8e-4,
    ema=0.995,
    crop=(256, 336),
    scale=(0.9, 2.4),
    model={"inputs.short_side": 480},
    jitter=0.5,
    dequantise=False,
    x_scale=(1.0, 1.0),
    mask_x=0.25,
    class_weight_power=0.3,
    branch_weight=0.5,
)

# Real pairs without labels beside the labelled frames; start it with --init and give --pairs.
CAMVID_THERMAL_PAIRS = CAMVID_THERMAL.derive(
    "camvid-thermal-pairs",
    epochs=6,
    batch_size=5,
    lr=5e-4,
    warmup_epochs=0.2,
    mask_rgb=0.25,
    mask_labels=False,  # a branch that learns only what the fused head knows is no fair comparison
    pairs_batch=5,
    pairs_scale=(1.4, 2.8),
)
