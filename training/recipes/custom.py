"""Your own image pairs, described by a YAML file (`ktb/datasets/custom.py` says how).

    python -m training.train lite --set dataset=FILE.yaml --out runs/mine
    python -m training.train swin-b --set dataset=FILE.yaml --out runs/mine
    python -m training.train swin-l --set dataset=FILE.yaml --out runs/mine

The folders, the classes and what X is come from the file. Worth a look with `--dry-run` first:
`crop` and `model.inputs.short_side` for the size of your images and objects, `epochs` for their number
(the small model had 30 passes over 795 pairs, Swin-B 400), `eval_every` with `val_fraction` for a choice by
validation, and `x_scale` or `holes` to make X vary as yours does.
"""

from training.recipes.nyuv2 import NYUV2_SWIN_B
from training.recipes.nyuv2_lite import NYUV2_LITE

NAMED_LATER = {"dataset": "", "modality": None}

OWN_LITE = NYUV2_LITE.derive("lite", **NAMED_LATER, dequantise=False, x_scale=(1.0, 1.0))
OWN_SWIN_B = NYUV2_SWIN_B.derive("swin-b", **NAMED_LATER)
OWN_SWIN_L = OWN_SWIN_B.derive("swin-l", backbone="swin-l")
