"""What an experiment is: its variants, what is claimed of them, and how much of it is run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from equicomir.evaluation import units
from equicomir.evaluation.displacements import TestPair
from equicomir.images.intensities import Curve
from equicomir.images.sources import Parts, embedded, read_parts
from equicomir.representations import EncoderSettings
from equicomir.training.settings import TrainingSettings


@dataclass(frozen=True)
class DataSet:
    """Where an experiment is run, and what is known of it.

    Attributes:
        name: of its folder, and of its committed lists of test pairs.
        modalities: fixed first, moving second.
        widths: of the test patches, in pixels.
        unit: what is independent in its test part: ``"scenes"``, ``"blocks"`` or ``"runs"``.
        masks: name of the folder of masks, if there is one.
        curves: how intensities are scaled, one a modality or one for all.
    """

    name: str
    modalities: tuple[str, str]
    widths: tuple[int, ...]
    unit: Literal["scenes", "blocks", "runs"]
    masks: str | None = None
    curves: tuple[Curve, ...] = ("linear",)

    def read(self, data: Path | None) -> Parts:
        """Its parts from the folder of all sets; the embedded picture if None.

        Raises:
            ValueError: the folder has no such set.
        """
        if data is None:
            return embedded()
        return read_parts(data / self.name, self.modalities, masks=self.masks)

    def units_of(self, pairs: Sequence[TestPair]) -> list[str]:
        """The independent unit of each pair."""
        of: dict[str, units.Units] = {
            "scenes": units.scenes,
            "blocks": units.blocks,
            "runs": units.runs,
        }
        return of[self.unit](pairs)

    @property
    def within(self) -> str:
        """How far its results reach, for a reader."""
        return {"scenes": "", "blocks": "within this field", "runs": "within this patient"}[
            self.unit
        ]


#: One colour picture, two stains: what an experiment is tried on where there are no data.
EMBEDDED = DataSet("immunohistochemistry", ("haematoxylin", "dab"), (96,), "blocks")

#: The sets of the protocol. Where 2 % of a width is less than twice the error of the truth, no
#: two methods are compared.
SETS = (
    DataSet("motor_neurons", ("phase_contrast", "nfh"), (128, 192), "blocks"),
    DataSet("tissue_core", ("bright_field", "second_harmonic"), (128,), "blocks", masks="valid"),
    DataSet("brain_mri", ("T1", "T2"), (64,), "runs"),
    DataSet("fly_cells", ("channel_d", "channel_r"), (128,), "blocks"),
)


#: What registers, of :mod:`equicomir.registration`; ``"identity"`` moves nothing.
Method = Literal[
    "search", "distance", "features", "elastix", "information", "squared_loss", "identity"
]


@dataclass(frozen=True)
class Registration:
    """How pairs are registered.

    Attributes:
        method: which.
        cutoff: in cycles per pixel: it is given what a high-pass leaves of the images; None gives
            them as they are.
        most_pairs: a direction, width and level, for a method that takes long; None for all.
    """

    method: Method = "search"
    cutoff: float | None = None
    most_pairs: int | None = None


@dataclass(frozen=True)
class Variant:
    """One way to learn representations and to register by them; or to register raw images.

    Attributes:
        name: for tables.
        encoder: of each modality; None registers the raw images.
        training: of the run; its seed and steps are the experiment's.
        registration: of the representations, or of the raw images.
        equal: ``"pairs"``: as many steps as all; ``"minutes"``: as much time as all.
    """

    name: str
    encoder: EncoderSettings | None = field(default_factory=EncoderSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    registration: Registration = field(default_factory=Registration)
    equal: Literal["pairs", "minutes"] = "pairs"


@dataclass(frozen=True)
class Comparison:
    """A claim: one variant succeeds more often than another, by at least so much.

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
        levels: of displacement.
        gate_examples: cases that the gate draws for each of its claims.
    """

    seeds: int
    steps: int
    pairs: int
    levels: tuple[str, ...] = ("any",)
    gate_examples: int = 12
    minutes: float = 1.0


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
    """

    name: str
    hypothesis: str
    refuted_if: str
    variants: tuple[Variant, ...]
    comparisons: tuple[Comparison, ...]
    default: Budget
    full: Budget

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
        encoder: of each modality; None where raw images are registered.
        training: with seed and steps.
        registrations: (name of the variant, how its pairs are registered).
        pairs: test pairs a direction, width and level.
        levels: of displacement.
        gate_examples: as in :class:`Budget`.
    """

    data_set: DataSet
    encoder: EncoderSettings | None
    training: TrainingSettings
    registrations: tuple[tuple[str, Registration], ...]
    pairs: int
    levels: tuple[str, ...]
    gate_examples: int

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
            "modalities": self.data_set.modalities,
            "data": data,
            "encoder": None if self.encoder is None else asdict(self.encoder),
            "training": None if self.encoder is None else asdict(self.training),
        }

    def evaluated(self, data: str, registration: Registration, width: int) -> dict[str, Any]:
        """What defines one of its results."""
        return {
            **self.learned(data),
            "registration": asdict(registration),
            "width": width,
            "levels": self.levels,
            "pairs": self.pairs,
        }


def tasks(experiment: Experiment, sets: Sequence[DataSet], budget: Budget) -> list[Task]:
    """All trainings of an experiment: every variant with its first seed before any other seed.

    Variants that differ in their registration alone share a training; raw images have no seed.

    Example:
        >>> smooth = Registration(cutoff=0.05)
        >>> variants = (Variant("as it is"), Variant("filtered", registration=smooth))
        >>> tried = Experiment("h", "", "", variants, (), QUICK, QUICK)
        >>> [len(task.registrations) for task in tasks(tried, [EMBEDDED], QUICK)]
        [2]
    """
    found = []
    for data_set in sets:
        for seed in range(budget.seeds):
            shared: dict[
                tuple[EncoderSettings | None, TrainingSettings], list[tuple[str, Registration]]
            ] = {}
            for variant in experiment.variants:
                if variant.encoder is None and seed:
                    continue
                training = replace(variant.training, seed=seed, curves=data_set.curves)
                if variant.equal == "minutes":
                    training = replace(training, steps=None, minutes=budget.minutes)
                else:
                    training = replace(training, steps=budget.steps)
                of_one = shared.setdefault((variant.encoder, training), [])
                of_one.append((variant.name, variant.registration))
            found += [
                Task(
                    data_set,
                    encoder,
                    training,
                    tuple(of_one),
                    budget.pairs,
                    budget.levels,
                    budget.gate_examples,
                )
                for (encoder, training), of_one in shared.items()
            ]
    return found
