"""``equicomir evaluate``: how often a model registers pairs whose displacement is known."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from rich.console import Console

from equicomir import report
from equicomir.commands.options import (
    Flat,
    Folders,
    Model,
    OptionalPath,
    Output,
    folder_to_write,
    parsed,
)
from equicomir.evaluation import records
from equicomir.evaluation.alignment import Outcome, evaluate, summarise
from equicomir.evaluation.displacements import TestPair, draw_pairs
from equicomir.evaluation.validation import register_by
from equicomir.images.fingerprint import fingerprint
from equicomir.images.listing import list_folders
from equicomir.images.pairs import Scene, read_scenes
from equicomir.representations import Representations, load


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """How often a model registers pairs that were turned and moved by a known displacement.

    A fixed patch is cut from one modality and a moving one, displaced, from the other, both
    ways; a success is a mean corner error of at most 2 % of the width. Images the model has
    learned from make it look better than it is.

    For example:

        equicomir evaluate model --images SHG/ HE/ --level any --out pairs.jsonl

    Attributes:
        model: Folder of a model, as "equicomir train" writes it.
        images: Two folders of images, named as the model's modalities, pixel on pixel.
        masks: Folder of images by the same names, not zero where a scene counts.
        level: Of displacement: 1 to 4 are rotations up to 5, 10, 15 and 20 degrees, any is all
            round the circle.
        width: Of the patches, in pixels.
        pairs: For each level and each direction.
        seed: Of the pairs.
        out: File to which one line is added, a JSON record of every pair.
        output: How the command speaks.
    """

    model: Model
    images: Annotated[tuple[Path, ...], Folders]
    masks: OptionalPath = None
    level: tuple[Literal["1", "2", "3", "4", "any"], ...] = ("any",)
    width: int = 128
    pairs: int = 50
    seed: int = 0
    out: Path
    output: Annotated[Output, Flat] = field(default_factory=Output)


def main(arguments: Sequence[str]) -> int:
    """Evaluate; as :func:`equicomir.cli.main`.

    Raises:
        ValueError: an option or a file will not do; it is named.
    """
    options = parsed(Evaluate, arguments, prog="equicomir evaluate")
    levels = list(dict.fromkeys(options.level))
    for name, least, value in (("width", 16, options.width), ("pairs", 1, options.pairs)):
        if value < least:
            raise ValueError(f"--{name}: expected at least {least}, got {value}.")
    if len(options.images) != 2 or not levels:
        raise ValueError(
            f"--images, --level: expected two folders and one level or more, got "
            f"{len(options.images)} and {len(levels)}."
        )
    model = load(options.model)
    folders = [folder.absolute() for folder in options.images]
    fixed, moving = (folder.name for folder in folders)
    for modality in (fixed, moving):
        model.encoder(modality)
    scenes = read_scenes(list_folders(folders, masks=options.masks))
    check_channels(model, scenes)
    folder_to_write(options.out.absolute().parent)
    pairs = draw_pairs(
        scenes,
        (fixed, moving),
        options.width,
        options.pairs,
        levels=levels,
        generator=np.random.default_rng(options.seed),
    )
    outcomes = run(model, pairs, scenes, options.output)
    records.append(
        options.out,
        outcomes,
        method="search",
        modalities=[fixed, moving],
        width=options.width,
        seed=options.seed,
        data=fingerprint(scenes),
        encoders=asdict(model.settings),
    )
    show(outcomes, levels, f"{fixed} and {moving}, {options.width} px", options.output)
    options.output.say(f"{options.out}: the record of {len(outcomes)} pairs.")
    return 0


def check_channels(model: Representations, scenes: Sequence[Scene]) -> None:
    """Refuse scenes of other images than those the model was trained on.

    Args:
        model: that is to encode them.
        scenes: with their images.

    Raises:
        ValueError: a modality has another number of channels, or is unknown.
    """
    for scene in scenes:
        for modality, image in scene.images.items():
            model.encoder(modality)
            expected = len(model.scalings[modality].low)
            if image.shape[0] != expected:
                raise ValueError(
                    f"{modality}/{scene.name}: expected {expected} channels, as in training, got "
                    f"{image.shape[0]}; choose images of that kind."
                )


def run(
    model: Representations, pairs: Sequence[TestPair], scenes: Sequence[Scene], output: Output
) -> list[Outcome]:
    """Register every pair through a model, with a bar.

    Args:
        model: whose representations are registered.
        pairs: the list.
        scenes: that the pairs are cut from.
        output: where the bar is drawn.

    Returns:
        One outcome a pair, in order.
    """
    method = partial(register_by, model.comparable)
    outcomes = []
    with output.progress(f"registering {len(pairs)} pairs", len(pairs)) as advance:
        for pair in pairs:
            outcomes += evaluate(method, [pair], scenes)
            advance(1)
    return outcomes


def show(outcomes: Sequence[Outcome], levels: Sequence[str], title: str, output: Output) -> None:
    """Tell success and error at each level, as tables or as JSON.

    Args:
        outcomes: of all pairs.
        levels: a table each.
        title: of the tables.
        output: how it is told.
    """
    if not (output.quiet or output.json):
        rows = report.rows_of([("search", "learned", outcomes)], levels)
        for table in report.terminal_tables(title, rows, levels):
            Console().print(table)
    summaries = {}
    for level in levels:
        summary = asdict(summarise([o for o in outcomes if o.pair.level == level]))
        finite = np.isfinite(summary["median_error"])
        summaries[level] = {**summary, "median_error": summary["median_error"] if finite else None}
    output.tell({"levels": summaries})
