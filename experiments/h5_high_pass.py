"""h5: a high-pass before the similarity makes scenes differ by their detail, and helps.

Hypothesis: representations learned by comparing what a high-pass leaves of them register more
often, and more precisely, than those compared as they are; it is needed in training, not in
registration; and a part of the loss without the filter keeps what it takes away.

Prediction: success at level any is higher by at least 5 percentage points where the loss is
filtered (Gaussian, 0.05 cycles per pixel), and by 5 more where half of it is not.
Refuted if: the interval of the difference lies below 5 points, where the reference leaves room.
Command: python experiments/h5_high_pass.py --data DATA [--set motor_neurons] [--quick | --full]
Cost: about 19 minutes a set on two cores; `--dry-run` lists the runs.
Last verdict: see README.md beside this file.
"""

from pathlib import Path
from typing import Any

from equicomir.experiment.frame import script
from equicomir.experiment.plan import Budget, Comparison, Experiment, Registration, Variant
from equicomir.training.settings import TrainingSettings

PLAIN = TrainingSettings(high_pass_cutoff=None)
CUT_OFF = 0.05  # cycles per pixel
FILTERED, AS_IT_IS = Registration(cutoff=CUT_OFF), Registration(cutoff=None)


def trained(name: str, **settings: Any) -> Variant:
    """The filter in training alone: registration gets all that the encoders give."""
    return Variant(name, training=TrainingSettings(**settings), registration=AS_IT_IS)


EXPERIMENT = Experiment(
    name="h5",
    hypothesis="a high-pass before the similarity, in training, makes registration succeed more",
    refuted_if="success at level any is not higher by 5 points, where the reference leaves room",
    variants=(
        Variant("no filter", training=PLAIN, registration=AS_IT_IS),
        Variant("registration alone", training=PLAIN, registration=FILTERED),
        trained("training alone", high_pass_cutoff=CUT_OFF),
        Variant("both", training=TrainingSettings(high_pass_cutoff=CUT_OFF), registration=FILTERED),
        trained("half", high_pass_cutoff=CUT_OFF, unfiltered=0.5),
        trained("0.035", high_pass_cutoff=0.035),
        trained("0.1", high_pass_cutoff=0.1),
        trained("0.1 Butterworth", high_pass_cutoff=0.1, high_pass_family="butterworth"),
        trained("0.1 ideal", high_pass_cutoff=0.1, high_pass_family="ideal"),
    ),
    comparisons=(
        Comparison("training alone", than="no filter", by=0.05),
        Comparison("registration alone", than="no filter", by=0.05),
        Comparison("both", than="training alone", by=0.05),
        Comparison("half", than="training alone", by=0.05),
        Comparison("half", than="no filter", by=0.05),
    ),
    default=Budget(seeds=3, steps=120, pairs=25),
    full=Budget(seeds=5, steps=1000, pairs=100, levels=("1", "2", "3", "4", "any")),
    sets=("motor_neurons", "tissue_core"),
)

if __name__ == "__main__":
    script(EXPERIMENT, Path(__file__).parent.parent / "benchmarks" / "pairs")
