"""h6: the finer the group of an encoder, the more often it registers at any angle.

Hypothesis: success at level any grows with the order of the group of rotations that the encoder is
equivariant to; turning each image of a pair by its own angle in training does for an encoder
without symmetry a part of what the group does, and adds little where the group is fine.

Prediction: C8 succeeds in at least 10 percentage points more pairs than C1 (the same network
without symmetry), both with turned pairs; C1 loses at least 10 points without them, C8 fewer.
Refuted if: the interval of the difference lies below 10 points, where the reference leaves room.
Command: python experiments/h6_rotation_groups.py --data DATA [--set motor_neurons] [--quick]
Cost: about 23 minutes a set on two cores; `--dry-run` lists the runs.
Last verdict: see README.md beside this file.
"""

from pathlib import Path

from equicomir.experiment.frame import script
from equicomir.experiment.plan import Budget, Comparison, Experiment, Variant
from equicomir.representations import EncoderSettings
from equicomir.training.settings import TrainingSettings

CHANNELS = 16  # at full resolution, about: what is compared is the symmetry, not the width


def of_group(group: str, field_size: int) -> EncoderSettings:
    """A steerable encoder of about so many channels."""
    first = CHANNELS // field_size
    return EncoderSettings(group=group, widths=(first, 2 * first, 4 * first))


GROUPS = {
    "C1": of_group("C1", 1),
    "C4": of_group("C4", 4),
    "C8": of_group("C8", 8),
    "C16": of_group("C16", 16),
    "D4": of_group("D4", 8),
    "SO(2)": of_group("SO(2)", 7),
    "O(2)": of_group("O(2)", 14),
}
STRAIGHT = TrainingSettings(turns=1)  # no image is turned: aligned pairs as they are

EXPERIMENT = Experiment(
    name="h6",
    hypothesis="the finer the rotation group of an encoder, the more pairs register at any angle",
    refuted_if="C8 is not better than C1 by 10 points, where the reference leaves room",
    variants=(
        *(Variant(name, encoder) for name, encoder in GROUPS.items()),
        *(
            Variant(f"{name}, pairs not turned", GROUPS[name], STRAIGHT)
            for name in ("C1", "C8", "SO(2)")
        ),
    ),
    comparisons=(
        Comparison("C8", than="C1", by=0.1),
        Comparison("SO(2)", than="C8", by=0.05),
        Comparison("D4", than="C4", by=0.05),
        Comparison("C1", than="C1, pairs not turned", by=0.1),
        Comparison("C8, pairs not turned", than="C8", by=-0.1),
    ),
    default=Budget(seeds=3, steps=100, pairs=25),
    full=Budget(seeds=5, steps=1000, pairs=100, levels=("1", "2", "3", "4", "any")),
    sets=("motor_neurons", "tissue_core"),
)

if __name__ == "__main__":
    script(EXPERIMENT, Path(__file__).parent.parent / "benchmarks" / "pairs")
