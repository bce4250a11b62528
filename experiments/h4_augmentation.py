"""h4: what is varied in training, and what stands beside a pair, decides what is kept.

Hypothesis: varying light and shape makes representations of tissue rather than of an instrument;
shifted crops of the same scene among the negatives make scenes differ by where things are; and
turning images in training does for a plain encoder what a steerable one has by construction.

Prediction: success at level any is higher by at least 5 percentage points with each of light,
elastic deformation, mirrors, inversion and shifted negatives; turning the whole scene adds at least
10 points to a plain encoder whose pairs are not turned against each other, and less than 5 to a
steerable one.
Refuted if: the interval of the difference lies below, where the reference leaves room.
Command: python experiments/h4_augmentation.py --data DATA [--set motor_neurons] [--quick | --full]
Cost: about 24 minutes a set on two cores; `--dry-run` lists the runs.
Last verdict: see README.md beside this file.
"""

from pathlib import Path

from equicomir.experiment.frame import script
from equicomir.experiment.plan import Budget, Comparison, Experiment, Variant
from equicomir.images.augmentation import Augmentation
from equicomir.representations import EncoderSettings
from equicomir.training.settings import TrainingSettings

PLAIN = EncoderSettings(family="plain")
EACH = {
    "light": Augmentation(contrast=0.3, gamma=0.3, noise=0.05, blur_pixels=1.0),
    "elastic": Augmentation(elastic_pixels=3.0),
    "mirrors": Augmentation(mirror=True),
    "inversion": Augmentation(inversion=0.5),
}
TOGETHER = TrainingSettings(turns=1)  # the two images of a pair are not turned against each other
TURNED = TrainingSettings(turns=1, augmentation=Augmentation(rotation=True))

EXPERIMENT = Experiment(
    name="h4",
    hypothesis="augmentation and shifted negatives make registration succeed more",
    refuted_if="success at level any is not higher by 5 points, where the reference leaves room",
    variants=(
        Variant("nothing varied"),
        *(Variant(name, training=TrainingSettings(augmentation=of)) for name, of in EACH.items()),
        Variant("shifted negatives", training=TrainingSettings(shift_pixels=4)),
        Variant("steerable, not turned", training=TOGETHER),
        Variant("steerable, turned together", training=TURNED),
        Variant("plain, not turned", PLAIN, TOGETHER),
        Variant("plain, turned together", PLAIN, TURNED),
    ),
    comparisons=(
        *(Comparison(name, "nothing varied", by=0.05) for name in (*EACH, "shifted negatives")),
        Comparison("steerable, not turned", than="steerable, turned together", by=-0.05),
        Comparison("plain, turned together", than="plain, not turned", by=0.1),
    ),
    default=Budget(seeds=3, steps=110, pairs=25),
    full=Budget(seeds=5, steps=1000, pairs=100, levels=("1", "2", "3", "4", "any")),
)

if __name__ == "__main__":
    script(EXPERIMENT, Path(__file__).parent.parent / "benchmarks" / "pairs")
