"""h0, the recipe: which encoder and similarity become the library's default, chosen on validation.

Hypothesis: one of those that h0 compares succeeds at least as often as the default on every set,
and more often on some; it then becomes the default.

Prediction: none. It is a choice, made on validation parts alone, so that the test parts can still
say what the choice is worth.
Refuted if: on at least one set each of the others is behind the default by more than 5 points.
Command: python experiments/h0_recipe.py --data DATA --set motor_neurons tissue_core brain_mri \
fly_cells
Cost: about 10 minutes a set on two cores; `--dry-run` lists the runs. With the models of
`h0_orderings.py` in `models` of its own folder it trains nothing, and takes two.
Last verdict: see README.md beside this file.
"""

from pathlib import Path

from equicomir.experiment.frame import script
from equicomir.experiment.plan import Budget, Experiment, Variant
from equicomir.representations import EncoderSettings
from equicomir.training.settings import TrainingSettings

PLAIN = EncoderSettings(family="plain")
SE2 = EncoderSettings(family="roto_translation")
COSINE = TrainingSettings(similarity="cosine", temperature=0.1)

EXPERIMENT = Experiment(
    name="h0_recipe",
    hypothesis="another encoder or similarity is at least as good on every set, and better on some",
    refuted_if="each of them is behind the default by more than 5 points on at least one set",
    variants=(
        Variant("steerable"),
        Variant("steerable, cosine", training=COSINE),
        Variant("SE(2, 8)", SE2),
        Variant("plain, any angle", PLAIN),
    ),
    comparisons=(),
    default=Budget(seeds=3, steps=100, pairs=25, part="validation"),
    full=Budget(seeds=5, steps=1000, pairs=100, part="validation"),
    sets=("motor_neurons", "tissue_core", "brain_mri", "fly_cells"),
)

if __name__ == "__main__":
    script(EXPERIMENT, Path(__file__).parent.parent / "benchmarks" / "pairs")
