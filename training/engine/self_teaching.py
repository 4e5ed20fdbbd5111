"""Masked self-teaching on real pairs without labels, beside the labelled batches of a run.

The averaged weights are the teacher. It sees both sensors of a pair as they are; the student sees one of
them, or a darkened RGB image, or a displaced X. Boxes correct the teacher and are weak labels themselves.
"""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ktb.config import BRANCHES, InputConfig
from ktb.inputs.perturb import darkened
from ktb.modeling.model import KTBOutput
from training.box_loss import inside_loss, outside_boxes, stray_loss
from training.data.augment import jitter_colors
from training.data.loader import Batch, network_input
from training.data.pairs import BICYCLE, CAR, PERSON, Boxes, Pair, PairFolder, crop_pair, displaced
from training.engine.trainer import AUTOCAST_TYPES, Trainer
from training.losses import LossParts, PixelLoss, draw_masks, mmst_loss
from training.recipes import Recipe

CERTAIN = 0.6
"""Probability from which the teacher's class is a label."""
FOUND = 0.2
"""Fraction of a box's pixels from which the teacher counts as having found its object."""
MARGIN = 1.0
"""Pixels of the crop by which boxes are widened before pixels count as outside."""
STRAY, INSIDE = 2.0, 0.5
"""Weights of the two losses of boxes."""
MOST_DISPLACED = 5
TEACHER_STEPS = 20
"""Steps for which the batch-norm statistics of the teacher are used; measuring them takes 16 passes."""
WITHOUT_BOXES = 1 / 3
"""How often a pair without boxes is drawn, relative to one with boxes."""
PERSON_CLASSES, CAR_CLASSES = ("pedestrian", "bicyclist"), ("car",)


class PairBatch(NamedTuple):
    """Crops of pairs: what the teacher sees, what the student sees, and the boxes in pixels of the crop.

    rgb_lost, x_lost: (B,) bool, the samples whose tokens the student loses. dark: (B,) bool, the samples
    whose RGB image is darkened, in which the boxes of the RGB image cannot be found.
    """

    clean: Batch
    student: Batch
    pairs: Sequence[Pair]
    rgb_lost: Tensor
    x_lost: Tensor
    dark: np.ndarray


class PairBatches:
    """Random crops of the "train" blocks of annotated folders and of all pairs of the others.

    All pairs are kept in memory. Raises ValueError if a folder does not follow the layout.
    """

    def __init__(self, inputs: InputConfig, folders: Sequence[Path], recipe: Recipe):
        self.recipe = recipe
        self.pairs: list[Pair] = []
        for root in folders:
            annotated = (root / "Boxes").is_dir()
            folder = PairFolder(root, inputs, "train" if annotated else "all")
            self.pairs += [_compact(folder[index]) for index in range(len(folder))]
        if not self.pairs:
            raise ValueError(f"--pairs {', '.join(map(str, folders))}: there is no pair to train on")
        weights = np.array([WITHOUT_BOXES if pair.boxes is None else 1.0 for pair in self.pairs])
        self.weights = weights / weights.sum()

    def draw(self, step: int) -> PairBatch:
        """The batch of a step; it depends only on the recipe's seed and the step."""
        recipe, size = self.recipe, self.recipe.pairs_batch
        rng = np.random.default_rng([recipe.seed, step, 1])
        chosen = rng.choice(len(self.pairs), size, p=self.weights).tolist()
        pairs = [crop_pair(self.pairs[i], recipe.crop, recipe.pairs_scale, rng) for i in chosen]
        dark = rng.random(size) < 0.3
        masks = draw_masks(size, recipe.mask_rgb, recipe.mask_x, torch.Generator().manual_seed(step))
        student = [_disturbed(pair, bool(is_dark), rng) for pair, is_dark in zip(pairs, dark, strict=True)]
        return PairBatch(_batch(pairs), _batch(student), pairs, *masks, dark)


