"""How often the verdicts are wrong and the intervals right, on simulated experiments.

    python benchmarks/statistics_level.py [--experiments 4000] [--resamples 999]

draws experiments shaped like the real ones: a few training seeds, pairs within scenes, successes
whose probability is moved by the seed, the scene, and how method, seed and scene go together, and
pairs that are hard for everybody. The smallest effect that matters is put at the true difference,
where a verdict, either one, is an error; it prints how often that happens (5 % at most is claimed),
how often the interval holds the truth (95 % at least), beside the plain hierarchical bootstrap,
which draws seeds and units again and takes percentiles. The ideal half width is 1.96 standard
deviations of the estimates, which nobody knows who has but one experiment. The second table is of
the places of the committed lists of large fields, whose blocks are of unequal size and whose pairs
see something of the next block too: there two places are alike by the squares of so many widths
about them that are common. The last lines are families of three comparisons with one reference: an
error is any error in the family.
"""

import argparse
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from equicomir.evaluation.displacements import TestPair, read_pairs
from equicomir.evaluation.statistics import Difference, difference
from equicomir.evaluation.units import BLOCK, blocks
from equicomir.evaluation.verdicts import judge
from equicomir.shapes import Array


@dataclass(frozen=True)
class Study:
    """One kind of experiment.

    Attributes:
        seeds: training seeds of each method.
        scenes: of the test part.
        pairs: spread over them at random.
        success: probability of the reference, before what moves it.
        effect: by how much the other method is better.
        seed: standard deviation of a trained model's luck, in probability.
        scene: of a scene's difficulty for everybody.
        method_scene: of how a scene suits a method.
        seed_scene: of how a scene suits a trained model.
        hard_pairs: correlation of what decides one pair between all models.
        places: name of a committed list whose pairs stand where they stand, in place of scenes.
        reach: side, in widths, of the square about a pair that decides how hard it is there.
    """

    seeds: int = 3
    scenes: int = 12
    pairs: int = 150
    success: float = 0.5
    effect: float = 0.0
    seed: float = 0.03
    scene: float = 0.1
    method_scene: float = 0.05
    seed_scene: float = 0.02
    hard_pairs: float = 0.5
    places: str = ""
    reach: float = float(BLOCK)

    def truth(self) -> float:
        """The true difference: probabilities end at 0 and 1, which takes a little of the effect."""
        spread = math.hypot(self.seed, self.scene, self.method_scene, self.seed_scene)
        return _clipped_mean(self.success + self.effect, spread) - _clipped_mean(
            self.success, spread
        )


def _clipped_mean(mean: float, spread: float) -> float:
    """Of a normal number cut at 0 and 1."""
    low, high = -mean / spread, (1 - mean) / spread
    inside = norm.cdf(high) - norm.cdf(low)
    return float(mean * inside + spread * (norm.pdf(low) - norm.pdf(high)) + norm.sf(high))


STUDIES = (
    Study(seed=0.0, method_scene=0.0, seed_scene=0.0),
    Study(seed=0.0, method_scene=0.1, seed_scene=0.0),
    Study(),
    Study(scenes=5, pairs=100),
    Study(scenes=5, pairs=100, method_scene=0.1, seed=0.05),
    Study(scenes=40, pairs=200),
    Study(scenes=40, pairs=200, seed=0.1),
    Study(scenes=40, pairs=200, seed=0.1, method_scene=0.0, seed_scene=0.0, hard_pairs=0.9),
    Study(success=0.3, effect=0.05, scenes=8, seed=0.05),
    Study(success=0.7, effect=0.1, scenes=8, seed=0.05),
    Study(success=0.8, effect=-0.1, scenes=20, pairs=200),
    Study(seed_scene=0.1, hard_pairs=0.0),
    Study(seeds=5, seed=0.05),
    Study(seeds=10, scenes=20, pairs=200, seed=0.05),
)
LISTS = Path(__file__).parent / "pairs"
#: Seeds with no luck of their own, and methods that differ much from place to place.
_FIELD = Study(pairs=50, seed=0.0, seed_scene=0.0, method_scene=0.2)
FIELDS = tuple(
    replace(_FIELD, places=name, reach=reach)
    for name in (
        "motor_neurons_phase_contrast_nfh_128",
        "tissue_core_bright_field_second_harmonic_128",
        "fly_cells_channel_d_channel_r_128",
    )
    for reach in (1.0, float(BLOCK), 2.5)
)


