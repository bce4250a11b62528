"""How long alpha-AMD takes, on one and on two threads, and how often it finds the truth.

    python benchmarks/distance_speed.py [--size 320] [--pairs 20] [--threads 1 2]

registers phantoms of every tissue and modality in turn, displaced at the protocol's level any
(rotation to 180 degrees, each translation to 0.0933 of the width), each pair once on every number
of threads in one run, and prints success (corner error at most 2 % of the width), errors, and
seconds a pair. Both images of a pair are of one modality, with noise of their own: the measure
compares grey levels.
"""

import argparse
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from equicomir.evaluation.alignment import SUCCESS_FRACTION, corner_error
from equicomir.evaluation.displacements import LEVELS
from equicomir.geometry import image_centre, rigid
from equicomir.images.instruments import BRIGHTFIELD, FLUORESCENCE, SECOND_HARMONIC
from equicomir.images.phantoms import render
from equicomir.images.tissues import cells, fibres, vessels
from equicomir.registration import distance
from equicomir.shapes import Array, Matrix

TISSUES = (cells, fibres, vessels)
MODALITIES = (BRIGHTFIELD, FLUORESCENCE, SECOND_HARMONIC)


def phantom_pair(number: int, size: int) -> tuple[Array, Array, Matrix]:
    """The fixed and the moving image, and the true moving to fixed."""
    rng, generator = np.random.default_rng(number), torch.Generator().manual_seed(number)
    tissue, modality = TISSUES[number % 3], MODALITIES[number // 3 % 3]
    _, most_degrees, _, most_shift = LEVELS["any"]
    shift = rng.uniform(-most_shift, most_shift, 2) * size
    turn = rigid(
        rng.uniform(-most_degrees, most_degrees),
        (shift[0], shift[1]),
        centre=image_centre(size, size),
    )
    truth: Matrix = np.linalg.inv(turn)
    scene = tissue((size, size), generator=generator)
    fixed, moving = (
        modality(render(scene, modality, (size, size), view), generator=generator).numpy()
        for view in (None, truth)
    )
    return fixed, moving, truth


def main() -> None:
    """Register every pair and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=320, help="height and width, px")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    seconds: dict[int, list[float]] = {threads: [] for threads in chosen.threads}
    errors: dict[int, list[float]] = {threads: [] for threads in chosen.threads}
    for number in range(chosen.pairs):
        fixed, moving, truth = phantom_pair(number, chosen.size)
        for threads in chosen.threads:
            torch.set_num_threads(threads)
            begun = time.perf_counter()
            found = distance.register(fixed, moving)
            seconds[threads].append(time.perf_counter() - begun)
            missed = corner_error(truth, found.moving_to_fixed, chosen.size)
            errors[threads].append(np.inf if found.failure else missed)
    table = Table(
        title=f"Alpha-AMD, {chosen.pairs} phantom pairs of {chosen.size} x {chosen.size}, any angle"
    )
    for heading in ("threads", "success", "median error, px", "median s", "most s"):
        table.add_column(heading, justify="right")
    for threads in chosen.threads:
        good = [e for e in errors[threads] if e <= SUCCESS_FRACTION * chosen.size]
        table.add_row(
            str(threads),
            f"{len(good)} of {chosen.pairs}",
            f"{np.median(good):.3f}" if good else "-",
            f"{np.median(seconds[threads]):.2f}",
            f"{max(seconds[threads]):.2f}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