class SelfTeachingTrainer(Trainer):
    """A trainer whose every step also has a batch of pairs.

    Labelled samples and pairs share one forward pass, so that batch norms see both together. Raises
    ValueError for several processes, for a recipe without averaged weights, and for a model without the
    classes of CamVid.
    """

    def __init__(self, *arguments: Any, pairs: PairBatches):
        super().__init__(*arguments)
        if self.processes > 1:
            raise ValueError("Training with --pairs runs in one process: start it without a launcher.")
        if self.average is None:
            raise ValueError("Training with --pairs needs the averaged weights as teacher: --set ema=0.995.")
        classes = list(self.model.config.classes)
        if not set(PERSON_CLASSES + CAR_CLASSES) <= set(classes):
            raise ValueError(
                f"--pairs needs the classes {', '.join(PERSON_CLASSES + CAR_CLASSES)}; the model has "
                f"{', '.join(classes)}."
            )
        self.person, self.car = (
            [classes.index(name) for name in names] for names in (PERSON_CLASSES, CAR_CLASSES)
        )
        self.pairs = pairs
        self.against_teacher = PixelLoss()

    def _losses(self, batch: Batch, masks: tuple[Tensor | None, Tensor | None]) -> LossParts:
        recipe, drawn = self.recipe, self.pairs.draw(self.step)
        labelled = len(batch.names)
        inputs = self._joined(batch, masks, drawn)
        pick = slice((recipe.loss_stride - 1) // 2, None, recipe.loss_stride)
        label = batch.label[:, pick, pick].to(self.device)
        size = tuple(label.shape[-2:])
        target = self._taught(drawn, size)
        kind = AUTOCAST_TYPES[recipe.precision]
        with torch.autocast(self.device.type, kind, enabled=recipe.precision != "fp32"):
            output = self.network(*inputs, logits_hw=size)
        weight = recipe.branch_weight if recipe.self_teaching else 0.0
        parts = mmst_loss(
            _part(output, slice(0, labelled)),
            label,
            weight,
            mask_labels=recipe.mask_labels,
            pixel_loss=self.pixel_loss,
        )
        real = _part(output, slice(labelled, None))
        taught = mmst_loss(real, target, weight, mask_labels=False, pixel_loss=self.against_teacher)
        total = parts.total + recipe.pairs_weight * taught.total
        return parts._replace(total=total + recipe.box_weight * self._box_loss(real, drawn))

    def _joined(
        self, batch: Batch, masks: tuple[Tensor | None, Tensor | None], drawn: PairBatch
    ) -> list[Tensor]:
        """Both normalised images and both masks of the labelled samples and, after them, the pairs."""
        none = torch.zeros(len(batch.names), dtype=torch.bool)
        images = (
            network_input(self.model, part, self.device, self.memory_format)
            for part in (batch, drawn.student)
        )
        lost = (
            (none if own is None else own.cpu(), theirs)
            for own, theirs in zip(masks, (drawn.rgb_lost, drawn.x_lost), strict=True)
        )
        return [torch.cat(parts).to(self.device) for parts in (*zip(*images, strict=True), *lost)]

    def _pass(self, step: int, batch: Batch, masks: tuple[Tensor | None, Tensor | None]) -> None:
        """As in `Trainer`, with the step's pairs beside the batch, as in training."""
        kind = AUTOCAST_TYPES[self.recipe.precision]
        size = [side // 4 for side in batch.label.shape[-2:]]
        with torch.autocast(self.device.type, kind, enabled=self.recipe.precision != "fp32"):
            self.model(*self._joined(batch, masks, self.pairs.draw(step)), logits_hw=size)

    @torch.no_grad()
    def _taught(self, drawn: PairBatch, size: tuple[int, int]) -> Tensor:
        """Labels (B, h, w) int64 by the teacher, 255 where it is unsure or where boxes contradict it."""
        kind = AUTOCAST_TYPES[self.recipe.precision]
        inputs = network_input(self.model, drawn.clean, self.device, self.memory_format)
        with (
            self.averaged(TEACHER_STEPS) as model,
            torch.autocast(self.device.type, kind, enabled=self.recipe.precision != "fp32"),
        ):
            logits = model(*inputs, logits_hw=size, branches=("fused",)).fused
        certainty, target = logits.float().softmax(1).max(1)
        target = target.masked_fill(certainty < CERTAIN, self.against_teacher.ignore_index)
        scale = size[0] / self.recipe.crop[0]
        for labels, pair, blind in zip(target, drawn.pairs, drawn.x_lost.tolist(), strict=True):
            if pair.boxes is None:
                continue
            correct(labels, pair.boxes, scale, self.person, self.car)
            if blind:
                ignore_unseen(labels, pair.boxes["rgb"], scale, self.person)
        return target

    def _box_loss(self, real: Any, drawn: PairBatch) -> Tensor:
        """The weak labels' loss of the three heads, a float32 scalar; 0 if no pair has boxes."""
        total = torch.zeros((), device=self.device)
        annotated = [number for number, pair in enumerate(drawn.pairs) if pair.boxes is not None]
        for branch in BRANCHES:
            weight = 1.0 if branch == "fused" else self.recipe.branch_weight
            logits = getattr(real, branch).float()
            scale = logits.shape[-2] / self.recipe.crop[0]
            for number in annotated:
                boxes = drawn.pairs[number].boxes
                assert boxes is not None
                seen = []
                if branch != "rgb" and not drawn.x_lost[number]:
                    seen.append(boxes["thermal"])
                if branch != "x" and not drawn.rgb_lost[number] and not drawn.dark[number]:
                    seen.append(boxes["rgb"])
                probability = logits[number].softmax(0)
                for kinds, demanded, classes in (
                    ((PERSON, BICYCLE), PERSON, self.person),
                    ((CAR,), CAR, self.car),
                ):
                    own = probability[classes].sum(0)
                    loss = stray_loss(own, scale * _all_corners(boxes, *kinds), scale * MARGIN)
                    corners = [found.of(demanded) for found in seen]
                    inside = inside_loss(own, scale * np.concatenate(corners)) if corners else None
                    total = total + weight * STRAY * loss
                    total = total if inside is None else total + weight * INSIDE * inside
        return total / max(1, len(annotated))


def correct(
    labels: Tensor, boxes: dict[str, Boxes], scale: float, person: Sequence[int], car: Sequence[int]
) -> None:
    """Ignore, in place, what boxes contradict in the teacher's labels (h, w).

    An object's class outside all its boxes is ignored, and everything inside a box of which the teacher found
    less than `FOUND`. scale: pixels of `labels` per pixel of the boxes.
    """
    size = tuple(labels.shape)
    for kinds, demanded, classes in (((PERSON, BICYCLE), PERSON, person), ((CAR,), CAR, car)):
        own = torch.isin(labels, torch.tensor(classes, device=labels.device))
        outside = outside_boxes(size, scale * _all_corners(boxes, *kinds), scale * MARGIN)
        labels[own & torch.from_numpy(outside).to(labels.device)] = 255
        for left, top, right, bottom in np.round(scale * _all_corners(boxes, demanded)).astype(int).tolist():
            window = slice(top, bottom), slice(left, right)
            if own[window].numel() and own[window].float().mean() < FOUND:
                labels[window] = 255


def ignore_unseen(labels: Tensor, boxes: Boxes, scale: float, person: Sequence[int]) -> None:
    """Ignore, in place, people of the teacher's labels (h, w) outside the boxes of the RGB image.

    They are for students without X, which must not learn to see what the RGB image does not show.
    """
    unseen = outside_boxes(tuple(labels.shape), scale * boxes.of(PERSON, BICYCLE), scale * MARGIN)
    people = torch.isin(labels, torch.tensor(person, device=labels.device))
    labels[people & torch.from_numpy(unseen).to(labels.device)] = 255


def _all_corners(boxes: Any, *kinds: int) -> np.ndarray:
    return np.concatenate([found.of(*kinds) for found in boxes.values()])


def _part(output: KTBOutput, samples: slice) -> SimpleNamespace:
    return SimpleNamespace(**{branch: getattr(output, branch)[samples] for branch in BRANCHES})


def _compact(pair: Pair) -> Pair:
    """X as uint8: a quarter of the memory."""
    return pair._replace(modal_x=np.round(pair.modal_x).astype(np.uint8))


def _disturbed(pair: Pair, dark: bool, rng: np.random.Generator) -> Pair:
    rgb, modal_x = pair.rgb, pair.modal_x
    if dark:
        rgb = darkened(rgb, float(rng.uniform(0.6, 0.97)))
        noise = rng.normal(0, rng.uniform(0, 6), rgb.shape)
        rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    elif rng.random() < 0.5:
        rgb = jitter_colors(rgb, *rng.uniform(0.6, 1.4, size=3))
    if rng.random() < 0.5:
        modal_x = displaced(modal_x, MOST_DISPLACED, rng)
    modal_x = 255 * (modal_x.astype(np.float32) / 255) ** np.float32(rng.uniform(0.7, 1.4))
    return pair._replace(rgb=rgb, modal_x=modal_x)


def _batch(pairs: Sequence[Pair]) -> Batch:
    """A batch without labels."""
    modal_x = np.stack([pair.modal_x for pair in pairs]).astype(np.float32)[:, None]
    rgb = torch.from_numpy(np.stack([pair.rgb for pair in pairs])).permute(0, 3, 1, 2)
    nothing = torch.empty(0, dtype=torch.int64)
    return Batch(tuple(pair.name for pair in pairs), rgb, torch.from_numpy(modal_x), nothing)
