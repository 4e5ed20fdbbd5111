"""Ablations of the method with lite on NYUv2 and depth: short runs with small crops, and longer ones.

    python -m training.train ablation-full --data DATA/NYUDepthv2 --out runs/full-0 --set seed=0
    python -m training.train ablation-no-mapa --data DATA/NYUDepthv2 --out runs/no-mapa-0 --set seed=0
    python -m training.train ablation-no-adapters --data DATA/NYUDepthv2 --out runs/no-adapters-0 --set seed=0
    python -m training.train ablation-mean-fusion --data DATA/NYUDepthv2 --out runs/mean-fusion-0 --set seed=0
    python -m training.train ablation-no-mmst --data DATA/NYUDepthv2 --out runs/no-mmst-0 --set seed=0
    python -m training.train ablation-fused-only --data DATA/NYUDepthv2 --out runs/fused-only-0 --set seed=0

Repeat each with several seeds. Measured on one CPU thread: 6 to 10 minutes each. Measured fused mIoU on 327
test frames at a short side of 160, in bfloat16, with seeds 0 and 1: full 20.1 and 20.8, no MAPA 20.7 and
20.5, no adapters 20.2 and 20.0, mean fusion 22.2 and 21.6, no MMST 23.2 and 23.1. "Fused only" was not
measured. training/README.md section 10 has the details.

Longer runs, scored on the 80 held-out frames and never run so far; an estimate is one hour each on two cores:

    python -m training.train compare-residual --data DATA/NYUDepthv2 --out runs/residual-0 --set seed=0
    python -m training.train compare-dscf --data DATA/NYUDepthv2 --out runs/dscf-0 --set seed=0
    python -m training.train compare-mean --data DATA/NYUDepthv2 --out runs/mean-0 --set seed=0
    python -m training.train compare-no-mapa --data DATA/NYUDepthv2 --out runs/no-mapa-0 --set seed=0
    python -m training.train compare-no-adapters --data DATA/NYUDepthv2 --out runs/no-adapters-0 --set seed=0
    python -m training.train compare-no-mmst --data DATA/NYUDepthv2 --out runs/no-mmst-0 --set seed=0
    python -m training.train compare-fused-only --data DATA/NYUDepthv2 --out runs/fused-only-0 --set seed=0

The last two differ: without MMST the branches still have losses, on all labels; `compare-fused-only` trains
with the fused cross-entropy alone, and its two other heads stay untrained.
"""

from training.recipes.nyuv2_lite import NYUV2_LITE

FULL = NYUV2_LITE.derive("ablation-full", epochs=4, batch_size=8, crop=(160, 224), warmup_epochs=0.5)

# Without the prompts before each stage; the next recipe ablates the adapters, the second half of MAPA.
NO_MAPA = FULL.derive("ablation-no-mapa", model={"fusion.prompts": False})
NO_ADAPTERS = FULL.derive("ablation-no-adapters", model={"backbone.adapters": False})
MEAN_FUSION = FULL.derive("ablation-mean-fusion", model={"fusion.kind": "mean"})

# No stream is masked, and the branches learn from all labels, not only where the fused head is correct. They
# keep their weight in the loss, so that their heads can be compared.
NO_MMST = FULL.derive("ablation-no-mmst", masking=False, mask_labels=False)

# The cross-entropy of the fused head is the whole loss: no masking, and no gradient from the branches' heads,
# which therefore stay untrained. `NO_MMST` keeps the losses of the branches.
FUSED_ONLY = FULL.derive("ablation-fused-only", masking=False, self_teaching=False)

ABLATIONS = (FULL, NO_MAPA, NO_ADAPTERS, MEAN_FUSION, NO_MMST, FUSED_ONLY)

RESIDUAL = NYUV2_LITE.derive(
    "compare-residual", epochs=12, model={"fusion.residual": True}, val_fraction=0.1, eval_every=12
)
COMPARISONS = (
    RESIDUAL,
    RESIDUAL.derive("compare-dscf", model={}),
    RESIDUAL.derive("compare-mean", model={"fusion.kind": "mean"}),
    RESIDUAL.derive("compare-no-mapa", model={"fusion.residual": True, "fusion.prompts": False}),
    RESIDUAL.derive("compare-no-adapters", model={"fusion.residual": True, "backbone.adapters": False}),
    RESIDUAL.derive("compare-no-mmst", masking=False, mask_labels=False),
    RESIDUAL.derive("compare-fused-only", masking=False, self_teaching=False),
)