def _first_pairs(places: str, count: int) -> list[TestPair]:
    """As an experiment takes them: so many of both directions together, at level any."""
    every = [pair for pair in read_pairs(LISTS / f"{places}.csv") if pair.level == "any"]
    ways = dict.fromkeys(pair.fixed for pair in every)
    return [p for way in ways for p in [q for q in every if q.fixed == way][: count // len(ways)]]


@lru_cache
def _mixing(study: Study) -> tuple[Array, list[str]]:
    """(pairs, pairs), which makes of independent numbers those of the places; and the blocks."""
    pairs = _first_pairs(study.places, study.pairs)
    alike: Array = np.equal.outer(*[np.array([pair.scene for pair in pairs])] * 2).astype(float)
    for of in ("row", "column"):
        at = np.array([getattr(pair, of) / pair.width for pair in pairs])
        alike *= np.maximum(0, 1 - np.abs(at[:, None] - at) / study.reach)
    return np.linalg.cholesky(alike + 1e-9 * np.eye(len(pairs))), blocks(pairs)


def simulate(
    study: Study, *, methods: int = 2, generator: np.random.Generator
) -> tuple[list[Array], list[str]]:
    """Draw one experiment: successes (seeds, pairs) of each method, the reference first; scenes."""
    g, seeds, pairs = generator, study.seeds, study.pairs
    if study.places:
        mixing, units = _mixing(study)

        def by_place(*shape: int) -> Array:
            found: Array = g.normal(size=(*shape, pairs)) @ mixing.T
            return found
    else:
        of_pair = g.integers(study.scenes, size=pairs)
        units = [f"scene{number}" for number in of_pair]

        def by_place(*shape: int) -> Array:
            found: Array = g.normal(size=(*shape, study.scenes))[..., of_pair]
            return found

    difficulty = study.scene * by_place()
    hard = math.sqrt(study.hard_pairs) * g.normal(size=pairs)
    results: list[Array] = []
    for method in range(methods):
        probability = (
            study.success
            + (study.effect if method else 0.0)
            + study.seed * g.normal(size=(seeds, 1))
            + difficulty
            + study.method_scene * by_place()
            + study.seed_scene * by_place(seeds)
        )
        own = math.sqrt(1 - study.hard_pairs) * g.normal(size=(seeds, pairs))
        results.append((norm.cdf(hard + own) < probability).astype(np.float64))
    return results, units


def plain_interval(
    first: Array, second: Array, units: list[str], resamples: int, generator: np.random.Generator
) -> tuple[float, float]:
    """What the verdicts do not use: seeds and units drawn again, percentiles."""
    gap = first - second
    seeds = len(gap)
    _, of_pair = np.unique(units, return_inverse=True)
    counts = np.bincount(of_pair)
    sums = np.stack([np.bincount(of_pair, row) for row in gap])
    of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    of_units = generator.multinomial(len(counts), counts * 0 + 1 / len(counts), size=resamples)
    means = ((of_seeds @ sums) * of_units).sum(1) / (of_units @ counts)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True)
class Level:
    """What came of many experiments of one kind, as fractions of them.

    Attributes:
        supported: wrong verdicts.
        refuted: wrong verdicts.
        covered: intervals that hold the truth.
        plain_covered: the same of the plain bootstrap.
        half_width: median.
        ideal_half_width: 1.96 standard deviations of the estimates.
    """

    supported: float
    refuted: float
    covered: float
    plain_covered: float
    half_width: float
    ideal_half_width: float


def level(
    study: Study, experiments: int, resamples: int, *, generator: np.random.Generator
) -> Level:
    """Judge many experiments whose effect is exactly the smallest that matters."""
    truth = study.truth()
    verdicts, covered, plain, found = [], [], [], []
    for _ in range(experiments):
        (second, first), units = simulate(study, generator=generator)
        one = difference(first, second, units, greatest=1, resamples=resamples, generator=generator)
        verdicts.append(judge([one], [truth])[0].verdict)
        low, high = one.interval()
        covered.append(low <= truth <= high)
        low, high = plain_interval(first, second, units, resamples, generator)
        plain.append(low <= truth <= high)
        found.append((one.estimate, one.half_width()))
    estimates, halves = np.array(found).T
    return Level(
        verdicts.count("supported") / experiments,
        verdicts.count("refuted") / experiments,
        float(np.mean(covered)),
        float(np.mean(plain)),
        float(np.median(halves)),
        1.96 * float(np.std(estimates)),
    )


def family_level(
    study: Study,
    effects: tuple[float, ...],
    experiments: int,
    resamples: int,
    *,
    generator: np.random.Generator,
) -> tuple[float, float]:
    """Fractions of families with any wrong verdict, and with all intervals right.

    Args:
        study: of which every method but the reference has the effect.
        effects: smallest effects that matter, one a comparison.
        experiments: how many families.
        resamples: of each comparison.
        generator: the source of randomness.
    """
    truth = study.truth()
    wrong, right = 0, 0
    for _ in range(experiments):
        (second, *others), units = simulate(study, methods=1 + len(effects), generator=generator)
        family: list[Difference] = [
            difference(first, second, units, resamples=resamples, generator=generator)
            for first in others
        ]
        judged = judge(family, effects)
        wrong += any(
            (one.verdict == "supported" and truth <= effect + 1e-12)
            or (one.verdict == "refuted" and truth >= effect - 1e-12)
            for one, effect in zip(judged, effects, strict=True)
        )
        right += all(one.low < truth < one.high for one in judged)  # decided ends are open
    return wrong / experiments, right / experiments


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--experiments", type=int, default=4000, help="of each kind")
    parser.add_argument("--resamples", type=int, default=999, help="of each experiment")
    chosen = parser.parse_args()
    generator = np.random.default_rng(0)
    table = Table(
        title=f"{chosen.experiments} experiments each, {chosen.resamples} resamples; in %"
    )
    names = ("seeds", "scenes", "pairs", "success", "true", "seed", "m x sc", "s x sc", "hard")
    outcomes = ("supported", "refuted", "covered", "plain covers", "half width", "ideal")
    for name in names + outcomes:
        table.add_column(name, justify="right")
    for study in STUDIES:
        got = level(study, chosen.experiments, chosen.resamples, generator=generator)
        shown = (study.success, study.truth(), study.seed, study.method_scene, study.seed_scene)
        table.add_row(
            *(str(n) for n in (study.seeds, study.scenes, study.pairs)),
            *(f"{100 * value:.0f}" for value in shown),
            f"{study.hard_pairs:.1f}",
            *(f"{100 * value:.1f}" for value in vars(got).values()),
        )
    console = Console(width=150)
    console.print(table)
    fields = Table(title="At the places of the committed lists, 50 pairs; in %")
    for name in ("list", "alike within, widths", *outcomes):
        fields.add_column(name, justify="left" if name == "list" else "right")
    for study in FIELDS:
        got = level(study, chosen.experiments, chosen.resamples, generator=generator)
        shares = (f"{100 * value:.1f}" for value in vars(got).values())
        fields.add_row(study.places, f"{study.reach:.1f}", *shares)
    console.print(fields)
    families = Table(title="Families of three comparisons; in %")
    for name in ("true", "smallest effects that matter", "any wrong verdict", "all covered"):
        families.add_column(name, justify="right")
    study = Study(effect=0.1, seed=0.02, scenes=20, pairs=200)
    truth = study.truth()
    for effects in ((truth,) * 3, (truth - 0.3, truth, truth), (truth - 0.3, truth - 0.3, truth)):
        wrong, right = family_level(
            study, effects, chosen.experiments // 2, chosen.resamples, generator=generator
        )
        shown_effects = ", ".join(f"{100 * effect:.1f}" for effect in effects)
        families.add_row(
            f"{100 * truth:.1f}", shown_effects, f"{100 * wrong:.1f}", f"{100 * right:.1f}"
        )
    console.print(families)


if __name__ == "__main__":
    main()
