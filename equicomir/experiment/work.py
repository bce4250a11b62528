"""One run of an experiment, from the gate to the record: what is mapped over processes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from equicomir import gate, provenance
from equicomir.evaluation import displacements, records
from equicomir.evaluation.alignment import Method, evaluate
from equicomir.evaluation.detail import detail
from equicomir.evaluation.displacements import TestPair
from equicomir.evaluation.equivariance import equivariance_error
from equicomir.evaluation.validation import register_by
from equicomir.experiment.claims import claims
from equicomir.experiment.plan import Registration, Task
from equicomir.experiment.sets import DataSet, lacking
from equicomir.experiment.standing import standing
from equicomir.filters import high_pass
from equicomir.images.fingerprint import fingerprint
from equicomir.images.pairs import Scene
from equicomir.images.sources import Parts
from equicomir.registration import distance, elastix, features, information, search
from equicomir.registration.alignment import Alignment
from equicomir.representations import EncoderSettings, Representations
from equicomir.shapes import Array, ArrayMask, Images, Matrix
from equicomir.training.loop import train
from equicomir.training.start import new_model

#: What became of a task: run now; all of it stood in the records; another process has it; its
#: gate did not hold.
Status = Literal["run", "stood", "elsewhere", "gate"]

ANGLES = (15.0, 30.0, 45.0)  # degrees, of the equivariance error
_DETAILED = 25  # patches on which detail is measured
_LISTED = 100  # pairs a level and direction of a list that is drawn here


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
    parts, of_tested, of_data = _read(task.data_set, data, task.modalities, task.part)
    if not _open(task, of_data, path):
        return "stood"
    trained_as = records.run_key(
        {**task.learned(of_tested), "of": [n for n, _ in task.registrations]}
    )
    with records.claim(path, trained_as) as mine:
        if not mine:
            return "elsewhere"
        model, facts = None, dict[str, Any](commit=provenance.commit())
        if task.encoder is not None:
            scenes = learned_from(task, parts)
            gated = _gate(task, task.encoder, scenes)
            facts["gate"] = [{k: _finite(v) for k, v in asdict(one).items()} for one in gated]
            if not all(one.held for one in gated):
                records.append(path, [], label=task.label, **facts)
                return "gate"
            # Whatever is looked at after it: a training is the same, and is not done again.
            folder = out / "models" / records.run_key(task.learned(of_tested))
            done = train(scenes, task.encoder, task.training, folder=folder, quiet=True)
            facts |= {"training_seconds": round(done.seconds, 1), "steps": done.settings.steps}
            facts |= of_model(done.model, task.training.seed)
            model = done.model
        for name, registration, width in _open(task, of_data, path):
            some = pairs_of(task, parts, lists, width, registration)
            outcomes = evaluate(method_of(registration, model), some, looked_at(task, parts))
            settings = task.evaluated(of_data, registration, width)
            if model is not None:
                facts["detail"] = detail_of(task, model, parts, lists, width, registration)
            records.append(path, outcomes, settings=settings, variant=name, **facts)
    return "run"


def learned_from(task: Task, parts: Parts) -> list[Scene]:
    """The training scenes with the modalities that the task learns from.

    Args:
        task: says which modalities.
        parts: of its set.

    Returns:
        Scenes of the training part.
    """
    scenes = [
        replace(scene, images={name: scene.images[name] for name in task.learns})
        for scene in parts.train
    ]
    return lacking(scenes, task.learns[-1], task.lacking)


def looked_at(task: Task, parts: Parts) -> list[Scene]:
    """The scenes on which the task is evaluated."""
    return parts.test if task.part == "test" else parts.validation


def _gate(task: Task, encoder: EncoderSettings, scenes: list[Scene]) -> list[gate.Verdict]:
    model = new_model(scenes, encoder, task.training)
    asked = claims(model, task.training)
    return [gate.check(claim, examples=task.gate_examples) for claim in asked]


def method_of(registration: Registration, model: Representations | None) -> Method:
    """What is asked for every pair: by the representations of a model, or by the raw images.

    Args:
        registration: the method and its filter.
        model: whose representations are registered; None for raw images.

    Returns:
        What :func:`equicomir.evaluation.alignment.evaluate` asks.
    """
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
    cutoff, encode = registration.cutoff, raw if model is None else model.encode
    if cutoff == "same":
        cutoff, encode = None, raw if model is None else model.comparable
    return partial(
        register_by,
        encode,
        image_filter=None if cutoff is None else partial(high_pass, cutoff=cutoff),
        register=methods[registration.method],
    )


def identity(fixed: Array, moving: Array, mask: ArrayMask, modalities: tuple[str, str]) -> Matrix:
    """The floor: whatever comes, nothing moved.

    Args:
        fixed: is not looked at; nor are the others.
        moving: likewise.
        mask: likewise.
        modalities: likewise.

    Returns:
        The identity, 3 x 3.
    """
    return np.eye(3)


def raw(modality: str, images: Images) -> Images:
    """No representation at all."""
    return images


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _open(task: Task, data: str, path: Path) -> list[tuple[str, Registration, int]]:
    """(variant, registration, width) of what is not in the records."""
    stands = standing(path)
    return [
        (name, registration, width)
        for name, registration in task.registrations
        for width in task.data_set.widths
        if records.run_key(task.evaluated(data, registration, width)) not in stands
    ]


@lru_cache(maxsize=2)
def _read(
    data_set: DataSet, data: Path | None, modalities: tuple[str, ...], part: str
) -> tuple[Parts, str, str]:
    """The parts of a set, once a process; the fingerprint of those for training and test; and of
    all that is looked at.
    """
    parts = data_set.read(data, modalities)
    both = [*parts.train, *parts.test]
    chosen_on = parts.validation if part == "validation" else []
    return parts, fingerprint(both), fingerprint([*both, *chosen_on])


def pairs_of(
    task: Task, parts: Parts, lists: Path, width: int, registration: Registration
) -> list[TestPair]:
    """The first pairs of each level and direction of the list of a set and width.

    Args:
        task: says how many, of which levels and of which part.
        parts: of its set.
        lists: folder of the committed lists of test pairs; where there is none, and for
            validation, one is drawn.
        width: in pixels.
        registration: says of which modalities, and at most how many.

    Returns:
        The pairs, in the list's order.

    Raises:
        ValueError: the list is damaged.
    """
    first, second = task.between(registration)
    path = lists / f"{parts.name}_{first}_{second}_{width}.csv"
    if task.part == "test" and path.exists():
        every = displacements.read_pairs(path)
    else:
        generator = np.random.default_rng(width)
        every = displacements.draw_pairs(
            looked_at(task, parts),
            (first, second),
            width,
            _LISTED,
            least_content=task.data_set.least_content,
            generator=generator,
        )
    kept, count = list[TestPair](), min(task.pairs, registration.most_pairs or task.pairs)
    for level in task.levels:
        for fixed in (first, second):
            of_both = [p for p in every if p.level == level and p.fixed == fixed]
            kept += of_both[:count]
    return kept


def detail_of(
    task: Task,
    model: Representations,
    parts: Parts,
    lists: Path,
    width: int,
    registration: Registration,
) -> dict[str, float]:
    """How much detail survives, on the first patches of the list, which are aligned.

    Args:
        task: says which part.
        model: trained.
        parts: of its set.
        lists: folder of the committed lists of test pairs.
        width: of the patches, in pixels: what is coherent by chance depends on it.
        registration: says of which two modalities.

    Returns:
        Values by the name of the measure.
    """
    some = pairs_of(task, parts, lists, width, registration)[:_DETAILED]
    scenes = {scene.name: scene for scene in looked_at(task, parts)}
    images, seen = [], []
    for modality in task.between(registration):
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
    """What is measured of the encoders themselves, in the order of :data:`ANGLES`.

    Args:
        model: trained.
        seed: of the waves.

    Returns:
        Values by measure and modality.
    """
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
