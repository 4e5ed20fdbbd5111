"""From samples to network input: a batch loader that can start at any batch of an epoch."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from ktb.modeling.model import KTB
from training.data.augment import AugmentConfig, augment, mix_classes
from training.data.datasets.base import PairDataset
from training.data.datasets.sample import Sample


class Batch(NamedTuple):
    """names: B sample names. rgb: (B, 3, H, W) uint8. modal_x: (B, 1 or 3, H, W) float32 in 0..255.
    label: (B, H, W) int64, 255 ignored."""

    names: tuple[str, ...]
    rgb: torch.Tensor
    modal_x: torch.Tensor
    label: torch.Tensor


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size."""
    modal_x = np.stack([s.modal_x if s.modal_x.ndim == 3 else s.modal_x[..., None] for s in samples])
    return Batch(
        tuple(s.name for s in samples),
        torch.from_numpy(np.stack([s.rgb for s in samples])).permute(0, 3, 1, 2),
        torch.from_numpy(modal_x.astype(np.float32, copy=False)).permute(0, 3, 1, 2),
        torch.from_numpy(np.stack([s.label for s in samples])).long(),
    )


def network_input(
    model: KTB,
    batch: Batch,
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalise a batch for `model`: rgb and modal_x, both (B, 3, H, W) float32 on `device`."""
    rgb = batch.rgb.to(device, non_blocking=True).contiguous(memory_format=memory_format)
    modal_x = batch.modal_x.to(device, non_blocking=True) / 255
    modal_x = modal_x.expand(-1, 3, -1, -1).contiguous(memory_format=memory_format)
    return model.normalize_rgb(rgb), model.normalize_x(modal_x)


@dataclass(frozen=True)
class Shard:
    """The slice of every batch that process number `process` of `processes` loads, in `micro_batches`."""

    process: int = 0
    processes: int = 1
    micro_batches: int = 1

    def of(self, batch: Sequence | np.ndarray | torch.Tensor) -> list:
        """This process's micro-batches of a whole batch, as slices of equal size."""
        size = len(batch) // (self.processes * self.micro_batches)
        first = self.process * self.micro_batches * size
        return [batch[first + i * size : first + (i + 1) * size] for i in range(self.micro_batches)]


class BatchLoader:
    """Shuffled, augmented batches of a dataset; the last incomplete batch of an epoch is dropped.

    The order depends only on (seed, epoch), and each sample's augmentation only on (seed, epoch, index). A
    run can therefore resume exactly at any position, with any number of threads, and several processes
    together load what one process would load. Threads suffice because cv2 releases the interpreter lock.
    Raises ValueError if the indices do not fill one batch, or if the batch does not divide into the shards.
    """

    def __init__(
        self,
        dataset: PairDataset,
        indices: Sequence[int],
        batch_size: int,
        config: AugmentConfig,
        seed: int,
        workers: int = 1,
        shard: Shard = Shard(),
    ):
        if len(indices) < batch_size:
            raise ValueError(
                f"{len(indices)} samples do not fill one batch: lower batch_size ({batch_size})."
            )
        if batch_size % (shard.processes * shard.micro_batches):
            raise ValueError(
                f"batch_size {batch_size} does not divide into {shard.processes} processes x "
                f"{shard.micro_batches} micro-batches: change batch_size or accumulate."
            )
        self.dataset = dataset
        self.indices = np.asarray(indices)
        self.batch_size = batch_size
        self.config = config
        self.seed = seed
        self.workers = workers
        self.shard = shard

    def __len__(self) -> int:
        return len(self.indices) // self.batch_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """This process's micro-batches of each batch of an epoch, from batch `start` on; threads prefetch."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.indices)
        chunks = [order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(start, len(self))]
        if self.workers == 0:
            for chunk in chunks:
                yield self._load(chunk, epoch)
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="batches")
        try:
            waiting: deque = deque()
            for chunk in chunks:
                waiting.append(pool.submit(self._load, chunk, epoch))
                if len(waiting) > self.workers + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _load(self, chunk: np.ndarray, epoch: int) -> list[Batch]:
        return [
            collate([self._sample(index, epoch) for index in part.tolist()]) for part in self.shard.of(chunk)
        ]

    def _sample(self, index: int, epoch: int) -> Sample:
        rng = np.random.default_rng([self.seed, epoch, index])
        encoding = self.dataset.input_config["encoding"]
        sample = augment(self.dataset.drawn(index, rng), self.config, rng, encoding)
        if self.config.mix and rng.random() < self.config.mix:
            other = self.dataset.drawn(int(rng.choice(self.indices)), rng)
            sample = mix_classes(sample, augment(other, self.config, rng, encoding), rng)
        return sample
