"""Batches of patches, one a step: the same whatever the number of processes that cut them.

A batch depends on the seed and its own number alone, not on the batches before it: so worker
processes may cut them in any order, and a run that was broken off goes on at any step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from equicomir.images.augmentation import Augmentation
from equicomir.images.intensities import Scaling
from equicomir.images.pairs import Scene
from equicomir.images.patches import Draw, Places, cut_patches, draw_patches
from equicomir.shapes import Images


def mixed_seed(*numbers: int) -> int:
    """A seed from several numbers, such that neighbours share nothing.

    Example:
        >>> mixed_seed(0, 1) != mixed_seed(1, 0)
        True
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@dataclass(frozen=True)
class Batches(Dataset[tuple[Draw, list[Images]]]):
    """Batches by number.

    Attributes:
        scenes: to cut from, in the instruments' own units.
        scalings: of their intensities, by modality.
        places: of :func:`equicomir.images.patches.patch_places`.
        count: patches a batch.
        seed: of all draws.
        turns: as :func:`equicomir.images.patches.draw_patches` says, like the next two.
        scenes_at_once: as there.
        augmentation: as there.
        share: (number of this process, number of processes): each cuts its share of a batch.
    """

    scenes: Sequence[Scene]
    scalings: Mapping[str, Scaling]
    places: Sequence[Places]
    count: int
    seed: int
    turns: int | None = None
    scenes_at_once: int | None = None
    augmentation: Augmentation | None = None
    share: tuple[int, int] = (0, 1)

    def draw(self, step: int) -> Draw:
        """The parameters of one batch, of all processes."""
        return draw_patches(
            self.places,
            self.count,
            len(self.scalings),
            turns=self.turns,
            scenes_at_once=self.scenes_at_once,
            augmentation=self.augmentation,
            generator=torch.Generator().manual_seed(mixed_seed(self.seed, step)),
        )

    def __getitem__(self, step: int) -> tuple[Draw, list[Images]]:
        """What was drawn for this process at one step, and the patches, one tensor a modality."""
        number, processes = self.share
        each = self.count // processes
        draw = self.draw(step).part(number * each, (number + 1) * each)
        return draw, cut_patches(self.scenes, draw, self.places[0].size, self.scalings)


def in_order(
    batches: Batches, first: int, past: int | None = None, *, workers: int = 0
) -> Iterator[tuple[Draw, list[Images]]]:
    """Batches ``first`` up to ``past``, without end if None.

    Args:
        batches: by number.
        first: number of the first, from 0.
        past: one past the last.
        workers: processes that cut ahead; 0 cuts here, when asked. They change nothing else.

    Yields:
        What was drawn, and the patches.

    Raises:
        ValueError: ``workers`` is negative.
    """
    if workers < 0:
        raise ValueError(f"workers: expected 0 or more processes, got {workers}.")
    steps = range(first, 2**62 if past is None else past)
    if workers == 0:
        yield from (batches[step] for step in steps)
    else:
        loader = DataLoader(
            batches, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=2
        )
        yield from loader
