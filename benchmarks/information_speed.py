"""How long the searches take, how often they succeed, and what coarse to fine is worth.

    python benchmarks/information_speed.py [--size 320] [--repeats 3] [--exhaustive]
        [--pairs 0] [--width 128] [--data DATA_FOLDER]

prints, from one run: for pairs of one photograph at any angle, the median wall and processor
seconds of the search by correlation, of the three kinds of mutual information coarse to fine, and
with ``--exhaustive`` of mutual information with every angle at full resolution; then, with
``--pairs``, how many pairs of two modalities each finds (phantoms of known truth with noise, and
the validation parts of ``brain_mri`` and ``tissue_core`` under DATA_FOLDER), and the median corner
error of these. Where other programs run too, the processor seconds are the ones to compare.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import skimage
import torch
from rich.console import Console
from rich.table import Table

from equicomir.evaluation.alignment import SUCCESS_FRACTION, corner_error
from equicomir.evaluation.displacements import cut_pair, draw_pairs
from equicomir.geometry import image_centre, rigid, warp_image
from equicomir.images.instruments import BRIGHTFIELD, FLUORESCENCE, SECOND_HARMONIC
from equicomir.images.pairs import read_scenes
from equicomir.images.phantoms import render
from equicomir.images.tissues import cells, fibres, vessels
from equicomir.registration import information, search
from equicomir.registration.alignment import Alignment
from equicomir.shapes import Array, ArrayMask, Matrix

Case = tuple[Array, Array, ArrayMask | None, Matrix]
Method = Callable[[Array, Array, ArrayMask | None], Alignment]


def methods(exhaustive: bool) -> dict[str, Method]:
    """Every method by its name in the table."""

    def informed(measure: str, whole: bool) -> Method:
        return lambda fixed, moving, mask: information.register(
            fixed, moving, measure=measure, moving_mask=mask, exhaustive=whole
        )

    found: dict[str, Method] = {
        "correlation": lambda fixed, moving, mask: search.register(fixed, moving, moving_mask=mask),
        **{f"{m} information": informed(m, False) for m in ("mutual", "normalised")},
        "squared-loss information": informed("squared_loss", False),
    }
    if exhaustive:
        found["mutual information, exhaustive"] = informed("mutual", True)
    return found


def photographs(size: int, count: int) -> Iterator[Case]:
    """Patches of a photograph and the same turned by any angle, with real context."""
    generator = np.random.default_rng(0)
    grey = torch.from_numpy(skimage.data.retina().mean(axis=2))[None, None]
    room = 1400 / (1.7 * size)  # so that any turn of a large patch stays inside
    if room < 1:
        grey = torch.nn.functional.interpolate(grey, scale_factor=1 / room, mode="bicubic")
    start = (grey.shape[-1] - size) // 2
    corner = rigid(0, (start, start))
    for _ in range(count):
        turn = _displacement(size, generator)
        fixed, _ = warp_image(grey, corner, size=(size, size))
        moving, _ = warp_image(grey, corner @ turn, size=(size, size))
        yield fixed[0].numpy(), moving[0].numpy(), None, turn


def phantoms(width: int, count: int) -> Iterator[Case]:
    """Scenes of known truth, each seen by two instruments, with noise."""
    generator = np.random.default_rng(0)
    instruments = [SECOND_HARMONIC, BRIGHTFIELD, FLUORESCENCE]
    for number in range(count):
        draws = torch.Generator().manual_seed(number)
        description = (fibres, cells, vessels)[number % 3]((width, width), generator=draws)
        first, second = generator.permutation(3)[:2]
        truth = _displacement(width, generator)
        views = []
        for which, matrix in ((first, None), (second, truth)):
            clean = render(description, instruments[which], (width, width), matrix)
            views.append(instruments[which](clean, generator=draws).double().numpy())
        yield views[0], views[1], None, truth


def real(
    folder: Path, modalities: tuple[str, str], width: int, count: int, content: float
) -> Iterator[Case]:
    """Pairs of a validation part, at any angle, half of them in each direction."""
    scenes = read_scenes([folder / "validation" / modality for modality in modalities])
    pairs = draw_pairs(
        scenes,
        modalities,
        width,
        count // 2,
        levels=["any"],
        least_content=content,
        generator=np.random.default_rng(0),
    )
    for pair in pairs:
        fixed, moving, mask = cut_pair(pair, {scene.name: scene for scene in scenes})
        yield fixed, moving, mask, pair.moving_to_fixed()


def _displacement(width: int, generator: np.random.Generator) -> Matrix:
    shift = generator.uniform(-0.0933, 0.0933, 2) * width
    centre = image_centre(width, width)
    return rigid(generator.uniform(-180, 180), (shift[0], shift[1]), centre=centre)


def measured(method: Method, cases: Iterator[Case], width: int) -> tuple[str, ...]:
    """Successes, median corner error of these, and median wall and processor seconds."""
    errors, walls, cores = [], [], []
    for fixed, moving, mask, truth in cases:
        wall, core = time.perf_counter(), time.process_time()
        found = method(fixed, moving, mask)
        walls.append(time.perf_counter() - wall)
        cores.append(time.process_time() - core)
        missed = corner_error(truth, found.moving_to_fixed, width)
        errors.append(np.inf if found.failure else missed)
    good = [error for error in errors if error <= SUCCESS_FRACTION * width]
    error = f"{np.median(good):.3f}" if good else "-"
    return (
        f"{len(good)} of {len(errors)}",
        error,
        f"{np.median(walls):.2f}",
        f"{np.median(cores):.2f}",
    )


def main() -> None:
    """Run every method on every set and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=320, help="of the photographs, px")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--exhaustive", action="store_true")
    parser.add_argument("--pairs", type=int, default=0, help="of each set of two modalities")
    parser.add_argument("--width", type=int, default=128, help="of these, px")
    parser.add_argument("--data", type=Path, default=None)
    chosen = parser.parse_args()
    size, width, count = chosen.size, chosen.width, chosen.pairs
    sets: dict[str, tuple[int, Callable[[], Iterator[Case]]]] = {}
    if chosen.repeats:
        sets[f"photographs, {size} px"] = (size, lambda: photographs(size, chosen.repeats))
    if count:
        sets[f"phantoms, {width} px"] = (width, lambda: phantoms(width, count))
    if count and chosen.data:
        brain, core = chosen.data / "brain_mri", chosen.data / "tissue_core"
        mri, optical = ("T1", "T2"), ("bright_field", "second_harmonic")
        sets[f"brain_mri, {width} px"] = (width, lambda: real(brain, mri, width, count, 0.5))
        sets[f"tissue_core, {width} px"] = (width, lambda: real(core, optical, width, count, 0.0))
    for name, (side, cases) in sets.items():
        table = Table(title=f"{name}, {torch.get_num_threads()} threads")
        for heading in ("method", "found", "median error, px", "wall s", "processor s"):
            table.add_column(heading, justify="left" if heading == "method" else "right")
        for label, method in methods(chosen.exhaustive).items():
            table.add_row(label, *measured(method, cases(), side))
        Console(width=100).print(table)


if __name__ == "__main__":
    main()
