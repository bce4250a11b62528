"""What the loss costs: beside the matrix product it contains, and beside a loop over pairs.

    python benchmarks/loss_speed.py [--batch 32] [--size 128] [--repeats 9]

prints, for two and three modalities, seconds of forward and backward of InfoNCE, of the bare
product of all representations with themselves, and of a naive loop over pairs that unbinds the
batch once; timed in turn in one run, as ratios. Then the greatest memory that a step takes on top
of the representations, for growing batches, in bytes a pixel: constant where memory is linear in
batch times pixels.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from equicomir.losses.contrastive import contrast, info_nce
from equicomir.losses.rotated_pairs import valid_disk
from equicomir.losses.similarity import correlation, cosine, gaussian, negative_l1, negative_mse
from equicomir.shapes import Stack

Loss = Callable[[Stack], Tensor]


def product(representations: Stack) -> Tensor:
    """The bare matrix product of all representations with themselves."""
    rows = representations.flatten(0, 1).flatten(1)
    return (rows @ rows.T).sum()


def pairwise_loop(representations: Stack, temperature: float = 0.5) -> Tensor:
    """The same loss, one pair at a time; the batch is unbound once."""
    modalities, batch = representations.shape[:2]
    every = representations.flatten(0, 1).unbind(0)
    losses = []
    for a, anchor in enumerate(every):
        scores = [-(anchor - other).square().mean() / temperature for other in every]
        against = [s for b, s in enumerate(scores) if b % batch != a % batch]
        for m in range(modalities):
            if m != a // batch:
                positive = scores[m * batch + a % batch]
                losses.append(torch.stack([positive, *against]).logsumexp(0) - positive)
    return torch.stack(losses).mean()


def seconds(loss: Loss, representations: Stack) -> float:
    """Forward and backward."""
    representations.grad = None
    begun = time.perf_counter()
    loss(representations).backward()
    return time.perf_counter() - begun


def drawn(modalities: int, batch: int, size: int) -> Stack:
    """Random representations of one channel."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(modalities, batch, 1, size, size, generator=generator)
    return y.requires_grad_()


def speed_table(batch: int, size: int, repeats: int) -> Table:
    """Seconds and ratios."""
    table = Table(
        title=f"Batch {batch}, {size} x {size}, forward and backward, "
        f"{torch.get_num_threads()} threads"
    )
    for heading in ("modalities", "loss", "ms", "of the bare product", "loop / loss"):
        table.add_column(heading, justify="left" if heading == "loss" else "right")
    disk = valid_disk(size)
    losses: dict[str, Loss] = {
        "InfoNCE, MSE": info_nce,
        "InfoNCE, MSE, in the valid disk": partial(info_nce, mask=disk),
        **{
            f"InfoNCE, {similarity.__name__}": partial(info_nce, similarity=similarity)
            for similarity in (gaussian, cosine, correlation, negative_l1)
        },
        "other modality alone, MSE": partial(contrast, similarity=negative_mse),
    }
    for modalities in (2, 3):
        y = drawn(modalities, batch, size)
        seconds(pairwise_loop, y)
        loop = seconds(pairwise_loop, y)
        for name, loss in losses.items():
            took = []
            for repeat in range(repeats + 1):
                pair = seconds(loss, y), seconds(product, y)
                took += [pair] if repeat else []
            own = float(np.median([first for first, _ in took]))
            ratio = float(np.median([first / second for first, second in took]))
            cells = (f"{1e3 * own:.1f}", f"{ratio:.2f}", f"{loop / own:.0f}")
            table.add_row(str(modalities), name, *cells)
    return table


def memory_table(size: int) -> Table:
    """Bytes a pixel on top of the representations, each in a process of its own."""
    table = Table(title=f"Memory of a step of InfoNCE at {size} x {size}")
    for heading in ("modalities", "batch", "MiB", "bytes a pixel of all representations"):
        table.add_column(heading, justify="right")
    for modalities in (2, 3):
        for batch in (64, 128, 256):
            command = [sys.executable, __file__, "--step", *map(str, (modalities, batch, size))]
            taken = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            pixels = modalities * batch * size**2
            cells = (f"{taken / 2**20:.0f}", f"{taken / pixels:.1f}")
            table.add_row(str(modalities), str(batch), *cells)
    return table


def step_memory(modalities: int, batch: int, size: int) -> int:
    """Bytes by which the peak rises in one step."""
    seconds(info_nce, drawn(modalities, 2, size))  # what is loaded once
    y = drawn(modalities, batch, size)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak so far
    before = resident("VmRSS")
    seconds(info_nce, y)
    return resident("VmHWM") - before


def resident(line: str) -> int:
    """Bytes of memory of this process, now (VmRSS) or at most (VmHWM); Linux."""
    (found,) = re.findall(rf"{line}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=128, help="height and width, px")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--step", type=int, nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        print(step_memory(*chosen.step))
        return
    console = Console(width=100)
    console.print(speed_table(chosen.batch, chosen.size, chosen.repeats))
    console.print(memory_table(chosen.size))


if __name__ == "__main__":
    main()
