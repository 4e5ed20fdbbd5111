"""A custom dataset, described by a YAML file (see training/README.md section 4).

    python -m training.train lite --set dataset=FILE.yaml --out runs/mine
    python -m training.train swin-b --set dataset=FILE.yaml --out runs/mine
    python -m training.train swin-l --set dataset=FILE.yaml --out runs/mine

The file gives the folders, the classes and the modality of X. Duration and score depend on the dataset;
`--dry-run` estimates the duration. Adapt these settings: `crop` and `model.inputs.short_side` to the size of
the images and objects; `epochs` to the number of pairs (lite was trained for 30 epochs on 795 pairs, Swin-B
for 400); `eval_every` with `val_fraction` to select weights by validation; `x_scale` or `holes` to the
variation of X.
"""

from training.recipes.nyuv2 import NYUV2_SWIN_B
from training.recipes.nyuv2_lite import NYUV2_LITE

FROM_COMMAND_LINE = {"dataset": "", "modality": None}

CUSTOM_LITE = NYUV2_LITE.derive("lite", **FROM_COMMAND_LINE, dequantise=False, x_scale=(1.0, 1.0))
CUSTOM_SWIN_B = NYUV2_SWIN_B.derive("swin-b", **FROM_COMMAND_LINE)
CUSTOM_SWIN_L = CUSTOM_SWIN_B.derive("swin-l", backbone="swin-l")
