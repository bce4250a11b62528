"""How fast patches come off the disk, and whether memory stays where it was.

    OMP_NUM_THREADS=1 python benchmarks/patch_speed.py [--seconds 10]

Writes scenes of 2048 x 2048 pixels, 16 bit, two modalities, as TIFF (plain, and in packed tiles),
and draws 128 x 128 pairs from them, turned by any angle, in this process and in two workers; with
nothing else, and with every augmentation. Prints pairs a second, and the memory of all processes
together after the first tenth of the time and at the end.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from rich.console import Console
from rich.table import Table

from equicomir.images.augmentation import Augmentation
from equicomir.images.batches import Batches, in_order
from equicomir.images.intensities import percentile_scaling
from equicomir.images.pairs import Scene, read_scenes, sample_pixels
from equicomir.images.patches import patch_places

SIZE, PATCH, BATCH = 2048, 128, 16
EVERYTHING = Augmentation(True, True, 1.25, 4, 0.3, 0.3, 0.05, 1.5, 0.3, 0.2)


def write_scenes(folder: Path, count: int, packed: bool) -> list[Scene]:
    """Noise on a slow variation: what packs about as badly as a detector's."""
    generator = np.random.default_rng(0)
    slow = 20000 + 10000 * np.sin(np.arange(SIZE) / 90)
    for modality in ("A", "B"):
        (folder / modality).mkdir(parents=True)
        for i in range(count):
            noise = generator.normal(scale=300, size=(SIZE, SIZE))
            pixels = (slow[:, None] + slow[None] * 0.5 + noise).astype(np.uint16)
            options = {"tile": (256, 256), "compression": "zlib"} if packed else {}
            tifffile.imwrite(folder / modality / f"{i}.tif", pixels, **options)  # type: ignore[arg-type]
    return read_scenes([folder / "A", folder / "B"], in_memory=False)


def resident_mib() -> float:
    """Memory of this process and its children, pages that they share counted once each, MiB."""
    total = 0.0
    mine = str(os.getpid())
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            if mine in (fields["Pid"].strip(), fields["PPid"].strip()):
                rollup = (status.parent / "smaps_rollup").read_text()
                total += next(float(x.split()[1]) for x in rollup.splitlines() if "Pss:" in x)
        except (OSError, ValueError, StopIteration):
            continue  # it ended meanwhile
    return total / 1024


def measure(
    scenes: list[Scene], augmentation: Augmentation | None, workers: int, seconds: float
) -> tuple[float, float, float]:
    """Pairs a second, MiB early and at the end."""
    scalings = {m: percentile_scaling(sample_pixels(scenes, m)) for m in scenes[0].images}
    places = patch_places(scenes, PATCH)
    batches = Batches(scenes, scalings, places, BATCH, 0, augmentation=augmentation)
    stream = in_order(batches, 0, workers=workers)
    for _ in range(4):  # workers begin, caches are built
        next(stream)
    begun, done, early = time.perf_counter(), 0, 0.0
    while (now := time.perf_counter() - begun) < seconds:
        next(stream)
        done += BATCH
        if early == 0 and now > seconds / 10:
            early = resident_mib()
    taken, late = time.perf_counter() - begun, resident_mib()
    return done / taken, early, late


def main() -> None:
    """Measure every way and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each line")
    parser.add_argument("--scenes", type=int, default=8)
    chosen = parser.parse_args()
    table = Table(title=f"{PATCH} x {PATCH} pairs from {SIZE} x {SIZE} TIFFs of 16 bit")
    for heading in ("files", "augmentation", "workers", "pairs a second", "MiB early", "MiB late"):
        table.add_column(heading, justify="left" if heading == "files" else "right")
    with tempfile.TemporaryDirectory() as folder:
        for files in ("plain", "packed tiles"):
            scenes = write_scenes(Path(folder) / files, chosen.scenes, packed=files != "plain")
            for name, augmentation in (("turns", None), ("everything", EVERYTHING)):
                for workers in (0, 2):
                    rate, early, late = measure(scenes, augmentation, workers, chosen.seconds)
                    numbers = (f"{rate:.0f}", f"{early:.0f}", f"{late:.0f}")
                    table.add_row(files, name, str(workers), *numbers)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
