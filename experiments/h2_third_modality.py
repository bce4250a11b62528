"""h2: a third modality, seen in training alone, helps to register the first two.

Hypothesis: what three instruments see alike is more of the tissue and less of any instrument, so
that an encoder that learned from three registers the first two more often than one that learned
from those alone; and a model of three can register the first with the third as well as one that
learned from those two.

Prediction: success at level any is higher by at least 5 percentage points with the third modality
in training, also where half of the scenes lack it; it is lower by at most 5 where the third takes
the place of the second at test time.
Refuted if: the interval of the difference lies below, where the reference leaves room.
Command: python experiments/h2_third_modality.py --data DATA --set brain_mri motor_neurons
Cost: 15 to 17 minutes a set on two cores; `--dry-run` lists the runs.
Last verdict: see README.md beside this file.
"""

from pathlib import Path

from equicomir.experiment.frame import script
from equicomir.experiment.plan import Budget, Comparison, Experiment, Registration, Variant

THREE = (0, 1, 2)  # places among the modalities of a set
IN_ITS_PLACE = Registration(between=(0, 2))

EXPERIMENT = Experiment(
    name="h2",
    hypothesis="a third modality in training makes the first two register more often",
    refuted_if="success at level any is not higher by 5 points, where the reference leaves room",
    variants=(
        Variant("two"),
        Variant("three", learns=THREE),
        Variant("three, half of the scenes lack it", learns=THREE, lacking=0.5),
        Variant("three, third for second", registration=IN_ITS_PLACE, learns=THREE),
        Variant("first and third alone", registration=IN_ITS_PLACE, learns=(0, 2)),
    ),
    comparisons=(
        Comparison("three", than="two", by=0.05),
        Comparison("three, half of the scenes lack it", than="two", by=0.05),
        Comparison("three, third for second", than="first and third alone", by=-0.05),
    ),
    default=Budget(seeds=3, steps=180, pairs=25),
    full=Budget(seeds=5, steps=1000, pairs=100, levels=("1", "2", "3", "4", "any")),
    sets=("brain_mri", "motor_neurons"),
)

if __name__ == "__main__":
    script(EXPERIMENT, Path(__file__).parent.parent / "benchmarks" / "pairs")
