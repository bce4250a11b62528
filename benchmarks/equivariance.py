"""The equivariance error at every angle, of every encoder, recorded for the paper's figure 2.

    python benchmarks/equivariance.py [--seeds 3] [--records records]

measures what ``benchmarks/encoders.py`` prints at four angles at all of :data:`ANGLES`, in
decibels too: of the measurement itself (the identity), of the untrained encoders of
:data:`UNTRAINED`, into ``RECORDS/equivariance/untrained.jsonl``, and of every model in
``RECORDS/h0_*/``, each modality, into ``trained.jsonl`` beside it. One line an encoder, none
measured twice, so it goes on where it was stopped; a model that was trained again is measured
again. About ten seconds an encoder on one core, a minute for the Tiramisu.
"""

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from equicomir.evaluation import records
from equicomir.evaluation.equivariance import equivariance_decibels, equivariance_error
from equicomir.representations import EncoderSettings, load
from equicomir.shapes import Images

#: In degrees; close enough for C16's own angles to be among them.
ANGLES = tuple(7.5 * n for n in range(1, 25))
PIXELS = 128
#: As many channels for every group, about; (2, 4, 8) for those that are not named.
WIDTHS = {"O(2)": (1, 2, 4), "C16": (1, 2, 4), "D8": (1, 2, 4)}
UNTRAINED = [
    *(
        EncoderSettings(group=group, widths=WIDTHS.get(group, (2, 4, 8)))
        for group in ("C4", "C8", "C16", "D8", "SO(2)", "O(2)")
    ),
    EncoderSettings(group="SO(2)", pooling="blur"),
    EncoderSettings(group="SO(2)", pooling="blur", kernel_size=7, smooth=True),
    *(EncoderSettings(family=family) for family in ("roto_translation", "plain", "tiramisu")),
]

Map = Callable[[Images], Images]


def curve(encoder: Map, size: int, channels: int, seed: int) -> dict[str, list[float | None]]:
    """Errors and decibels of one encoder at every angle.

    Args:
        encoder: the map.
        size: of the waves' pictures, in pixels.
        channels: of the map's input.
        seed: of the waves.

    Returns:
        ``errors`` and ``decibels``, one an angle; no decibels (None) where the map is exact.
    """
    encode = remembering(encoder)
    found: dict[str, list[float | None]] = {"errors": [], "decibels": []}
    for degrees in ANGLES:
        for name, measure in (("errors", equivariance_error), ("decibels", equivariance_decibels)):
            generator = torch.Generator().manual_seed(seed)  # the same waves for every encoder
            value = measure(encode, degrees, channels=channels, size=size, generator=generator)
            found[name].append(value if math.isfinite(value) else None)
    return found


def remembering(encoder: Map) -> Map:
    """The same map, computed once an input: the upright waves are those of every angle."""
    known: dict[bytes, Images] = {}

    def encode(images: Images) -> Images:
        key = hashlib.sha256(images.numpy().tobytes()).digest()
        if key not in known:
            known[key] = encoder(images)
        return known[key]

    return encode


def untrained(architecture: EncoderSettings | None, seed: int) -> Map:
    """An encoder as it begins; without an architecture the identity.

    Its normalisation takes the statistics of the waves, as running ones say nothing before
    training; the Tiramisu takes those all the same, as its dropout must be off.
    """
    if architecture is None:
        return torch.nn.Identity()
    encoder = architecture.make(1, generator=torch.Generator().manual_seed(seed))
    return encoder.train(architecture.family != "tiramisu")


def record_untrained(path: Path, architecture: EncoderSettings | None, seeds: int) -> None:
    """Append an untrained encoder from every seed, or the floor, if it is not there."""

    def measured(seed: int) -> dict[str, Any]:
        return curve(untrained(architecture, seed), PIXELS, 1, seed)

    record(path, {"encoder": architecture and asdict(architecture)}, seeds, measured)


def record_trained(path: Path, folder: Path, modality: str, seeds: int) -> None:
    """Append one modality of a saved model, if it is not there with these weights."""
    model = load(folder)
    network = model.encoder(modality)
    weights = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    training = json.loads((folder / "settings.json").read_text()).get("training", {})
    settings = {
        "encoder": asdict(model.settings),
        "model": f"{folder.parent.name}/{folder.name}",
        "modality": modality,
        "weights_sha256": weights[:16],
    }

    def measured(seed: int) -> dict[str, Any]:
        size = network.valid_size_around(PIXELS, PIXELS)[0]
        return curve(network, size, network.in_channels, seed)

    record(path, settings, seeds, measured, training_seed=training.get("seed"))


def record(
    path: Path,
    settings: dict[str, Any],
    seeds: int,
    measured: Callable[[int], dict[str, Any]],
    **facts: Any,
) -> None:
    """Append one line, if it is not there.

    Args:
        path: of the records.
        settings: that say which encoder it is.
        seeds: so many, from 0.
        measured: from a seed to its curves.
        facts: more for the line.
    """
    settings = settings | {"seeds": list(range(seeds)), "angles_degrees": list(ANGLES)}
    with records.claim(path, records.run_key(settings)) as mine:
        if not mine:
            return
        each = [measured(seed) for seed in range(seeds)]
        values = {name: [of_seed[name] for of_seed in each] for name in ("errors", "decibels")}
        records.append(path, [], settings=settings, **facts, **values)
    print(f"{path}: {settings.get('model') or settings['encoder'] or 'identity'}", flush=True)


def models(folder: Path) -> list[Path]:
    """Where models lie among the records, sorted."""
    return [path.parent for path in sorted(folder.glob("h0_*/*/weights.safetensors"))]


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="of waves and untrained weights")
    parser.add_argument("--records", type=Path, default=Path("records"))
    chosen = parser.parse_args()
    if chosen.seeds < 1:
        parser.error(f"--seeds: expected at least 1, got {chosen.seeds}.")
    folder = chosen.records / "equivariance"
    for architecture in (None, *UNTRAINED):
        record_untrained(folder / "untrained.jsonl", architecture, chosen.seeds)
    for model in models(chosen.records):
        for modality in load(model).scalings:
            record_trained(folder / "trained.jsonl", model, modality, chosen.seeds)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as mistake:  # one sentence that says what to do; no traceback
        sys.exit(f"equivariance: {mistake}")
