"""What encoding by tiles costs: seconds, and how much memory.

    OMP_NUM_THREADS=1 python benchmarks/tiled_encoding.py [--size 4096] [--tiles 512 ...]

Writes noise of one channel, ``--size`` a side, as NPY, and encodes it from that file into another
with the default steerable encoder, by tiles of several sizes; beside it, a 1024 x 1024 part at
once, for the time a pixel. Every line is a fresh process. Memory is the peak of that process above
what it holds once the model is made; of that, "own" is all but the mapped file, which the system
puts away when it needs the room (Linux only). On a machine with other work, the processor's time
a megapixel is what to compare, not the clock's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from equicomir.images.files import open_image
from equicomir.images.intensities import Scaling
from equicomir.representations import Representations
from equicomir.tiles import encode_file
from equicomir.windows import TILE, overlap

UNTILED = 1024


def memory_mib(line: str) -> float:
    """A line of this process's status; getrusage would count the parent's memory too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{line}:")[2].split()[0]) / 1024


def default_model() -> Representations:
    """The default steerable encoder of one modality, with its first weights."""
    generator = torch.Generator().manual_seed(0)
    return Representations({"T1": Scaling((0.0,), (1.0,))}, generator=generator).eval()


def measure(path: Path, tile: int) -> dict[str, float]:
    """Encode the file by tiles, or (tile 0) its first 1024 x 1024 pixels at once."""
    image, model = open_image(path), default_model()
    model.encode("T1", torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(0)))
    before, own_before = memory_mib("VmRSS"), memory_mib("RssAnon")
    own, done = [own_before], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            own.append(memory_mib("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, used = time.perf_counter(), time.process_time()
    if tile:
        size = image.level_sizes[0]
        out = path.with_name(f"{tile}.npy")
        shape = (1, *size)
        into = np.lib.format.open_memmap(out, "w+", np.float32, shape)  # type: ignore[no-untyped-call]
        encode_file(model, "T1", image, into, tile=tile)
    else:
        size = (UNTILED, UNTILED)
        model.encode("T1", image.read(rows=(0, UNTILED), columns=(0, UNTILED))[None])
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    done.set()
    watcher.join()
    return {
        "seconds": seconds,
        "s a megapixel": 1e6 * seconds / (size[0] * size[1]),
        "of a processor, s": 1e6 * processor / (size[0] * size[1]),
        "peak MiB": memory_mib("VmHWM") - before,
        "own, MiB": max(own) - own_before,
    }


def main() -> None:
    """Write the image, measure each tile in a fresh process, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=4096, help="height and width, px")
    parser.add_argument("--tiles", type=int, nargs="+", default=[TILE], help="px; 0: at once")
    parser.add_argument("--measure", type=Path, help="measure this file, print JSON")
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen.measure, chosen.tiles[0])))
        return
    threads, around = torch.get_num_threads(), overlap(default_model().settings)
    table = Table(
        title=f"{chosen.size} x {chosen.size}, default steerable encoder, overlap {around} px, "
        f"threads: {threads}"
    )
    table.add_column("tile, px")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.npy"
        noise = np.random.default_rng(0).random((chosen.size, chosen.size), np.float32)
        np.save(path, noise)
        del noise
        for tile in [0, *chosen.tiles]:
            command = [sys.executable, "-W", "ignore", __file__, "--measure", str(path)]
            ran = subprocess.run(
                [*command, "--tiles", str(tile)], check=True, capture_output=True, text=True
            )
            numbers = json.loads(ran.stdout)
            if len(table.columns) == 1:
                for name in numbers:
                    table.add_column(name, justify="right")
            name = str(tile) if tile else f"none, {UNTILED} x {UNTILED}"
            table.add_row(name, *(f"{number:.2f}" for number in numbers.values()))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
