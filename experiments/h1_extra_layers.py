"""h1: layers computed from the image, given to the encoder beside it, keep detail and help.

Hypothesis: an encoder that is given gradients, structure or texture of its image as more channels
makes representations that keep more detail and register more often, as it need not spend its first
layers on finding them.

Prediction: success at level any is higher by at least 5 percentage points with the gradient as a
vector field, and with all layers together, for the steerable encoder and for the plain one.
Refuted if: the interval of the difference lies below 5 points, where the reference leaves room.
Command: python experiments/h1_extra_layers.py --data DATA [--set motor_neurons] [--quick | --full]
Cost: about 23 minutes a set on two cores; `--dry-run` lists the runs.
Last verdict: see README.md beside this file.
"""

from pathlib import Path

from equicomir.experiment.frame import script
from equicomir.experiment.plan import Budget, Comparison, Experiment, Variant
from equicomir.representations import EncoderSettings

FIELD = ("gradient_field(1.5)",)  # a vector a pixel, which turns with the image
EACH = {
    "gradient field": FIELD,
    "gradient magnitude": ("gradient_magnitude(1.5)",),
    "Laplacian": ("laplacian(0.1)",),
    "structure tensor": ("structure_field(2.0)",),
    "entropy": ("local_entropy()",),
}
ALL = tuple(name for names in EACH.values() for name in names)

EXPERIMENT = Experiment(
    name="h1",
    hypothesis="extra input layers keep detail and make registration succeed more",
    refuted_if="success at level any is not higher by 5 points, where the reference leaves room",
    variants=(
        Variant("image alone"),
        *(Variant(name, EncoderSettings(layers=layers)) for name, layers in EACH.items()),
        Variant("all", EncoderSettings(layers=ALL)),
        Variant("plain, image alone", EncoderSettings(family="plain")),
        Variant("plain, all", EncoderSettings(family="plain", layers=ALL)),
    ),
    comparisons=(
        *(Comparison(name, than="image alone", by=0.05) for name in (*EACH, "all")),
        Comparison("plain, all", than="plain, image alone", by=0.05),
    ),
    default=Budget(seeds=3, steps=120, pairs=25),
    full=Budget(seeds=5, steps=1000, pairs=100, levels=("1", "2", "3", "4", "any")),
)

if __name__ == "__main__":
    script(EXPERIMENT, Path(__file__).parent.parent / "benchmarks" / "pairs")
