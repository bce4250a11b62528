"""One run of an experiment, from the gate to the record: what is mapped over processes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from equicomir import gate, properties
from equicomir.encoders.groups import parse_group
from equicomir.evaluation import displacements, records
from equicomir.evaluation.alignment import Method, evaluate
from equicomir.evaluation.detail import detail
from equicomir.evaluation.displacements import TestPair
from equicomir.evaluation.equivariance import equivariance_error
from equicomir.evaluation.validation import register_by
from equicomir.experiment.plan import DataSet, Registration, Task
from equicomir.filters import high_pass
from equicomir.images.fingerprint import fingerprint
from equicomir.images.sources import Parts
from equicomir.losses.rotated_pairs import valid_disk
from equicomir.registration import distance, elastix, features, information, search
from equicomir.registration.alignment import Alignment
from equicomir.representations import EncoderSettings, Representations
from equicomir.shapes import Array, ArrayMask, Images, Matrix, Stack
from equicomir.training.loop import train
from equicomir.training.settings import TrainingSettings
from equicomir.training.start import filter_of, new_model, objective

#: What became of a task: run now; all of it stood in the records; another process has it; its
#: gate did not hold.
Status = Literal["run", "stood", "elsewhere", "gate"]

ANGLES = (15.0, 30.0, 45.0)  # degrees, of the equivariance error
_DETAILED = 25  # patches on which detail is measured
_LISTED = 100  # pairs a level and direction of a list that is drawn here


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()


#: The similarities by their definition, of the values of two representations.
_OF_ONE_PAIR: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "negative_mse": lambda a, b: -(a - b).square().mean(),
    "gaussian": lambda a, b: (-(a - b).square().mean() / 2).exp(),
    "negative_l1": lambda a, b: -(a - b).abs().mean(),
    "cosine": _cosine,
    "correlation": lambda a, b: _cosine(a - a.mean(), b - b.mean()),
    "angular": lambda a, b: 1 - 2 / math.pi * torch.acos(_cosine(a, b).clamp(-1, 1)),
}


def claims(model: Representations, settings: TrainingSettings) -> list[properties.Property]:
    """What the gate asks of the encoders, filter and loss of one run.

    Of an encoder that promises nothing under turning (the controls) nothing is asked there.

    Args:
        model: untrained or trained.
        settings: of its training.
    """
    image_filter, share, shift = filter_of(settings), settings.unfiltered, settings.shift_pixels
    filtered = image_filter is not None and share < 1
    asked = []
    for modality in model.scalings if turns_exactly(model.settings) else ():
        encoder = model.encoder(modality)
        asked += properties.of_encoder(
            f"encoder of {modality}",
            partial(model.of_scaled, modality),
            channels=len(model.scalings[modality].low),
            size_multiple=encoder.size_multiple,
            size_offset=encoder.size_offset,
        )
    if image_filter is not None:
        asked += properties.of_filter(image_filter)
    whole = partial(
        partial(naive_with_shifted, shift=shift) if shift else properties.naive_info_nce,
        temperature=settings.temperature,
        mask=valid_disk(settings.patch_size, shift),
        similarity=_OF_ONE_PAIR[settings.similarity],
    )
    naive = whole
    if filtered and image_filter is not None:
        mask = valid_disk(settings.patch_size, image_filter.reach + shift)
        naive = partial(whole, mask=mask, image_filter=image_filter)
    return asked + properties.of_loss(
        objective(settings),
        lambda y: (1 - share) * naive(y) + share * whole(y) if filtered and share else naive(y),
        size=settings.patch_size,
        channels=model.settings.representation_channels,
        filtered=filtered and not share,
    )


def naive_with_shifted(y: Stack, *, shift: int, **options: Any) -> Tensor:
    """The naive loss with shifted representations among the negatives, by their definition."""
    rolled = [
        image.roll((rows, columns), dims=(-2, -1))
        for rows, columns in ((shift, 0), (-shift, 0), (0, shift), (0, -shift))
        for image in y.flatten(0, 1)
    ]
    return properties.naive_info_nce(y, negatives=torch.stack(rolled), **options)


def turns_exactly(encoder: EncoderSettings) -> bool:
    """Whether an encoder promises that quarter turns of the image turn its representation.

    Example:
        >>> [turns_exactly(EncoderSettings(group=group)) for group in ("C1", "C4", "SO(2)")]
        [False, True, True]
        >>> turns_exactly(EncoderSettings(family="plain"))
        False
    """
    by_construction = encoder.family in ("steerable", "roto_translation")
    return by_construction and parse_group(encoder.group).grid_turns == 4


def run(task: Task, data: Path | None, lists: Path, out: Path) -> Status:
    """Gate, train, evaluate and record one task; or see that it is not for this process to do.

    Args:
        task: what to run.
        data: folder of the data sets; None for the embedded picture.
        lists: folder of the committed lists of test pairs.
        out: gets ``records.jsonl``, and a folder a training under ``models``.

    Returns:
        What became of it.

    Raises:
        ValueError: the data are not there, or not what they are to be.
    """
    path = out / "records.jsonl"
    parts, of_data = _read(task.data_set, data)
    if not _open(task, of_data, path):
        return "stood"
    trained_as = records.run_key(
        {**task.learned(of_data), "of": [n for n, _ in task.registrations]}
    )
    with records.claim(path, trained_as) as mine:
        if not mine:
            return "elsewhere"
        model, facts = None, dict[str, Any]()
        if task.encoder is not None:
            gated = _gate(task, task.encoder, parts)
            facts["gate"] = [{k: _finite(v) for k, v in asdict(one).items()} for one in gated]
            if not all(one.held for one in gated):
                records.append(path, [], label=task.label, **facts)
                return "gate"
            folder = out / "models" / records.run_key(task.learned(of_data))
            done = train(parts.train, task.encoder, task.training, folder=folder, quiet=True)
            facts |= {"training_seconds": round(done.seconds, 1), "steps": done.settings.steps}
            facts |= of_model(done.model, task.training.seed)
            facts["detail"] = detail_of(task, done.model, parts, lists)
            model = done.model
        for name, registration, width in _open(task, of_data, path):
            some = pairs_of(task, parts, lists, width, registration.most_pairs)
            outcomes = evaluate(method_of(registration, model), some, parts.test)
            settings = task.evaluated(of_data, registration, width)
            records.append(path, outcomes, settings=settings, variant=name, **facts)
    return "run"


def _gate(task: Task, encoder: EncoderSettings, parts: Parts) -> list[gate.Verdict]:
    model = new_model(parts.train, encoder, task.training)
    asked = claims(model, task.training)
    return [gate.check(claim, examples=task.gate_examples) for claim in asked]


def method_of(registration: Registration, model: Representations | None) -> Method:
    """What is asked for every pair: by the representations of a model, or by the raw images."""
    if registration.method == "identity":
        return identity
    methods: dict[str, Callable[..., Alignment]] = {
        "search": search.register,
        "distance": distance.register,
        "features": features.register,
        "elastix": elastix.register,
        "information": information.register,
        "squared_loss": partial(information.register, measure="squared_loss"),
    }
    cutoff = registration.cutoff
    return partial(
        register_by,
        raw if model is None else model.encode,
        image_filter=None if cutoff is None else partial(high_pass, cutoff=cutoff),
        register=methods[registration.method],
    )


def identity(fixed: Array, moving: Array, mask: ArrayMask, modalities: tuple[str, str]) -> Matrix:
    """The floor: whatever comes, nothing moved."""
    return np.eye(3)


def raw(modality: str, images: Images) -> Images:
    """No representation at all."""
    return images


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _open(task: Task, data: str, path: Path) -> list[tuple[str, Registration, int]]:
    """(variant, registration, width) of what is not in the records."""
    stands = records.done(path)
    return [
        (name, registration, width)
        for name, registration in task.registrations
        for width in task.data_set.widths
        if records.run_key(task.evaluated(data, registration, width)) not in stands
    ]


@lru_cache(maxsize=2)
def _read(data_set: DataSet, data: Path | None) -> tuple[Parts, str]:
    """The parts of a set and their fingerprint, once a process."""
    parts = data_set.read(data)
    return parts, fingerprint([*parts.train, *parts.test])


def pairs_of(
    task: Task, parts: Parts, lists: Path, width: int, most: int | None = None
) -> list[TestPair]:
    """The first pairs of each level and direction of the list of a set and width.

    Args:
        task: says how many, and of which levels.
        parts: of its set.
        lists: folder of the committed lists; where there is none, one is drawn.
        width: in pixels.
        most: a level and direction; None for as many as the task says.

    Raises:
        ValueError: the list is damaged.
    """
    first, second = parts.modalities[:2]
    path = lists / f"{parts.name}_{first}_{second}_{width}.csv"
    if path.exists():
        every = displacements.read_pairs(path)
    else:
        generator = np.random.default_rng(width)
        every = displacements.draw_pairs(
            parts.test, (first, second), width, _LISTED, generator=generator
        )
    kept, count = list[TestPair](), min(task.pairs, most or task.pairs)
    for level in task.levels:
        for fixed in (first, second):
            of_both = [p for p in every if p.level == level and p.fixed == fixed]
            kept += of_both[:count]
    return kept


def detail_of(task: Task, model: Representations, parts: Parts, lists: Path) -> dict[str, float]:
    """How much detail survives, on the first patches of the least width, which are aligned."""
    some = pairs_of(task, parts, lists, min(task.data_set.widths))[:_DETAILED]
    scenes = {scene.name: scene for scene in parts.test}
    images, seen = [], []
    for modality in model.scalings:
        patches = [
            scenes[pair.scene].window(
                modality, (pair.row, pair.row + pair.width), (pair.column, pair.column + pair.width)
            )
            for pair in some
        ]
        images.append(torch.stack(patches))
        seen.append(model.encode(modality, images[-1]))
    found = detail(seen[0], seen[1], images[0], images[1])
    return {name: round(value, 4) for name, value in found.items()}


def of_model(model: Representations, seed: int) -> dict[str, Mapping[str, Sequence[float]]]:
    """What is measured of the encoders themselves, in the order of :data:`ANGLES`."""
    generator = torch.Generator()
    errors = {}
    for modality, scaling in model.scalings.items():
        generator.manual_seed(seed)
        encode = torch.no_grad()(partial(model.of_scaled, modality))
        errors[modality] = [
            round(
                equivariance_error(encode, angle, channels=len(scaling.low), generator=generator),
                4,
            )
            for angle in ANGLES
        ]
    return {"equivariance_error": errors}
