"""Register test pairs again by a model in the records, and keep the worst, to be looked at.

    python benchmarks/failures.py --data DATA [--sets brain_mri motor_neurons] [--pairs 100]

Of each set of :data:`WIDTHS` the pairs of level any that the committed list begins with are
registered through the steerable model ``RECORDS/h0_SET/steerable``, with the confidence that a
user is given, at the width where that fails most. ``RECORDS/failures/SET.jsonl`` gets one line:
what became of every pair, the transform found and how far it was trusted; and the folder
``RECORDS/failures/SET`` the images of the worst pairs and of the worst that were trusted, 8-bit,
and their representations, as :func:`kept` chooses them. A record of the same model stands.
"""

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import io

from equicomir import registering
from equicomir.evaluation import records
from equicomir.evaluation.alignment import Outcome, corner_error
from equicomir.evaluation.displacements import TestPair, cut_pair, read_pairs
from equicomir.images.sources import read_parts
from equicomir.provenance import commit
from equicomir.representations import Representations
from equicomir.shapes import Array

ROOT = Path(__file__).parent.parent
LEVEL, FAMILY = "any", "steerable"
#: set: its fixed and moving modality, and the width, in pixels, at which the model fails most.
WIDTHS = {
    "brain_mri": (("T1", "T2"), 64),
    "motor_neurons": (("phase_contrast", "nfh"), 128),
}
Bytes = NDArray[np.uint8]
WORST, TRUSTED = 2, 1  # pairs of a set whose images are kept: the worst, and of those trusted


@dataclass(frozen=True)
class Judged:
    """What became of one pair.

    Attributes:
        outcome: its corner error.
        found: moving to fixed, 3 x 3; None where there is no transform.
        confidence: in [0, 1].
        trusted: whether a user is told to trust it.
        images: ``fixed``, ``moving``, ``mask`` (of the moving), ``fixed_encoded`` and
            ``moving_encoded``, as they are kept: uint8, (width, width).
    """

    outcome: Outcome
    found: list[list[float]] | None
    confidence: float
    trusted: bool
    images: dict[str, Bytes]


def judged(model: Representations, pair: TestPair, scenes: dict[str, Any]) -> Judged:
    """Register one pair as a user would."""
    fixed, moving, mask = cut_pair(pair, scenes)
    found = registering.register(
        model,
        fixed,
        moving,
        fixed_modality=pair.fixed,
        moving_modality=pair.moving,
        moving_mask=mask,
    )
    matrix = None if found.failure else found.moving_to_fixed
    error = math.inf
    if matrix is not None:
        error = corner_error(pair.moving_to_fixed(), matrix, pair.width)
    images = {
        "fixed": as_bytes(fixed),
        "moving": as_bytes(moving),
        "mask": np.uint8(255) * mask,
        "fixed_encoded": encoded(model, pair.fixed, fixed),
        "moving_encoded": encoded(model, pair.moving, moving),
    }
    return Judged(
        Outcome(pair, error, 0.0, found.failure or ""),
        None if matrix is None else np.round(matrix, 6).tolist(),
        round(float(found.confidence or 0.0), 4),
        bool(found.trusted),
        images,
    )


def as_bytes(image: Array) -> Bytes:
    """The mean of the channels between its 1st and 99th percentiles, 0 to 255.

    Args:
        image: (channels, height, width), of any range.

    Example:
        >>> as_bytes(np.linspace(0, 1, 101)[None, None])[0, [0, 50, 100]].tolist()
        [0, 128, 255]
    """
    grey = image.mean(axis=0)
    low, high = np.percentile(grey, [1, 99])
    grey = np.round(255 * np.clip((grey - low) / max(high - low, 1e-12), 0, 1))
    found: Bytes = grey.astype(np.uint8)
    return found


