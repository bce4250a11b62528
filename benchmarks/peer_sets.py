"""On what peers are compared: the sets of the protocol, phantoms, and real pairs out of a wheel.

``phantoms`` are described and not photographed, so their truth has no error. ``zcmir_examples`` are
the four pairs of two instruments whose truth is known among those that the package zcmir carries
(Lu et al., Datasets for Evaluation of Multimodal Image Registration, doi 10.5281/zenodo.5557568,
CC BY 4.0): pairs cut by others, with no aligned images to learn from.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from peer_methods import of_homography

from equicomir.evaluation.displacements import TestPair, cut_pair
from equicomir.experiment.plan import Registration, Task
from equicomir.experiment.sets import SETS, DataSet
from equicomir.experiment.work import pairs_of
from equicomir.geometry import image_centre, rotation_degrees, transform_points
from equicomir.images.fingerprint import fingerprint
from equicomir.images.instruments import BRIGHTFIELD, FLUORESCENCE
from equicomir.images.pairs import Scene
from equicomir.images.phantoms import phantom
from equicomir.images.sources import Parts
from equicomir.images.tissues import cells, fibres, vessels
from equicomir.shapes import Array, ArrayMask, Matrix
from equicomir.training.settings import TrainingSettings

LISTS = Path(__file__).parent / "pairs"
PHANTOMS, EXAMPLES = "phantoms", "zcmir_examples"
#: Sets that need no folder of data.
CARRIED = (PHANTOMS, EXAMPLES)
#: Two instruments, by the names of the pairs; the second image of a pair is the fixed one there.
_INSTRUMENTS = {
    "mida-aerial-zh1501": ("near_infrared", "colour"),
    "mida-aerial-zh902": ("near_infrared", "colour"),
    "mida-hist-1b": ("second_harmonic", "bright_field"),
    "mida-cyto-du145": ("fluorescence", "phase_contrast"),
}
_LEVEL_OF_EXAMPLES = "4"
_TISSUES = (cells, fibres, vessels)
_SCENES = 2  # of each tissue, in each part
_LEAST_SIZE = 96  # of a phantom that surely holds something

#: A line of the list, and the fixed patch, the moving patch and its mask.
Patches = tuple[TestPair, tuple[Array, Array, ArrayMask]]


@dataclass(frozen=True)
class PeerSet:
    """A set, as far as it was read.

    Attributes:
        data_set: its name, modalities, and the widths of its ladder.
        parts: what is learned from and tested on; None where the pairs are all there is.
        data: fingerprint of its images.
    """

    data_set: DataSet
    parts: Parts | None
    data: str


def names() -> list[str]:
    """All sets."""
    return [*(one.name for one in SETS), *CARRIED]


@lru_cache(maxsize=1)
def read(name: str, data: Path | None, quick: bool = False) -> PeerSet:
    """Read a set.

    Args:
        name: one of :func:`names`.
        data: folder of the sets of the protocol.
        quick: tiny phantoms.

    Raises:
        ValueError: it is not there, or not what it is to be.
    """
    if name == EXAMPLES:
        pairs = _examples()
        images = [Scene(p.scene, {p.fixed: _tensor(x[0])}) for p, x in pairs]
        widths = tuple(sorted({pair.width for pair, _ in pairs}, reverse=True))
        return PeerSet(DataSet(name, ("fixed", "moving"), widths, "scenes"), None, _print(images))
    if name == PHANTOMS:
        widths = (48,) if quick else (128, 96, 64)
        modalities = (BRIGHTFIELD.name, FLUORESCENCE.name)
        parts = _phantoms(_LEAST_SIZE if quick else 256, 1 if quick else _SCENES)
        one = DataSet(name, modalities, widths, "scenes")
        return PeerSet(one, parts, _print([*parts.train, *parts.test]))
    if data is None:
        raise ValueError(f"--data: expected the folder of the data sets for {name}, got none.")
    one = next(one for one in SETS if one.name == name)
    one = replace(one, modalities=one.modalities[:2])
    one = replace(one, widths=_committed(one))
    parts = one.read(data)
    return PeerSet(one, parts, _print([*parts.train, *parts.test]))


def _print(scenes: Sequence[Scene]) -> str:
    return fingerprint(scenes)


def _committed(one: DataSet) -> tuple[int, ...]:
    """The widths of which a list of pairs is committed, greatest first."""
    stem = f"{one.name}_{'_'.join(one.modalities)}_"
    found = (path.stem.removeprefix(stem) for path in LISTS.glob(f"{stem}*.csv"))
    return tuple(sorted((int(width) for width in found if width.isdigit()), reverse=True))


def patches(one: PeerSet, width: int, level: str, count: int) -> Iterator[Patches]:
    """The first pairs of each direction, cut.

    Args:
        one: the set.
        width: of its ladder.
        level: of displacement.
        count: pairs a direction.
    """
    if one.parts is None:
        every = [p for p in _examples() if p[0].width == width and p[0].level == level]
        yield from every[: 2 * count]
        return
    modalities = one.data_set.modalities
    how = Registration()
    task = Task(
        replace(one.data_set, widths=(width,)),
        learns=modalities,
        lacking=0.0,
        encoder=None,
        training=TrainingSettings(),
        registrations=((one.data_set.name, how),),
        pairs=count,
        levels=(level,),
        gate_examples=1,
        part="test",
    )
    scenes = {scene.name: scene for scene in one.parts.test}
    for pair in pairs_of(task, one.parts, LISTS, width, how):
        yield pair, cut_pair(pair, scenes)


def _phantoms(size: int, scenes: int) -> Parts:
    """Phantoms of every tissue by bright field and fluorescence; each part its own scenes."""
    generator = torch.Generator().manual_seed(0)
    drawn = [
        phantom(kind, (size, size), (BRIGHTFIELD, FLUORESCENCE), generator=generator)
        for _ in range(2 * scenes)
        for kind in _TISSUES
    ]
    half = len(drawn) // 2
    names = (BRIGHTFIELD.name, FLUORESCENCE.name)
    return Parts(PHANTOMS, names, drawn[:half], [], drawn[half:])


@lru_cache(maxsize=1)
def _examples() -> list[Patches]:
    """The pairs out of the wheel, without loading what registers.

    Raises:
        ValueError: the package is not there.
    """
    if importlib.util.find_spec("zcmir") is None:
        raise ValueError(
            f"{EXAMPLES}: expected the package zcmir, whose wheel carries these pairs, found none; "
            'pip install "equicomir[peers]".'
        )
    from zcmir import examples

    found = []
    for name, (moving_name, fixed_name) in _INSTRUMENTS.items():
        moving, fixed, truth = examples.load(name)
        moving_to_fixed = of_homography(truth, moving.shape)
        pair = _listed(name, fixed_name, moving_name, len(fixed), moving_to_fixed)
        shown = np.ones(moving.shape, dtype=bool)
        found.append((pair, (fixed[None] / 255.0, moving[None] / 255.0, shown)))
    return found


def _listed(name: str, fixed: str, moving: str, width: int, moving_to_fixed: Matrix) -> TestPair:
    """A pair that others cut as a line of the list: its displacement about the patch's centre."""
    displacement = np.linalg.inv(moving_to_fixed)
    centre = np.array([image_centre(width, width)])
    rows, columns = (transform_points(displacement, centre) - centre)[0].tolist()
    degrees = rotation_degrees(displacement)
    return TestPair(
        _LEVEL_OF_EXAMPLES, fixed, moving, name, 0, 0, width, degrees, float(rows), float(columns)
    )


def _tensor(image: Array) -> torch.Tensor:
    return torch.from_numpy(image).float()
