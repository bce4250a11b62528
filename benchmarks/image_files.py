"""How much memory and time a whole slide takes: opened, and read patch by patch.

    python benchmarks/image_files.py [--size 20000] [--patches 200]

writes a tiled, zlib-packed OME-TIFF with two coarser levels into a temporary folder, mostly
empty as slides are, then opens it in a fresh process and reads patches at random places. The
memory is the peak of that process above what it holds after importing the library (Linux only).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from rich.console import Console
from rich.table import Table

from equicomir.images.files import open_image

TILE = 512


def write_slide(path: Path, size: int) -> None:
    """Write the slide tile by tile, every eighth tile with content; no level is held whole."""
    content = np.random.default_rng(0).integers(0, 256, (TILE, TILE)).astype(np.uint8)
    empty = np.full((TILE, TILE), 240, np.uint8)

    def tiles(extent: int) -> Iterator[np.ndarray[Any, Any]]:
        for index in range((-(-extent // TILE)) ** 2):
            yield content if index % 8 == 0 else empty

    options: dict[str, Any] = {
        "tile": (TILE, TILE),
        "dtype": np.uint8,
        "compression": "zlib",
        "compressionargs": {"level": 1},
    }
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as writer:
        writer.write(
            tiles(size),
            shape=(size, size),
            subifds=2,
            metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5},
            **options,
        )
        for extent in (size // 4, size // 16):
            writer.write(tiles(extent), shape=(extent, extent), subfiletype=1, **options)


def measure(path: Path, patches: int) -> dict[str, float]:
    """Open the slide and read patches of 256 px; memory in MiB, times in milliseconds."""

    def memory(line: str) -> float:  # getrusage would count the parent's memory too
        status = Path("/proc/self/status").read_text()
        return int(status.partition(f"{line}:")[2].split()[0]) / 1024

    before = memory("VmRSS")
    start = time.perf_counter()
    image = open_image(path)
    opened = time.perf_counter() - start
    height, width = image.level_sizes[0]
    places = np.random.default_rng(0).integers(0, (height - 256, width - 256), (patches, 2))
    start = time.perf_counter()
    for row, column in places.tolist():
        image.read(rows=(row, row + 256), columns=(column, column + 256))
    each = (time.perf_counter() - start) / patches
    patched = memory("VmHWM")
    start = time.perf_counter()
    image.read(len(image.level_sizes) - 1)
    coarsest = time.perf_counter() - start
    return {
        "levels": len(image.level_sizes),
        "opening, ms": 1000 * opened,
        "a 256 px patch, ms": 1000 * each,
        "the coarsest level, ms": 1000 * coarsest,
        "memory of opening and patches, MiB": patched - before,
        "of these and the coarsest level, MiB": memory("VmHWM") - before,
    }


def main() -> None:
    """Write, measure in a fresh process, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=20000, help="height and width, px")
    parser.add_argument("--patches", type=int, default=200)
    parser.add_argument("--measure", type=Path, help="measure this file, print JSON")
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen.measure, chosen.patches)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.ome.tif"
        start = time.perf_counter()
        write_slide(path, chosen.size)
        table = Table(
            title=f"{chosen.size} x {chosen.size} OME-TIFF, {path.stat().st_size / 2**20:.0f} MiB"
        )
        table.add_column("what")
        table.add_column("value", justify="right")
        table.add_row("writing, s", f"{time.perf_counter() - start:.1f}")
        command = [sys.executable, __file__, "--measure", str(path)]
        ran = subprocess.run(
            [*command, "--patches", str(chosen.patches)],
            check=True,
            capture_output=True,
            text=True,
        )
        for name, value in json.loads(ran.stdout).items():
            table.add_row(name, f"{value:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
