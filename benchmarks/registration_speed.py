"""How long one pair takes, representations included: the learned way beside the ordinary ones.

    python benchmarks/registration_speed.py [--size 320] [--repeats 5]

prints the median seconds a pair of every method in one run, in turn (this way a machine that
drifts slows all of them), as a ratio to the first one too, the median corner error and the peak of
memory. The two modalities are one photograph, so an untrained encoder, the same for both, gives
representations that agree as learned ones do: a search that does not find the truth, or climbs
where there is no summit, would be timed on other work than its own.
"""

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import skimage
import torch
from rich.console import Console
from rich.table import Table

from equicomir.evaluation.alignment import corner_error
from equicomir.geometry import image_centre, rigid, warp_image
from equicomir.images.intensities import Scaling
from equicomir.registration import distance, elastix, features, information, search
from equicomir.registration.alignment import Alignment
from equicomir.representations import Representations
from equicomir.shapes import Array, Matrix


def pair(size: int, generator: np.random.Generator) -> tuple[Array, Array, Matrix]:
    """A patch of a photograph, the same turned by any angle with real context, and the truth."""
    whole = torch.from_numpy(skimage.data.retina().mean(axis=2))[None, None]
    room = 1400 / (1.7 * size)  # so that any turn of a large patch stays inside
    if room < 1:
        whole = torch.nn.functional.interpolate(whole, scale_factor=1 / room, mode="bicubic")
    start = (whole.shape[-1] - size) // 2
    corner = rigid(0, (start, start))
    shift = generator.uniform(-0.09, 0.09, 2) * size
    turn = rigid(
        generator.uniform(-180, 180), (shift[0], shift[1]), centre=image_centre(size, size)
    )
    fixed, _ = warp_image(whole, corner, size=(size, size))
    moving, _ = warp_image(whole, corner @ turn, size=(size, size))
    return fixed[0].numpy(), moving[0].numpy(), turn


def main() -> None:
    """Time every method and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=320, help="height and width, px")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--methods", nargs="+", help="words of their names; all if not said")
    chosen = parser.parse_args()
    scaling = Scaling((0.0,), (255.0,))
    model = Representations(
        {"A": scaling, "B": scaling}, generator=torch.Generator().manual_seed(0)
    )
    model.encoder("B").load_state_dict(model.encoder("A").state_dict())

    def encode(fixed: Array, moving: Array) -> list[Array]:
        images = (("A", fixed), ("B", moving))
        tensors = [(m, torch.from_numpy(image).float()[None]) for m, image in images]
        return [model.encode(m, tensor)[0].double().numpy() for m, tensor in tensors]

    def learned(fixed: Array, moving: Array) -> object:
        return search.register(*encode(fixed, moving))

    methods: dict[str, Callable[[Array, Array], object]] = {
        "representations and search": learned,
        "of which: both representations": encode,
        "of which: search": search.register,
        "mutual information, all displacements": information.register,
        "squared-loss information": partial(information.register, measure="squared_loss"),
        "Alpha-AMD, 96 starts": distance.register,
        "SIFT": features.register,
        "mutual information, elastix, 12 starts": elastix.register,
    }
    if chosen.methods:
        methods = {n: m for n, m in methods.items() if any(word in n for word in chosen.methods)}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    cores: dict[str, list[float]] = {name: [] for name in methods}
    errors: dict[str, list[float]] = {name: [] for name in methods}
    generator = np.random.default_rng(0)
    for repeat in range(chosen.repeats + 1):
        fixed, moving, truth = pair(chosen.size, generator)
        for name, method in methods.items():
            begun, core = time.perf_counter(), time.process_time()
            found = method(fixed, moving)
            if repeat:  # the first builds caches
                if isinstance(found, Alignment):
                    off = corner_error(truth, found.moving_to_fixed, chosen.size)
                    errors[name].append(off)
                seconds[name].append(time.perf_counter() - begun)
                cores[name].append(time.process_time() - core)
    table = Table(
        title=f"One pair of {chosen.size} x {chosen.size}, {torch.get_num_threads()} threads"
    )
    for heading in ("method", "median s", "least", "most", "ratio", "processor s", "error px"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    reference = np.median(next(iter(seconds.values())))
    for name, took in seconds.items():
        median = np.median(took)
        numbers = (median, min(took), max(took), median / reference, np.median(cores[name]))
        error = f"{np.median(errors[name]):.2f}" if errors[name] else ""
        table.add_row(name, *(f"{number:.2f}" for number in numbers), error)
    Console(width=110).print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"Peak memory of the process: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
