"""Records: one JSON line a result, with everything needed to repeat it."""

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from equicomir.evaluation.alignment import Outcome


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    names = ("equicomir", "torch", "escnn", "numpy", "scipy", "scikit-image")
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in names
    }


def append(path: Path, outcomes: Sequence[Outcome], **facts: Any) -> None:
    """Add one line: the facts of a run (JSON values) and what became of every pair.

    Args:
        path: made with its folder if it does not exist.
        outcomes: of one method over the list.
        facts: method, settings, seeds, data, ...

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = [
        {
            **asdict(outcome.pair),
            # JSON has no infinity: a failed pair has no error at all.
            "corner_error": None if outcome.failure else round(outcome.corner_error, 4),
            "seconds": round(outcome.seconds, 4),
            "failure": outcome.failure,
        }
        for outcome in outcomes
    ]
    line = json.dumps({**facts, "versions": versions(), "pairs": pairs}, allow_nan=False)
    with path.open("a") as file:
        file.write(line + "\n")
