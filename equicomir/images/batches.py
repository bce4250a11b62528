"""Batches of patches, one a step: the same whatever the number of processes that cut them.

A batch depends on the seed and its own number alone, not on the batches before it: so worker
processes may cut them in any order, and a run that was broken off goes on at any step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

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

    Where some scenes lack a modality, all of a batch come from scenes that have the same ones;
    which, is drawn, by the area that each kind of scene has.

    Attributes:
        scenes: to cut from, in the instruments' own units; at least two modalities each.
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
        modalities, which = self._kind(step)
        drawn = draw_patches(
            [self.places[number] for number in which],
            self.count,
            len(modalities),
            turns=self.turns,
            scenes_at_once=self.scenes_at_once,
            augmentation=self.augmentation,
            generator=torch.Generator().manual_seed(mixed_seed(self.seed, step)),
        )
        return replace(drawn, scene=torch.tensor(which)[drawn.scene], modalities=modalities)

    @cached_property
    def kinds(self) -> dict[tuple[str, ...], list[int]]:
        """Scenes by the modalities that they have, in the order of the scalings."""
        found: dict[tuple[str, ...], list[int]] = {}
        for number, scene in enumerate(self.scenes):
            has = tuple(modality for modality in self.scalings if modality in scene.images)
            found.setdefault(has, []).append(number)
        return found

    def _kind(self, step: int) -> tuple[tuple[str, ...], list[int]]:
        """The modalities of a batch and the scenes that have them."""
        kinds = list(self.kinds.items())
        if len(kinds) == 1:
            return kinds[0]
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, step, len(kinds)))
        areas = [float(sum(self.places[number].area for number in which)) for _, which in kinds]
        return kinds[int(torch.multinomial(torch.tensor(areas), 1, generator=generator))]

    def __getitem__(self, step: int) -> tuple[Draw, list[Images]]:
        """What was drawn for this process at one step, and the patches, one tensor a modality."""
        number, processes = self.share
        each = self.count // processes
        draw = self.draw(step).part(number * each, (number + 1) * each)
        return draw, cut_patches(self.scenes, draw, self.places[0].size, self.scalings)


def check_modalities(batches: Batches, processes: int) -> None:
    """Refuse scenes from which nothing can be learned.

    Args:
        batches: of the scenes.
        processes: that share each batch.

    Raises:
        ValueError: one has a single modality; or some lack one where several processes wait for
            the gradient of every weight.
    """
    kinds = batches.kinds
    for modalities, which in kinds.items():
        if len(modalities) < 2:
            raise ValueError(
                f"scene {batches.scenes[which[0]].name}: expected at least two modalities, got "
                f"{list(modalities)}; leave it out."
            )
    if processes > 1 and len(kinds) > 1:
        raise ValueError(
            f"scenes: expected all modalities in every scene with {processes} processes, got "
            f"scenes with {' and with '.join(map(str, map(list, kinds)))}; take one process."
        )


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