def encoded(model: Representations, modality: str, image: Array) -> Bytes:
    """A representation as bytes, its median middle grey: its level says nothing."""
    grey = registering.encode(model, image, modality=modality).mean(axis=0)
    deviation = grey - np.median(grey)
    reach = max(float(np.percentile(np.abs(deviation), 98)), 1e-12)
    found: Bytes = np.round(255 * np.clip(0.5 + deviation / (2 * reach), 0, 1)).astype(np.uint8)
    return found


def kept(found: Sequence[Judged]) -> list[int]:
    """Places of the pairs that are looked at: the worst, then the worst that were trusted.

    None of them is a success, and none without a transform, of which there is no picture.
    """
    order = sorted(range(len(found)), key=lambda n: -found[n].outcome.corner_error)
    failed = [n for n in order if found[n].found is not None and not found[n].outcome.success]
    worst = failed[:WORST]
    trusted = [n for n in failed if found[n].trusted and n not in worst]
    return worst + trusted[:TRUSTED]


def first_pairs(name: str, count: int) -> list[TestPair]:
    """The first pairs of each direction of the committed list of a set."""
    modalities, width = WIDTHS[name]
    path = ROOT / "benchmarks" / "pairs" / f"{name}_{'_'.join(modalities)}_{width}.csv"
    every = [pair for pair in read_pairs(path) if pair.level == LEVEL]
    return [p for fixed in modalities for p in [q for q in every if q.fixed == fixed][:count]]


def record(data: Path, of_records: Path, name: str, count: int) -> None:
    """Register the pairs of one set and keep what is to be looked at, if it is not there."""
    folder, path = of_records / f"h0_{name}" / FAMILY, of_records / "failures" / f"{name}.jsonl"
    weights = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()[:16]
    settings = {
        "benchmark": "failures",
        "set": name,
        "modalities": WIDTHS[name][0],
        "width": WIDTHS[name][1],
        "level": LEVEL,
        "pairs_a_direction": count,
        "model": f"{folder.parent.name}/{folder.name}",
        "weights_sha256": weights,
    }
    with records.claim(path, records.run_key(settings)) as mine:
        if not mine:
            print(f"{path}: stands")
            return
        model = registering.load(folder)
        training = json.loads((folder / "settings.json").read_text())["training"]
        parts = read_parts(data / name, WIDTHS[name][0])
        scenes = {scene.name: scene for scene in parts.test}
        found = [judged(model, pair, scenes) for pair in first_pairs(name, count)]
        places = kept(found)
        write_images(path.with_suffix(""), {n: found[n].images for n in places})
        path.unlink(missing_ok=True)  # of another model: its images are gone too
        records.append(
            path,
            [one.outcome for one in found],
            settings=settings,
            training_seed=training["seed"],
            moving_to_fixed=[one.found for one in found],
            confidence=[one.confidence for one in found],
            trusted=[one.trusted for one in found],
            kept=places,
            commit=commit(),
        )
    failed = sum(not one.outcome.success for one in found)
    print(f"{path}: {failed} of {len(found)} failed; kept {places}")


def write_images(folder: Path, images: dict[int, dict[str, Bytes]]) -> None:
    """One PNG an image, named by the place of its pair, in place of those of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for place, each in images.items():
        for name, image in each.items():
            io.imsave(folder / f"{place:03d}_{name}.png", image, check_contrast=False)


def main() -> None:
    """Register, choose, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--records", type=Path, default=Path("records"))
    parser.add_argument("--sets", nargs="+", default=list(WIDTHS), choices=list(WIDTHS))
    parser.add_argument("--pairs", type=int, default=100, help="a direction, at level any")
    chosen = parser.parse_args()
    if chosen.pairs < 1:
        parser.error(f"--pairs: expected at least 1, got {chosen.pairs}.")
    for name in chosen.sets:
        record(chosen.data, chosen.records, name, chosen.pairs)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as mistake:  # one sentence that says what to do; no traceback
        sys.exit(f"failures: {mistake}")
