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


@dataclass(frozen=True)
class Variant:
    """One way to learn representations and to register by them.

    Attributes:
        name: for tables.
        encoder: of each modality.
        training: of the run; its seed, patch size and steps are the experiment's.
        search_cutoff: in cycles per pixel: the search is given what a high-pass leaves of the
            representations; None gives them as they are.
    """

    name: str
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    search_cutoff: float | None = None


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
        steps: of each training.
        pairs: test pairs a direction, width and level.
        levels: of displacement.
        gate_examples: cases that the gate draws for each of its claims.
    """

    seeds: int
    steps: int
    pairs: int
    levels: tuple[str, ...] = ("any",)
    gate_examples: int = 12


#: Two minutes on two cores: whether everything runs, and no result.
QUICK = Budget(seeds=1, steps=4, pairs=2, gate_examples=3)


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
        encoder: of each modality.
        training: with seed and steps.
        searches: (name of the variant, its ``search_cutoff``).
        pairs: test pairs a direction, width and level.
        levels: of displacement.
        gate_examples: as in :class:`Budget`.
    """

    data_set: DataSet
    encoder: EncoderSettings
    training: TrainingSettings
    searches: tuple[tuple[str, float | None], ...]
    pairs: int
    levels: tuple[str, ...]
    gate_examples: int

    @property
    def label(self) -> str:
        """For a person."""
        names = ", ".join(name for name, _ in self.searches)
        return f"{self.data_set.name}, {names}, seed {self.training.seed}"

    def learned(self, data: str) -> dict[str, Any]:
        """What defines the training; the data by their fingerprint."""
        return {
            "set": self.data_set.name,
            "modalities": self.data_set.modalities,
            "data": data,
            "encoder": asdict(self.encoder),
            "training": asdict(self.training),
        }

    def evaluated(self, data: str, cutoff: float | None, width: int) -> dict[str, Any]:
        """What defines one of its results."""
        how = {"search_cutoff": cutoff, "width": width, "levels": self.levels, "pairs": self.pairs}
        return {**self.learned(data), **how}


def tasks(experiment: Experiment, sets: Sequence[DataSet], budget: Budget) -> list[Task]:
    """All trainings of an experiment: every variant with its first seed before any other seed.

    Variants that differ in their search alone share a training.

    Example:
        >>> variants = (Variant("as it is"), Variant("filtered", search_cutoff=0.05))
        >>> tried = Experiment("h", "", "", variants, (), QUICK, QUICK)
        >>> [task.searches for task in tasks(tried, [EMBEDDED], QUICK)]
        [(('as it is', None), ('filtered', 0.05))]
    """
    found = []
    for data_set in sets:
        for seed in range(budget.seeds):
            trainings: dict[
                tuple[EncoderSettings, TrainingSettings], list[tuple[str, float | None]]
            ] = {}
            for variant in experiment.variants:
                training = replace(
                    variant.training, seed=seed, steps=budget.steps, curves=data_set.curves
                )
                searches = trainings.setdefault((variant.encoder, training), [])
                searches.append((variant.name, variant.search_cutoff))
            found += [
                Task(
                    data_set,
                    encoder,
                    training,
                    tuple(searches),
                    budget.pairs,
                    budget.levels,
                    budget.gate_examples,
                )
                for (encoder, training), searches in trainings.items()
            ]
    return found
