"""How fast encoders train, and where a step's time goes.

    python benchmarks/training_speed.py [--device cpu] [--steps 20] [--channels 16]

Prints, in one run and in turn (a machine that drifts slows all of them), pairs a second of every
encoder at about the same number of channels, and of the default one in ways that might be faster;
where the time of a step goes; the memory it takes; and what a checkpoint and going on from it cost.
With ``--device cuda`` on a GPU. How soon they register: ``training_curves.py``.
"""

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from equicomir.images.batches import Batches
from equicomir.images.pairs import Scene
from equicomir.images.patches import patch_places
from equicomir.images.sources import embedded
from equicomir.losses.rotated_pairs import turn_back
from equicomir.representations import EncoderSettings
from equicomir.training.checkpoints import LAST
from equicomir.training.loop import train
from equicomir.training.settings import TrainingSettings
from equicomir.training.start import new_model, objective

PARTS = ("cut patches", "encode", "turn back, loss", "backward", "optimiser")


def encoders(channels: int) -> dict[str, EncoderSettings]:
    """Every family, with about so many channels at full resolution."""
    made = {
        group: EncoderSettings(group=group, widths=_widths(channels, size))
        for group, size in (("C4", 4), ("C8", 8), ("SO(2)", 7))
    }
    plain = EncoderSettings(family="plain", group="C8", widths=_widths(channels, 8))
    return {**made, "plain": plain, "tiramisu": EncoderSettings(family="tiramisu")}


def _widths(channels: int, field_size: int) -> tuple[int, ...]:
    first = max(1, round(channels / field_size))
    return first, 2 * first, 4 * first


class Steps:
    """Training steps of one encoder, part by part."""

    def __init__(
        self,
        scenes: list[Scene],
        encoder: EncoderSettings,
        settings: TrainingSettings,
        device: str,
        *,
        layout: torch.memory_format = torch.contiguous_format,
        threads: int | None = None,
    ) -> None:
        self.device, self.settings, self.layout = torch.device(device), settings, layout
        self.threads = threads or torch.get_num_threads()
        self.model = new_model(scenes, encoder, settings).to(device)
        places = patch_places(scenes, settings.patch_size)
        self.batches = Batches(scenes, self.model.scalings, places, settings.batch, 0)
        self.loss = objective(settings)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.seconds: list[list[float]] = []

    def now(self) -> float:
        """The time, once the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def step(self, number: int) -> None:
        """One step; notes how long each part took."""
        torch.set_num_threads(self.threads)
        at = [self.now()]
        draw, patches = self.batches[number]
        patches = [x.to(self.device, memory_format=self.layout) for x in patches]
        at.append(self.now())
        seen = self.model(patches)
        at.append(self.now())
        loss = self.loss(turn_back(seen, draw.degrees.to(self.device)))
        at.append(self.now())
        self.optimiser.zero_grad()
        loss.backward()
        at.append(self.now())
        self.optimiser.step()
        at.append(self.now())
        self.seconds.append([b - a for a, b in pairwise(at)])


def speed(console: Console, scenes: list[Scene], chosen: argparse.Namespace) -> None:
    """Print the table of speeds."""
    settings = TrainingSettings(patch_size=chosen.patch_size)
    runs: dict[str, Steps] = {}
    for name, encoder in encoders(chosen.channels).items():
        # CoMIR's network takes multiples of 64 only.
        size = 64 if name == "tiramisu" else chosen.patch_size
        fitting = replace(settings, patch_size=size)
        runs[name] = Steps(scenes, encoder, fitting, chosen.device)
    runs |= variations(scenes, settings, chosen)
    threads = torch.get_num_threads()
    for number in range(chosen.steps + 2):
        for run in runs.values():
            run.step(number)
    torch.set_num_threads(threads)
    table = Table(
        title=f"Batch {settings.batch}, two modalities, {chosen.device}, {threads} threads"
    )
    for heading in ("encoder", "weights", "px", "pairs/s", "ratio", *PARTS):
        table.add_column(heading, justify="left" if heading == "encoder" else "right")
    medians = {n: np.median(np.array(r.seconds[2:]), axis=0) for n, r in runs.items()}
    plain = settings.batch / medians["plain"].sum()
    for name, run in runs.items():
        parts = medians[name]
        rate = settings.batch / parts.sum()
        weights = sum(p.numel() for p in run.model.parameters())
        shares = [f"{100 * part / parts.sum():.0f} %" for part in parts]
        size = run.settings.patch_size
        table.add_row(name, str(weights), str(size), f"{rate:.1f}", f"{rate / plain:.2f}", *shares)
    console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(f"Peak memory of the process, all encoders together: {peak:.0f} MiB")
    if chosen.device == "cuda":
        console.print(f"of the GPU: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")
    console.print(going_on(scenes, settings))


def variations(
    scenes: list[Scene], settings: TrainingSettings, chosen: argparse.Namespace
) -> dict[str, Steps]:
    """The default encoder, in ways that might be faster."""
    new = partial(Steps, scenes, settings=settings, device=chosen.device)
    encoder = encoders(chosen.channels)["C8"]
    first, *others = encoder.widths
    narrow = replace(encoder, widths=(max(1, first // 2), *others))
    return {
        "C8, one thread": new(encoder=encoder, threads=1),
        "C8, channels last": new(encoder=encoder, layout=torch.channels_last),
        "C8, half at full size": new(encoder=narrow),
    }


def going_on(scenes: list[Scene], settings: TrainingSettings) -> str:
    """What a checkpoint of the default encoder takes, and what taking it up again does."""
    with tempfile.TemporaryDirectory() as name:
        again = partial(
            train, scenes, EncoderSettings(), replace(settings, steps=3), quiet=True, validate=None
        )
        again(folder=Path(name))
        size = (Path(name) / LAST).stat().st_size
        begun = time.perf_counter()
        again(folder=Path(name))  # nothing is left to do but to read what there is
        seconds = time.perf_counter() - begun
    return f"Checkpoint: {size / 2**10:.0f} KiB; going on from it costs {seconds:.1f} s"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--steps", type=int, default=20, help="timed, each encoder")
    parser.add_argument("--channels", type=int, default=16, help="at full resolution, about")
    parser.add_argument("--patch-size", type=int, default=TrainingSettings.patch_size)
    chosen = parser.parse_args()
    speed(Console(width=120), embedded().train, chosen)


if __name__ == "__main__":
    main()
