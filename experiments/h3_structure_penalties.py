"""h3: asking representations to keep the structure of their images keeps detail and helps.

Hypothesis: a penalty that compares edges, orientations, self-similarity or the share of fine detail
of a representation with those of its image keeps what the contrastive loss alone lets go, and
registration gains by it.

Prediction: success at level any is higher by at least 5 percentage points with the best weight of
each penalty, which a coarse search on validation chose (`--coarse`), than without any.
Refuted if: the interval of the difference lies below 5 points, where the reference leaves room.
Command: python experiments/h3_structure_penalties.py --data DATA [--set NAME] [--coarse | --full]
Cost: about 22 minutes a set on two cores, the coarse search 29; `--dry-run` lists the runs.
Last verdict: see README.md beside this file.
"""

from dataclasses import fields
from pathlib import Path

from equicomir.experiment.frame import script
from equicomir.experiment.plan import Budget, Comparison, Experiment, Variant
from equicomir.losses.weighted import Penalties
from equicomir.training.settings import TrainingSettings

EACH = tuple(field.name for field in fields(Penalties))
WEIGHTS = (0.02, 0.1, 0.5, 2.5)
#: By the search on validation (`records/h3_coarse`), each the best of its weights over two seeds.
CHOSEN = {
    "gradient_agreement": 0.5,
    "orientation_agreement": 0.02,
    "self_similarity": 0.02,
    "spectral_retention": 0.02,
}


def variant(name: str, weight: float) -> Variant:
    """One penalty at one weight."""
    penalties = Penalties(**{name: weight})
    words = name.replace("_", " ")
    return Variant(f"{words}, {weight:g}", training=TrainingSettings(penalties=penalties))


CONFIRMED = tuple(variant(name, weight) for name, weight in CHOSEN.items())
EXPERIMENT = Experiment(
    name="h3",
    hypothesis="structure penalties keep detail and make registration succeed more",
    refuted_if="success at level any is not higher by 5 points, where the reference leaves room",
    variants=(Variant("none"), *CONFIRMED),
    comparisons=tuple(Comparison(one.name, than="none", by=0.05) for one in CONFIRMED),
    default=Budget(seeds=5, steps=120, pairs=25),
    full=Budget(seeds=5, steps=1000, pairs=100, levels=("1", "2", "3", "4", "any")),
)
COARSE = Experiment(
    name="h3_coarse",
    hypothesis="which weight of each penalty registers most on validation",
    refuted_if="nothing: it is a search",
    variants=(Variant("none"), *(variant(name, weight) for name in EACH for weight in WEIGHTS)),
    comparisons=(),
    default=Budget(seeds=2, steps=120, pairs=25, part="validation"),
    full=Budget(seeds=2, steps=1000, pairs=100, part="validation"),
)

if __name__ == "__main__":
    script(EXPERIMENT, Path(__file__).parent.parent / "benchmarks" / "pairs", coarse=COARSE)
