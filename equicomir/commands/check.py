"""``equicomir check``: whether what must hold of a model does; the gate, asked by hand."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from equicomir import gate
from equicomir.commands.options import Flat, Model, Output, parsed
from equicomir.experiment.claims import claims, turns_exactly
from equicomir.representations import load
from equicomir.sealed import read_sealed
from equicomir.training.settings import TrainingSettings, training_settings


@dataclass(frozen=True, kw_only=True)
class Check:
    """Whether what must hold of a model does: of its encoders, and of the filter and loss it was
    trained with.

    Turning an image by quarter turns must turn its representation, exactly but for rounding, where
    the encoders are equivariant by construction; of the others it is not asked. Where something
    does not hold the exit status is 3.

    For example:

        equicomir check model

    Attributes:
        model: Folder of a model, as "equicomir train" writes it.
        examples: Cases to try of each property.
        output: How the command speaks.
    """

    model: Model
    examples: int = 12
    output: Annotated[Output, Flat] = field(default_factory=Output)


def main(arguments: Sequence[str]) -> int:
    """Ask the gate; as :func:`equicomir.cli.main`.

    Raises:
        ValueError: an option or a file will not do; it is named.
    """
    options = parsed(Check, arguments, prog="equicomir check")
    if options.examples < 1:
        raise ValueError(f"--examples: expected at least 1, got {options.examples}.")
    model = load(options.model)
    asked = claims(model, trained_with(options.model))
    if not turns_exactly(model.settings):
        options.output.say(f"  {model.settings.family} encoders turn nothing exactly: not asked")
    verdicts = []
    with options.output.progress("checking", len(asked)) as advance:
        for claim in asked:
            verdicts.append(gate.check(claim, examples=options.examples))
            advance(1)
    for v in verdicts:
        why = "" if v.held else f" ({v.reason or f'error {v.worst:.1e}'})"
        options.output.say(f"  {'holds ' if v.held else 'BROKEN'}  {v.name}{why}")
    broken = [v for v in verdicts if not v.held]
    options.output.tell(
        {
            "held": not broken,
            "properties": [
                {"name": v.name, "held": v.held, "cases": v.cases, "reason": v.reason}
                for v in verdicts
            ],
        }
    )
    if not broken:
        return 0
    print(
        f"equicomir check: {options.model}: expected {len(verdicts)} properties to hold, got "
        f"{len(broken)} that do not, first: {broken[0].name}.",
        file=sys.stderr,
    )
    return gate.GATE_FAILED


def trained_with(folder: Path) -> TrainingSettings:
    """The settings a saved model notes of its training; the defaults where it notes none.

    Raises:
        ValueError: what it notes is damaged; the file is named.
    """
    path = folder / "settings.json"
    try:
        return training_settings(read_sealed(path).get("training", {}))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected settings of training, got: {error}") from None
