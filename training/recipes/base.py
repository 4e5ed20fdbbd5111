"""The settings of a training run as one frozen object."""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from ktb.modeling.build import VARIANTS, FusionStart
from ktb.modeling.model import MIN_SIDE
from ktb.utils.validation import checked
from training.data.augment import AugmentConfig


def _no_sample_loses_both(fraction: float) -> float:
    if not 0 <= fraction <= 0.5:
        raise ValueError("it must be in [0, 0.5]: no sample loses both streams")
    return fraction


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= pair[0] <= pair[1]:
        raise ValueError("it must be two numbers of at least 0, the lower one first")
    return pair


def _positive(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[0] > 0:
        raise ValueError("it must be two numbers above 0")
    return pair


def _large_enough(crop: tuple[int, int]) -> tuple[int, int]:
    if min(crop) < MIN_SIDE:
        raise ValueError(f"it must have at least {MIN_SIDE} pixels on each side")
    return crop


Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
FractionBelowOne = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(gt=0)]
CountFromZero = Annotated[int, Field(ge=0)]
Range = Annotated[tuple[Number, Number], AfterValidator(_ascending)]
Masked = Annotated[float, AfterValidator(_no_sample_loses_both)]
NO_SETTINGS = ("parent", "published")  # fields with information about a recipe


@checked
class Recipe:
    """All settings that determine a run's result besides the data; recipes are derived by `derive`.

    Learning rates are per step, the schedule is in epochs, and `crop` is (height, width) in pixels. A step is
    one update of the weights from `batch_size` pairs, over all processes and micro-batches. A recipe
    therefore has the same meaning on one machine and on several.
    """

    name: str
    # a key of training.data.datasets.REGISTRY, or the YAML file of a custom dataset; "": --set must give it
    dataset: str
    modality: str | None = None  # None: the dataset's first
    backbone: Literal[tuple(VARIANTS)] = "lite"
    model: Mapping[str, Any] = field(default_factory=dict)  # changes of the model's configuration, by path
    pretrained: str | None = None  # file with the frozen backbone's weights; None: the default source

    epochs: Count = 60
    batch_size: Count = 8
    accumulate: Count = 1  # micro-batches per process and step, to save memory
    lr: Positive = 1e-3
    weight_decay: NotNegative = 0.01
    decay_tables: bool = False  # also decay the position-bias tables, see training.engine.optim
    warmup_epochs: NotNegative = 1.0
    warmup_start: Fraction = 0.1  # the first step's learning rate as a fraction of lr
    poly_power: Positive = 0.9
    grad_clip: Positive | None = None  # largest gradient norm
    ema: Annotated[float, Field(gt=0, lt=1)] | None = (
        0.999  # decay of the averaged weights that are evaluated and saved
    )
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"  # fp16 needs CUDA
    channels_last: bool = False
    gradient_checkpointing: bool = False  # recompute blocks in the backward pass, to save memory
    dropout: FractionBelowOne | None = None  # of adapters and heads; None: the network's own, 0.1
    seed: int = 3407

    eval_every: CountFromZero = 0  # epochs between validations; 0: no validation, the last weights are used
    val_fraction: FractionBelowOne = (
        0.0  # fraction of train held out in contiguous blocks if the dataset has no split "val"
    )
    select: str = "fused_miou"  # column of eval.csv whose highest value selects best.safetensors

    crop: Annotated[tuple[int, int], AfterValidator(_large_enough)] = (240, 320)
    scale: Annotated[Range, AfterValidator(_positive)] = (
        0.5,
        2.0,
    )  # 1: the image's short side becomes the crop's
    flip: Fraction = 0.5
    jitter: Fraction = 0.2
    jitter_range: Range = (0.5, 1.5)
    blur: Fraction = 0.2
    blur_sigma: Range | None = None  # None: a 3 x 3 kernel
    blur_x: bool = False  # blur X together with the RGB image
    dequantise: bool = False
    x_scale: Range = (1.0, 1.0)
    holes: CountFromZero = 0
    # A mirrored angle of polarization changes its sign; false: the sine is only mirrored, as in the reference
    mirror_angles: bool = True
    # Faults of real sensors, see training.data.faults.
    depth_faults: Fraction = 0.0  # probability of noise, coarse steps and missing depth; only for depth
    rgb_faults: Fraction = 0.0  # probability of a dark, noisy or blurred RGB image
    misalignment: NotNegative = 0.0  # X is moved by up to this many pixels of the crop in half of the samples
    absent: Masked = 0.0  # probability that X is an image of zeros, and the same for the RGB image
    mix: Fraction = 0.0  # probability that a sample gets the pixels of half of the classes of another one

    masking: bool = True  # MMST: zero the rgb tokens of some samples, the x tokens of others
    mask_rgb: Masked = 0.25  # fraction of each batch whose rgb tokens are zeroed
    mask_x: Masked = 0.25
    self_teaching: bool = True  # MMST: the branches are trained, too
    branch_weight: NotNegative = 0.01
    mask_labels: bool = True  # MMST: train the branches only where the fused prediction is correct

    pairs_batch: CountFromZero = 0  # pairs without labels in each step, taken from --pairs
    pairs_scale: Annotated[Range, AfterValidator(_positive)] = (1.0, 2.0)  # as `scale`
    pairs_weight: NotNegative = 1.0  # of the loss against the averaged teacher's labels
    box_weight: NotNegative = 0.5  # of the loss of boxes

    loss: Literal["ce", "ohem"] = "ce"
    ohem_threshold: FractionBelowOne = 0.7  # pixels whose true class has a lower probability are hard
    ohem_min_kept: FractionBelowOne = 1 / 16  # at least this fraction of the valid pixels is used
    class_weight_power: NotNegative = (
        0.0  # weight of a class: (its fraction of the labelled pixels) ** -power
    )
    loss_stride: Count = 1  # compute the loss at every n-th pixel: faster, with little loss of detail
    label_smoothing: FractionBelowOne = 0.0

    # Initial values of prompts and fusion; the defaults of ktb.modeling.build.FusionStart.
    alpha: tuple[float, float, float, float] = (1e-3, 1e-3, 1e-3, 1.0)
    qk_gain: Number = 1.0
    bias_sigmas: tuple[float, ...] = ()
    prompt_zero: bool = False

    # Information about the recipe; not a setting and not saved with a run.
    parent: "Recipe | None" = field(default=None, compare=False, repr=False)
    published: float | None = field(default=None, compare=False, repr=False)  # mIoU of the released model

    def __post_init__(self) -> None:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs}) must be below epochs ({self.epochs}).")

    def derive(self, name: str, **changes: Any) -> "Recipe":
        """A recipe with this name and with `changes`; it does not inherit `published`."""
        return dataclasses.replace(self, **{"name": name, "parent": self, "published": None} | changes)

    @property
    def augmentation(self) -> AugmentConfig:
        """The settings of the augmentation."""
        names = [f.name for f in dataclasses.fields(AugmentConfig)]
        return AugmentConfig(**{name: getattr(self, name) for name in names})

    @property
    def fusion_start(self) -> FusionStart:
        """The initial values of prompts and fusion."""
        return FusionStart(self.alpha, self.qk_gain, self.bias_sigmas, self.prompt_zero)

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values (tuples become lists), for checkpoints and model cards."""
        values = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in NO_SETTINGS
        }
        return {
            k: list(v) if isinstance(v, tuple) else dict(v) if k == "model" else v for k, v in values.items()
        }
