"""What each part of the method adds, on the small model, NYUv2 and depth; short runs with small crops.

    python -m training.train ablation-full --data DATA/NYUDepthv2 --out runs/full-0 --set seed=0
    python -m training.train ablation-no-mapa --data DATA/NYUDepthv2 --out runs/no-mapa-0 --set seed=0
    python -m training.train ablation-no-adapters --data DATA/NYUDepthv2 --out runs/no-adapters-0 --set seed=0
    python -m training.train ablation-mean-fusion --data DATA/NYUDepthv2 --out runs/mean-fusion-0 --set seed=0
    python -m training.train ablation-no-mmst --data DATA/NYUDepthv2 --out runs/no-mmst-0 --set seed=0

with several seeds each. Figures, with their times, are in training/README.md.
"""

from training.recipes.nyuv2_lite import NYUV2_LITE

FULL = NYUV2_LITE.derive("ablation-full", epochs=4, batch_size=8, crop=(160, 224), warmup_epochs=0.5)

# The prompts at the stages' entries; the adapters, MAPA's second half, are taken out by the next one.
NO_MAPA = FULL.derive("ablation-no-mapa", model={"fusion.prompts": False})
NO_ADAPTERS = FULL.derive("ablation-no-adapters", model={"backbone.adapters": False})
MEAN_FUSION = FULL.derive("ablation-mean-fusion", model={"fusion.kind": "mean"})

# No stream is masked, and the branches learn from the plain labels instead of what the fused output gets
# right: they still learn, with the same weight, so that their heads exist and can be compared.
NO_MMST = FULL.derive("ablation-no-mmst", masking=False, mask_labels=False)

ABLATIONS = (FULL, NO_MAPA, NO_ADAPTERS, MEAN_FUSION, NO_MMST)
