"""What an experiment is: its variants, what is claimed of them, and how much of it is run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from equicomir.experiment.sets import DataSet
from equicomir.representations import EncoderSettings
from equicomir.training.settings import TrainingSettings

#: The level of displacement that every comparison is about: there rotation behaviour decides.
CLAIMED = "any"

#: What registers, of :mod:`equicomir.registration`; ``"identity"`` moves nothing.
Method = Literal[
    "search", "distance", "features", "elastix", "information", "squared_loss", "identity"
]


@dataclass(frozen=True)
class Registration:
    """How pairs are registered.

    Attributes:
        method: which.
        cutoff: it is given what a high-pass leaves of the representations: ``"same"``, the one of
            their loss; or of this cut-off, in cycles per pixel; None gives them as they are.
        most_pairs: a direction, width and level, for a method that takes long; None for all.
        between: places, among the modalities of a set, of the two that are registered.
    """

    method: Method = "search"
    cutoff: float | Literal["same"] | None = "same"
    most_pairs: int | None = None
    between: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class Variant:
    """One way to learn representations and to register by them; or to register raw images.

    Attributes:
        name: for tables.
        encoder: of each modality; None registers the raw images.
        training: of the run; its seed and steps are the experiment's.
        registration: of the representations, or of the raw images.
        equal: ``"pairs"``: as many steps as all; ``"minutes"``: as much time as all.
        learns: places, among the modalities of a set, of those that are learned from.
        lacking: share, in [0, 1), of the training scenes without the last of them.
    """

    name: str
    encoder: EncoderSettings | None = field(default_factory=EncoderSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    registration: Registration = field(default_factory=Registration)
    equal: Literal["pairs", "minutes"] = "pairs"
    learns: tuple[int, ...] = (0, 1)
    lacking: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """A claim: one variant succeeds more often than another at level any, by at least so much.

    That something loses, or adds, less than so much is claimed of it as the better one with a
    negative ``by``: no more than that is missing.

    Attributes:
        better: name of a variant.
        than: name of its reference.
        by: the smallest difference of success rates that matters, in [-1, 1].
    """

    better: str
    than: str
    by: float


@dataclass(frozen=True)
class Budget:
    """How much of an experiment is run.

    Attributes:
        seeds: training seeds of each variant.
        steps: of each training that is to see as many pairs as the others.
        minutes: of each training that is to take as much time.
        pairs: test pairs a direction, width and level.
        levels: of displacement; with :data:`CLAIMED`.
        gate_examples: cases that the gate draws for each of its claims.
        part: of the set on which it is evaluated: what is chosen, is chosen on validation.
    """

    seeds: int
    steps: int
    pairs: int
    levels: tuple[str, ...] = ("any",)
    gate_examples: int = 12
    minutes: float = 1.0
    part: Literal["validation", "test"] = "test"

    def __post_init__(self) -> None:
        """Refuse what answers no claim.

        Raises:
            ValueError: the level of the claims is missing.
        """
        if CLAIMED not in self.levels:
            raise ValueError(f"levels: expected {CLAIMED!r} among them, got {self.levels}.")


#: Two minutes on two cores: whether everything runs, and no result.
QUICK = Budget(seeds=1, steps=4, pairs=2, gate_examples=3, minutes=0.05)


@dataclass(frozen=True)
class Experiment:
    """Everything that is stated before anything runs.

    Attributes:
        name: such as ``"h5"``; of its folder of records.
        hypothesis: in one sentence.
        refuted_if: likewise.
        variants: at least one.
        comparisons: one family: their intervals hold together.
        default: about twenty minutes on two cores a set.
        full: for a cluster.
        sets: names of those on which it is planned: the family is of the comparisons on all.
    """

    name: str
    hypothesis: str
    refuted_if: str
    variants: tuple[Variant, ...]
    comparisons: tuple[Comparison, ...]
    default: Budget
    full: Budget
    sets: tuple[str, ...] = ("motor_neurons",)

    def __post_init__(self) -> None:
        """Refuse what could not be evaluated.

        Raises:
            ValueError: a name twice, or a comparison of what is no variant.
        """
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError(f"variants: expected different names, got {names}.")
        for comparison in self.comparisons:
            for name in (comparison.better, comparison.than):
                if name not in names:
                    raise ValueError(f"comparisons: expected one of {names}, got {name!r}.")


@dataclass(frozen=True)
class Task:
    """One training, and every variant and width that is evaluated with it.

    Attributes:
        data_set: on which.
        learns: modalities.
        lacking: share of the training scenes without the last of them.
        encoder: of each modality; None where raw images are registered.
        training: with seed and steps.
        registrations: (name of the variant, how its pairs are registered).
        pairs: test pairs a direction, width and level.
        levels: of displacement.
        gate_examples: as in :class:`Budget`.
        part: likewise.
    """

    data_set: DataSet
    learns: tuple[str, ...]
    lacking: float
    encoder: EncoderSettings | None
    training: TrainingSettings
    registrations: tuple[tuple[str, Registration], ...]
    pairs: int
    levels: tuple[str, ...]
    gate_examples: int
    part: Literal["validation", "test"]

    @property
    def modalities(self) -> tuple[str, ...]:
        """All that are needed, in the order of the set."""
        needed = {*self.learns, *(m for _, how in self.registrations for m in self.between(how))}
        return tuple(name for name in self.data_set.modalities if name in needed)

    def between(self, registration: Registration) -> tuple[str, str]:
        """The two modalities that are registered.

        Raises:
            ValueError: the set has no third.
        """
        first, second = named(self.data_set, registration.between)
        return first, second

    @property
    def label(self) -> str:
        """For a person."""
        names = ", ".join(name for name, _ in self.registrations)
        seed = "raw images" if self.encoder is None else f"seed {self.training.seed}"
        return f"{self.data_set.name}, {names}, {seed}"

    def learned(self, data: str) -> dict[str, Any]:
        """What defines the training; the data by their fingerprint."""
        return {
            "set": self.data_set.name,
            "modalities": self.learns,
            "lacking": self.lacking,
            "data": data,
            "encoder": None if self.encoder is None else asdict(self.encoder),
            "training": None if self.encoder is None else asdict(self.training),
        }

    def evaluated(self, data: str, registration: Registration, width: int) -> dict[str, Any]:
        """What defines one of its results.

        Args:
            data: fingerprint of the images.
            registration: how it is registered.
            width: of the patches, in pixels.

        Returns:
            JSON values, for :func:`equicomir.evaluation.records.run_key`.
        """
        return {
            **self.learned(data),
            "registration": asdict(registration),
            "width": width,
            "levels": self.levels,
            "pairs": self.pairs,
            "part": self.part,
        }


def named(data_set: DataSet, places: tuple[int, ...]) -> tuple[str, ...]:
    """Modalities of a set by their places.

    Args:
        data_set: with its modalities in order.
        places: from 0.

    Returns:
        Their names.

    Raises:
        ValueError: there are fewer.
    """
    if max(places) >= len(data_set.modalities):
        raise ValueError(
            f"{data_set.name}: expected a set of at least {max(places) + 1} modalities, got "
            f"{len(data_set.modalities)}; choose another set."
        )
    return tuple(data_set.modalities[place] for place in places)


#: What two variants share that differ in their registration alone.
_Learning = tuple[tuple[str, ...], float, EncoderSettings | None, TrainingSettings]


def tasks(experiment: Experiment, sets: Sequence[DataSet], budget: Budget) -> list[Task]:
    """All trainings of an experiment: every variant with its first seed before any other seed.

    Variants that differ in their registration alone share a training; raw images have no seed.

    Args:
        experiment: as its script states it.
        sets: on which.
        budget: says how many seeds.

    Returns:
        In the order in which they are run.

    Example:
        >>> from equicomir.experiment.sets import EMBEDDED
        >>> smooth = Registration(cutoff=0.05)
        >>> variants = (Variant("as it is"), Variant("filtered", registration=smooth))
        >>> tried = Experiment("h", "", "", variants, (), QUICK, QUICK)
        >>> [len(task.registrations) for task in tasks(tried, [EMBEDDED], QUICK)]
        [2]
    """
    found = []
    for data_set in sets:
        for seed in range(budget.seeds):
            shared: dict[_Learning, list[tuple[str, Registration]]] = {}
            for variant in experiment.variants:
                if variant.encoder is None and seed:
                    continue
                training = replace(variant.training, seed=seed, curves=data_set.curves)
                if variant.equal == "minutes":
                    training = replace(training, steps=None, minutes=budget.minutes)
                else:
                    training = replace(training, steps=budget.steps)
                learns = named(data_set, variant.learns)
                one: _Learning = (learns, variant.lacking, variant.encoder, training)
                of_one = shared.setdefault(one, [])
                of_one.append((variant.name, variant.registration))
            found += [
                Task(
                    data_set,
                    *one,
                    tuple(of_one),
                    budget.pairs,
                    budget.levels,
                    budget.gate_examples,
                    budget.part,
                )
                for one, of_one in shared.items()
            ]
    return found
