"""What a training run is made of, as one frozen object."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ktb.modeling.build import FusionStart
from ktb.modeling.model import MIN_SIDE
from training.data.augment import AugmentConfig

# What values must be: (the end of the message, the test, the fields).
RULES = (
    (
        "be positive",
        lambda v: v > 0,
        ("epochs", "batch_size", "accumulate", "lr", "poly_power", "loss_stride"),
    ),
    (
        "not be negative",
        lambda v: v >= 0,
        ("weight_decay", "warmup_epochs", "eval_every", "branch_weight", "class_weight_power", "holes"),
    ),
    ("be in [0, 1]", lambda v: 0 <= v <= 1, ("flip", "jitter", "blur", "warmup_start")),
    (
        "be in [0, 1)",
        lambda v: v is None or 0 <= v < 1,
        ("dropout", "ohem_threshold", "ohem_min_kept", "label_smoothing", "val_fraction"),
    ),
    ("lie between 0 and 1, or be none", lambda v: v is None or 0 < v < 1, ("ema",)),
    ("be positive, or none", lambda v: v is None or v > 0, ("grad_clip",)),
    ("be in [0, 0.5]: no sample loses both streams", lambda v: 0 <= v <= 0.5, ("mask_rgb", "mask_x")),
    ("have its two numbers above 0, the lower one first", lambda v: 0 < v[0] <= v[1], ("scale",)),
    (
        "have its two numbers in order, not negative",
        lambda v: v is None or 0 <= v[0] <= v[1],
        ("jitter_range", "x_scale", "blur_sigma"),
    ),
    (f"have at least {MIN_SIDE} pixels a side", lambda v: min(v) >= MIN_SIDE, ("crop",)),
)
NO_SETTINGS = ("parent", "published")  # fields that say something about a recipe


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's result besides the data; recipes derive from one another by `derive`.

    Rates are per step, the schedule is counted in epochs; `crop` is (height, width) in pixels. A step is one
    update of the weights: `batch_size` pairs, over all processes and all parts of an accumulated gradient, so
    that a recipe means the same on one machine and on many.
    """

    name: str
    dataset: (
        str  # one of training.data.datasets.REGISTRY, or the path of an own-data YAML; "" leaves it to --set
    )
    modality: str | None = None  # None: the dataset's first
    backbone: Literal["lite", "swin-b", "swin-l"] = "lite"
    model: Mapping[str, Any] = field(
        default_factory=dict
    )  # changed configuration, as {"inputs.short_side": 480}
    pretrained: str | None = None  # file with the frozen backbone's weights; None takes the usual source

    epochs: int = 60
    batch_size: int = 8
    accumulate: int = 1  # parts that a process's share of the batch is cut into, to save memory
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup_epochs: float = 1.0
    warmup_start: float = 0.1  # the first step's rate as a part of lr
    poly_power: float = 0.9
    grad_clip: float | None = None  # largest gradient norm
    ema: float | None = 0.999  # decay of the averaged weights that are evaluated and saved
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"  # fp16 needs CUDA
    channels_last: bool = False
    gradient_checkpointing: bool = False  # blocks are computed again in the backward pass: less memory
    dropout: float | None = None  # of adapters and heads; None: the network's own, 0.1
    seed: int = 3407

    eval_every: int = 0  # epochs between scores on the validation frames; 0: never, the last weights count
    val_fraction: float = 0.0  # part of the training split held out where the dataset has no split "val"
    select: str = "fused_miou"  # column of eval.csv whose highest value chooses best.safetensors

    crop: tuple[int, int] = (240, 320)
    scale: tuple[float, float] = (0.5, 2.0)  # 1: the image's short side is the crop's
    flip: float = 0.5
    jitter: float = 0.2
    jitter_range: tuple[float, float] = (0.5, 1.5)
    blur: float = 0.2
    blur_sigma: tuple[float, float] | None = None  # None: a 3 x 3 kernel
    blur_x: bool = False  # blur X together with the photograph
    dequantise: bool = False
    x_scale: tuple[float, float] = (1.0, 1.0)
    holes: int = 0

    masking: bool = True  # MMST: some samples of a batch lose their rgb tokens, others their x tokens
    mask_rgb: float = 0.25  # part of each batch whose rgb tokens are zeroed
    mask_x: float = 0.25
    self_teaching: bool = True  # MMST: the branches learn as well
    branch_weight: float = 0.01
    mask_labels: bool = True  # MMST: the branches learn only where the fused prediction is right

    loss: Literal["ce", "ohem"] = "ce"
    ohem_threshold: float = 0.7  # pixels whose true class is less probable than this count as hard
    ohem_min_kept: float = 1 / 16  # at least this part of the valid pixels is kept
    class_weight_power: float = 0.0  # a class weighs (its share of the labelled pixels) ** -power
    loss_stride: int = 1  # compare logits and labels at every n-th pixel: cheaper, at little loss of detail
    label_smoothing: float = 0.0

    # How prompts and fusion start: see ktb.modeling.build.FusionStart, whose defaults these are.
    alpha: tuple[float, float, float, float] = (1e-3, 1e-3, 1e-3, 1.0)
    qk_gain: float = 1.0
    bias_sigmas: tuple[float, ...] = ()
    prompt_zero: bool = False

    # About the recipe: no settings, and not saved with a run.
    parent: "Recipe | None" = field(default=None, compare=False, repr=False)
    published: float | None = field(default=None, compare=False, repr=False)  # mIoU of the released model

    def __post_init__(self):
        for what, fits, keys in RULES:
            for key in keys:
                if not fits(value := getattr(self, key)):
                    raise ValueError(f"Recipe '{self.name}': {key} must {what}, got {value}.")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"Recipe '{self.name}': warmup_epochs ({self.warmup_epochs}) must be below epochs "
                f"({self.epochs})."
            )

    def derive(self, name: str, **changes: Any) -> "Recipe":
        """A recipe called `name` that differs from this one in `changes`; what was published stays behind."""
        return dataclasses.replace(self, **{"name": name, "parent": self, "published": None} | changes)

    @property
    def augmentation(self) -> AugmentConfig:
        """The fields that concern augmentation."""
        names = [f.name for f in dataclasses.fields(AugmentConfig)]
        return AugmentConfig(**{name: getattr(self, name) for name in names})

    @property
    def fusion_start(self) -> FusionStart:
        """The fields that concern the start of prompts and fusion."""
        return FusionStart(self.alpha, self.qk_gain, self.bias_sigmas, self.prompt_zero)

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values (tuples become lists), for checkpoints and model cards."""
        values = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in NO_SETTINGS
        }
        return {
            k: list(v) if isinstance(v, tuple) else dict(v) if k == "model" else v for k, v in values.items()
        }
