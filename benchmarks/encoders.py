"""What symmetry costs and what it gives: encoders beside the plain one and escnn's, in one run.

    python benchmarks/encoders.py [--repeats 9] [--seeds 3] [--models FOLDER ...] [--quick]

prints three tables. *Cost*: a training step, and inference at 512 x 512 once exported to ordinary
layers, each as a ratio to the plain network with as many channels and the same kernel, and to the
same steerable network built of escnn's modules (``escnn_unet.py``; inference in its eval mode,
which expands kernels once), all timed in turn (so a machine that drifts slows all; the median of
the ratios is shown with its range). *Rotation*: the protocol's equivariance error at three angles
and at a quarter turn, untrained, over seeds, with the floor that the measurement itself has.
*Trained*: the same for models that an experiment saved, measured on the same waves. ``--quick``
tries the first on small images in seconds: no result.
"""

import argparse
import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from escnn_unet import EscnnUNet
from rich.console import Console
from rich.table import Table
from timing import Act, in_turn, ratio
from torch import nn

from equicomir.encoders.encoder import Encoder
from equicomir.encoders.export import Ordinary
from equicomir.encoders.plain import plain
from equicomir.encoders.roto_translation import roto_translation
from equicomir.encoders.steerable import steerable
from equicomir.encoders.tiramisu import tiramisu
from equicomir.evaluation.equivariance import equivariance_decibels, equivariance_error
from equicomir.representations import load
from equicomir.shapes import Images

WIDTHS = {"O(2)": (1, 2, 4), "C16": (1, 2, 4), "D8": (1, 2, 4)}  # else (2, 4, 8): as many channels
ANGLES = (15.0, 30.0, 45.0, 90.0)
COSTS: list[tuple[Callable[..., Encoder], str, int]] = [
    *((steerable, group, size) for group in ("C1", "C4", "C8", "D4") for size in (3, 5)),
    *((steerable, group, 5) for group in ("C16", "D8")),
    *((steerable, group, size) for group in ("SO(2)", "O(2)") for size in (3, 5)),
    (roto_translation, "C8", 5),
]


def made(make: Callable[..., Encoder], group: str, seed: int = 0, **options: object) -> Encoder:
    """An encoder of about as many channels for every group."""
    widths = WIDTHS.get(group, (2, 4, 8))
    generator = torch.Generator().manual_seed(seed)
    return make(group=group, widths=widths, generator=generator, **options)


def of_escnn(make: Callable[..., Encoder], group: str, size: int) -> EscnnUNet | None:
    """The same network of escnn's modules; None where there is no symmetry or no such network."""
    if make is not steerable or group == "C1":
        return None
    with contextlib.redirect_stdout(io.StringIO()):  # escnn prints while it solves for O(2)
        return EscnnUNet(group, WIDTHS.get(group, (2, 4, 8)), size)


def training_step(encoder: nn.Module, images: Images) -> Act:
    """One optimiser step, as training does it."""
    optimiser = torch.optim.Adam(encoder.parameters())

    def step() -> None:
        loss = encoder(images).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def inference(network: nn.Module, images: Images) -> Act:
    """One forward pass, once exported; of escnn's network in eval mode."""
    ready = Ordinary(network) if isinstance(network, Encoder) else network.eval()

    def run() -> None:
        with torch.inference_mode():
            ready(images)

    return run


def cost_table(repeats: int, quick: bool = False) -> Table:
    """Ratios to the plain network and to escnn's."""
    table = Table(title=f"Cost, {torch.get_num_threads()} threads: ratios (least to most)")
    words = ("encoder", "kernel", "weights", "of plain")
    ratios = ("step / plain", "step / escnn", "inference / plain", "inference / escnn")
    for heading in (*words, *ratios):
        table.add_column(heading, justify="left" if heading == "encoder" else "right")
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(*((2, 1, 32, 32) if quick else (12, 1, 96, 96)), generator=generator)
    image = torch.randn(*((1, 1, 64, 64) if quick else (1, 1, 512, 512)), generator=generator)
    for make, group, size in COSTS[2:3] if quick else COSTS:
        made_by = {m.__name__: made(m, group, kernel_size=size) for m in (make, plain)}
        networks: dict[str, nn.Module] = {"ours": made_by[make.__name__], "plain": made_by["plain"]}
        peer = of_escnn(make, group, size)
        networks |= {} if peer is None else {"escnn": peer}
        counts = [sum(p.numel() for p in networks[n].parameters()) for n in ("ours", "plain")]
        cells = []
        for act, images in ((training_step, patches), (inference, image)):
            took = in_turn({name: act(n, images) for name, n in networks.items()}, repeats)
            others = ("plain", "escnn")
            cells += [ratio(took["ours"], took[o]) if o in took else "" for o in others]
        table.add_row(named(make, group), f"{size} x {size}", *map(str, counts), *cells)
    return table


