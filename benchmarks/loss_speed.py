"""What the loss costs: beside the matrix product it contains, CoMIR's loop, and a lighter loop.

    python benchmarks/loss_speed.py [--batch 32] [--size 128] [--repeats 9] [--quick]

prints, for two and three modalities, seconds of forward and backward of InfoNCE, of the bare
product of all representations with themselves, of CoMIR's loss as its authors compute it (one
critic call a pair of images, written into a matrix entry by entry; two modalities alone), and of
a loop over pairs that unbinds the batch once; timed in turn in one run, as ratios, the loops in
fewer rounds. Then the greatest memory that a step takes on top of the representations, for growing
batches, in bytes a pixel: constant where memory is linear in batch times pixels. ``--quick`` tries
it at a small size in seconds: no result.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from timing import Act, in_turn, ratio
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


def comir_loop(representations: Stack, temperature: float = 0.5) -> Tensor:
    """CoMIR's loss as its authors compute it: of two modalities, the value of :func:`info_nce`.

    Every image is taken out of the batch anew for every pair, so that the backward pass writes a
    gradient of the whole batch for each of them: it grows with the third power of the batch.

    Source:
        Pielawski, Wetzer et al., NeurIPS 2020, arXiv 2006.06325; the authors' ``train_comir.py``.
    """
    points = representations.flatten(0, 1)
    number, batch = len(points), representations.shape[1]
    similarities = points.new_zeros(number, number)
    for i in range(number):
        for j in range(i + 1):
            similarity = -(points[i] - points[j]).square().mean() / temperature
            similarities[i, j] = similarity
            similarities[j, i] = similarity
    losses = points.new_zeros(number)
    for i in range(number):
        others = torch.arange(number) != i
        positive = similarities[i, (i + batch) % number]
        losses[i] = similarities[i][others].logsumexp(0) - positive
    return losses.mean()


def step(loss: Loss, representations: Stack) -> Act:
    """Forward and backward."""

    def both() -> None:
        representations.grad = None
        loss(representations).backward()

    return both


def drawn(modalities: int, batch: int, size: int) -> Stack:
    """Random representations of one channel."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(modalities, batch, 1, size, size, generator=generator)
    return y.requires_grad_()


def losses(size: int) -> dict[str, Loss]:
    """What is timed, by name."""
    return {
        "InfoNCE, MSE": info_nce,
        "InfoNCE, MSE, in the valid disk": partial(info_nce, mask=valid_disk(size)),
        **{
            f"InfoNCE, {similarity.__name__}": partial(info_nce, similarity=similarity)
            for similarity in (gaussian, cosine, correlation, negative_l1)
        },
        "other modality alone, MSE": partial(contrast, similarity=negative_mse),
    }


def speed_table(batch: int, size: int, repeats: int) -> Table:
    """Milliseconds, and ratios with their range."""
    table = Table(
        title=f"Batch {batch}, {size} x {size}, forward and backward, "
        f"{torch.get_num_threads()} threads; ratios: median (least to most)"
    )
    headings = ("modalities", "loss", "ms", "loss / bare product", "CoMIR's / loss", "loop / loss")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "loss" else "right")
    for modalities in (2, 3):
        y = drawn(modalities, batch, size)
        acts = {name: step(loss, y) for name, loss in losses(size).items()}
        took = in_turn({**acts, "product": step(product, y)}, repeats)
        loops = {"loop": step(pairwise_loop, y)}
        loops |= {"CoMIR": step(comir_loop, y)} if modalities == 2 else {}
        slow = in_turn({**acts, **loops}, max(1, repeats // 3))
        for name in acts:
            against = [
                ratio(slow[o], slow[name], 0) if o in slow else "" for o in ("CoMIR", "loop")
            ]
            milliseconds = f"{1e3 * float(np.median(took[name])):.1f}"
            beside = ratio(took[name], took["product"])
            table.add_row(str(modalities), name, milliseconds, beside, *against)
    return table


def memory_table(size: int, batches: tuple[int, ...] = (64, 128, 256)) -> Table:
    """Bytes a pixel on top of the representations, each in a process of its own."""
    table = Table(title=f"Memory of a step of InfoNCE at {size} x {size}")
    for heading in ("modalities", "batch", "MiB", "bytes a pixel of all representations"):
        table.add_column(heading, justify="right")
    for modalities in (2, 3):
        for batch in batches:
            command = [sys.executable, __file__, "--step", *map(str, (modalities, batch, size))]
            taken = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            pixels = modalities * batch * size**2
            cells = (f"{taken / 2**20:.0f}", f"{taken / pixels:.1f}")
            table.add_row(str(modalities), str(batch), *cells)
    return table


def step_memory(modalities: int, batch: int, size: int) -> int:
    """Bytes by which the peak rises in one step."""
    step(info_nce, drawn(modalities, 2, size))()  # what is loaded once
    y = drawn(modalities, batch, size)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak so far
    before = resident("VmRSS")
    step(info_nce, y)()
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
    parser.add_argument("--quick", action="store_true", help="small, in seconds: no result")
    parser.add_argument("--step", type=int, nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        print(step_memory(*chosen.step))
        return
    console = Console(width=130)
    if chosen.quick:
        console.print(speed_table(3, 16, 1))
        console.print(memory_table(16, (2,)))
        return
    console.print(speed_table(chosen.batch, chosen.size, chosen.repeats))
    console.print(memory_table(chosen.size))


if __name__ == "__main__":
    main()
