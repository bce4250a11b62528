"""h0, the orderings: which encoder, which similarity, which registration, and against raw images.

Hypothesis: a steerable encoder (C8) registers more pairs at any angle than a plain one of as many
channels, however that is told to be equivariant (aligned pairs as they are, CoMIR's quarter turns,
turns by any angle), than CoMIR's own network, and than every method on the raw images.

Prediction: success at level any is higher by at least 10 percentage points than with each.
Refuted if: the interval of a difference lies below 10 points, where the reference leaves room.
Command: python experiments/h0_orderings.py --data DATA [--set motor_neurons] [--quick | --full]
Cost: 41 to 49 minutes a set on two cores, half of them for CoMIR's network; `--dry-run` lists them.
Last verdict: see README.md beside this file.

`h0_baselines.py` shows one set and one seed with pictures; this is the comparison with intervals.
"Same minutes" are those that a variant is given beside others that do other work at once.
"""

from pathlib import Path

from equicomir.experiment.frame import script
from equicomir.experiment.plan import Budget, Comparison, Experiment, Registration, Variant
from equicomir.representations import EncoderSettings
from equicomir.training.settings import TrainingSettings

PLAIN = EncoderSettings(family="plain")
TIRAMISU = EncoderSettings(family="tiramisu")
AS_THEY_ARE, QUARTERS = TrainingSettings(turns=1), TrainingSettings(turns=4)
COMIR = TrainingSettings(turns=4, high_pass_cutoff=None)
COSINE = TrainingSettings(similarity="cosine", temperature=0.1)

EXPERIMENT = Experiment(
    name="h0",
    hypothesis="steerable representations register more pairs at any angle than all others",
    refuted_if="C8 is not better by 10 points than each, where that leaves room",
    variants=(
        Variant("steerable"),
        Variant("plain, any angle", PLAIN),
        Variant("plain, quarter turns", PLAIN, QUARTERS),
        Variant("plain, not turned", PLAIN, AS_THEY_ARE),
        Variant("SE(2, 8)", EncoderSettings(family="roto_translation")),
        Variant("Tiramisu, quarter turns", TIRAMISU, COMIR),
        Variant("steerable, cosine", training=COSINE),
        Variant("steerable, same minutes", equal="minutes"),
        Variant("plain, any angle, same minutes", PLAIN, equal="minutes"),
        Variant("Tiramisu, same minutes", TIRAMISU, COMIR, equal="minutes"),
        Variant("steerable, SIFT", registration=Registration("features")),
        Variant("steerable, Alpha-AMD", registration=Registration("distance", most_pairs=25)),
        Variant("nothing moved", None, registration=Registration("identity")),
        Variant("raw, SIFT", None, registration=Registration("features")),
        Variant("raw, mutual information", None, registration=Registration("information")),
        Variant("raw, squared-loss information", None, registration=Registration("squared_loss")),
        Variant("raw, elastix", None, registration=Registration("elastix", most_pairs=10)),
    ),
    comparisons=(
        Comparison("steerable", than="plain, any angle", by=0.1),
        Comparison("steerable", than="plain, quarter turns", by=0.1),
        Comparison("steerable", than="plain, not turned", by=0.1),
        Comparison("steerable", than="SE(2, 8)", by=0.1),
        Comparison("steerable", than="Tiramisu, quarter turns", by=0.1),
        Comparison("steerable", than="steerable, cosine", by=0.1),
        Comparison("steerable, same minutes", than="plain, any angle, same minutes", by=0.1),
        Comparison("steerable, same minutes", than="Tiramisu, same minutes", by=0.1),
        *(
            Comparison("steerable", than=f"raw, {method}", by=0.1)
            for method in ("SIFT", "mutual information", "squared-loss information", "elastix")
        ),
    ),
    default=Budget(seeds=3, steps=100, pairs=25, minutes=1.0),
    full=Budget(seeds=5, steps=1000, pairs=100, levels=("1", "2", "3", "4", "any"), minutes=10.0),
    sets=("motor_neurons", "tissue_core", "brain_mri", "fly_cells"),
)

if __name__ == "__main__":
    script(EXPERIMENT, Path(__file__).parent.parent / "benchmarks" / "pairs")