def named(make: Callable[..., Encoder], group: str) -> str:
    """As a table names an encoder."""
    return f"{make.__name__.replace('_', '-')} {group}"


def errors(encoder: Callable[[Images], Images], size: int, seed: int, channels: int) -> list[float]:
    """The equivariance error at each angle, and decibels at the last but one."""

    def rng() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    found = [
        equivariance_error(encoder, a, size=size, channels=channels, generator=rng())
        for a in ANGLES
    ]
    decibels = equivariance_decibels(
        encoder, ANGLES[2], size=size, channels=channels, generator=rng()
    )
    return [*found, decibels]


def rotation_table(title: str) -> Table:
    """An empty table of errors."""
    table = Table(title=title)
    for heading in ("encoder", *(f"{a:g} deg" for a in ANGLES), f"dB at {ANGLES[2]:g} deg"):
        table.add_column(heading, justify="left" if heading == "encoder" else "right")
    return table


def add_errors(table: Table, name: str, measured: list[list[float]]) -> None:
    """One line: means over seeds."""
    *relative, decibels = np.mean(measured, axis=0)
    cells = [f"{e:.3f}" if e >= 5e-4 else f"{e:.0e}" for e in relative]
    table.add_row(name, *cells, f"{decibels:.1f}")


def untrained(seeds: int) -> Table:
    """Every encoder as it begins."""
    table = rotation_table(f"Equivariance error, untrained, 128 px, mean of {seeds} seeds")
    identity: Callable[[Images], Images] = torch.nn.Identity()
    add_errors(table, "identity (the floor)", [errors(identity, 128, 0, 1)])
    for pooling in ("average", "blur"):
        for parity in ("even", "odd"):
            for make, group in [
                *((steerable, g) for g in ("C4", "C8", "C16", "D8", "SO(2)", "O(2)")),
                (roto_translation, "C8"),
                (plain, "C8"),
            ]:
                encoders = [
                    made(make, group, seed, pooling=pooling, parity=parity) for seed in range(seeds)
                ]
                size = 128 + encoders[0].size_offset
                found = [errors(e, size, seed, 1) for seed, e in enumerate(encoders)]
                add_errors(table, f"{named(make, group)}, {pooling}, {parity}", found)
    for widths in ((2, 4, 8), (4, 8)):
        smooth = [
            steerable(
                group="SO(2)",
                widths=widths,
                kernel_size=7,
                smooth=True,
                pooling="blur",
                generator=torch.Generator().manual_seed(seed),
            )
            for seed in range(seeds)
        ]
        found = [errors(e, 128, seed, 1) for seed, e in enumerate(smooth)]
        add_errors(table, f"steerable SO(2), smooth 7 x 7, blur, even, {widths}", found)
    dense = tiramisu(generator=torch.Generator().manual_seed(0)).eval()
    add_errors(table, "tiramisu", [errors(dense, 128, 0, 1)])
    return table


def trained(folders: list[Path]) -> Table:
    """Encoders that an experiment saved, in eval mode."""
    table = rotation_table("Equivariance error, trained, 128 px")
    for folder in folders:
        model = load(folder)
        for modality in model.scalings:
            encoder = model.encoder(modality)
            size = encoder.valid_size_around(128, 128)[0]
            found = [errors(encoder, size, seed, encoder.in_channels) for seed in range(3)]
            add_errors(table, f"{folder.parent.name}/{folder.name}, {modality}", found)
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="of each timing; 0 for none")
    parser.add_argument("--seeds", type=int, default=3, help="untrained; 0 for none")
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="saved models")
    parser.add_argument("--quick", action="store_true", help="one small cost alone: no result")
    chosen = parser.parse_args()
    console = Console(width=150)
    if chosen.quick:
        console.print(cost_table(1, quick=True))
        return
    if chosen.repeats:
        console.print(cost_table(chosen.repeats))
    if chosen.seeds:
        console.print(untrained(chosen.seeds))
    if chosen.models:
        console.print(trained(chosen.models))


if __name__ == "__main__":
    main()
