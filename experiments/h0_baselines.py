"""h0: equivariant representations register at any angle what ordinary methods cannot.

Hypothesis: pairs turned by any angle register more often through representations of a steerable
encoder than through those of a plain one trained for the same minutes with rotation augmentation
at any angle and rotated pairs, and than by SIFT or mutual information on the raw images.

Prediction: success at level any is higher by at least 10 percentage points than with each.
Refuted if: it is not, at a width where the reference does not saturate.
Command: python experiments/h0_baselines.py [--set FOLDER --modalities A B --width W --minutes M]
Cost: twice the minutes of training, and about half a second a pair and learned method, 6 s a pair
for elastix. Without --set it runs on the embedded pair of stains: that is `make demo`.
Last verdict: see README.md beside this file.

Before anything is trained the gate checks the encoder, filter and loss of this very run; if
something does not hold it is named and the script ends with status 3.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import torch
from rich.console import Console

from equicomir import gate, report
from equicomir.evaluation import alignment, displacements, records
from equicomir.evaluation.alignment import Method, Outcome
from equicomir.evaluation.displacements import TestPair
from equicomir.evaluation.validation import register_by
from equicomir.experiment.claims import claims
from equicomir.experiment.work import identity
from equicomir.geometry import rotation_degrees, warp_image
from equicomir.images.pairs import Scene
from equicomir.images.sources import Parts, embedded, read_parts
from equicomir.registration import elastix, features, search
from equicomir.registration.alignment import Alignment
from equicomir.representations import EncoderSettings, Representations, load, save
from equicomir.shapes import Array, ArrayMask, Matrix
from equicomir.training.loop import Trained, train
from equicomir.training.settings import TrainingSettings, training_settings
from equicomir.training.start import new_model

PAIRS = Path(__file__).parent.parent / "benchmarks" / "pairs"
LEVELS = ("4", "any")
JOBS = 2  # processes that register; each computes in one thread

# What was chosen for each, on validation parts alone, stands in experiments/README.md.
STEERABLE = EncoderSettings(family="steerable")
PLAIN = EncoderSettings(family="plain")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", type=Path, help="folder with train, validation, test")
    parser.add_argument("--modalities", nargs=2, help="fixed and moving, names of folders")
    parser.add_argument("--masks", help="name of the folder of masks, where the set has one")
    parser.add_argument(
        "--curves", nargs="+", default=["linear"], help="linear, log or optical_density"
    )
    parser.add_argument("--layers", nargs="+", default=[], help="such as 'gradient_field(1.5)'")
    parser.add_argument("--width", type=int, nargs="+", default=[96], help="of test patches, px")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, each encoder")
    parser.add_argument("--steps", type=int, help="of training, in place of the minutes")
    parser.add_argument("--group", default=STEERABLE.group, help="C8, D4, SO(2), ... of both")
    parser.add_argument("--kernel-size", type=int, default=STEERABLE.kernel_size, help="of both")
    parser.add_argument("--smooth", action="store_true", help="smooth kernels, where steerable")
    parser.add_argument("--widths", type=int, nargs="+", default=STEERABLE.widths, help="of both")
    parser.add_argument("--pooling", default=STEERABLE.pooling, choices=("average", "blur"))
    parser.add_argument("--patch-size", type=int, default=TrainingSettings.patch_size, help="px")
    parser.add_argument("--batch", type=int, default=TrainingSettings.batch, help="pairs a step")
    parser.add_argument("--pairs", type=int, default=100, help="a level and direction")
    parser.add_argument("--elastix-pairs", type=int, default=25, help="a level and direction")
    parser.add_argument("--levels", nargs="+", default=list(LEVELS), choices=displacements.LEVELS)
    parser.add_argument(
        "--high-pass",
        type=float,
        default=TrainingSettings.high_pass_cutoff,
        help="cut-off in cycles per px; 0 compares representations unfiltered",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/h0"))
    parser.add_argument(
        "--reuse", action="store_true", help="evaluate the models that --out holds; train nothing"
    )
    chosen = parser.parse_args()
    if chosen.pairs < 1 or chosen.elastix_pairs < 0:
        parser.error("--pairs: expected at least 1, --elastix-pairs: at least 0.")
    if (chosen.set is None) != (chosen.modalities is None):
        parser.error("--set, --modalities: expected both or neither.")
    return chosen


def pass_gate(
    console: Console, model: Representations, settings: TrainingSettings
) -> list[gate.Verdict]:
    """Print what held; end the script with status 3 when something did not."""
    verdicts = gate.gate(claims(model, settings))
    for v in verdicts:
        mark = "[green]holds[/]" if v.held else "[red]BROKEN[/]"
        console.print(f"  {mark}  {v.name}", highlight=False)
    broken = [v for v in verdicts if not v.held]
    if broken:
        for v in broken:
            print(
                f"gate: {v.name} does not hold: {v.reason or f'error {v.worst:.1e}'}.",
                file=sys.stderr,
            )
        sys.exit(gate.GATE_FAILED)
    return verdicts


def on_raw(
    method: object, fixed: Array, moving: Array, mask: ArrayMask, modalities: tuple[str, str]
) -> Matrix:
    """A method that is given the raw images."""
    found: Alignment = method.register(fixed, moving, moving_mask=mask)  # type: ignore[attr-defined]
    if found.failure:
        raise ValueError(found.failure)
    return found.moving_to_fixed


def aligned(
    model: Representations,
    fixed: Array,
    moving: Array,
    mask: ArrayMask,
    modalities: tuple[str, str],
) -> tuple[Alignment, list[Array]]:
    """Search on the representations of both images; the representations too."""
    encoded = [
        model.comparable(modality, torch.from_numpy(image).float()[None])[0].double().numpy()
        for modality, image in zip(modalities, (fixed, moving), strict=True)
    ]
    return search.register(encoded[0], encoded[1], moving_mask=mask), encoded


def run(method: Method, pairs: Sequence[TestPair], scenes: Sequence[Scene]) -> list[Outcome]:
    """Evaluate over processes of one thread each; outcomes in the list's order."""
    parts = [pairs[start::JOBS] for start in range(JOBS)]
    done = joblib.Parallel(n_jobs=JOBS)(
        joblib.delayed(in_one_thread)(method, part, scenes) for part in parts if part
    )
    outcomes = {outcome.pair: outcome for part in done for outcome in part}
    return [outcomes[pair] for pair in pairs]


def in_one_thread(
    method: Method, pairs: Sequence[TestPair], scenes: Sequence[Scene]
) -> list[Outcome]:
    """Evaluate in a process of its own."""
    torch.set_num_threads(1)
    return alignment.evaluate(method, pairs, scenes)


def first_of_each(pairs: Sequence[TestPair], levels: Sequence[str], count: int) -> list[TestPair]:
    """The first ``count`` pairs of each level and direction."""
    kept = []
    for level in levels:
        for fixed in dict.fromkeys(pair.fixed for pair in pairs):
            chosen = [p for p in pairs if p.level == level and p.fixed == fixed]
            kept += chosen[:count]
    return kept


def typical(outcomes: Sequence[Outcome]) -> TestPair:
    """The pair with the median corner error at the last level asked for: neither best nor worst."""
    last = [o for o in outcomes if o.pair.level == outcomes[-1].pair.level]
    return sorted(last, key=lambda o: o.corner_error)[len(last) // 2].pair


def draw_pictures(
    folder: Path, model: Representations, pair: TestPair, scenes: Sequence[Scene]
) -> list[tuple[Path, str]]:
    """Draw one pair: images, representations, score against angle, before and after."""
    fixed, moving, mask = displacements.cut_pair(pair, {scene.name: scene for scene in scenes})
    found, encoded = aligned(model, fixed, moving, mask, (pair.fixed, pair.moving))
    moved, inside = warp_image(
        torch.from_numpy(moving)[None],
        np.linalg.inv(found.moving_to_fixed),
        size=(fixed.shape[1], fixed.shape[2]),
    )
    in_mask, _ = warp_image(
        torch.from_numpy(mask)[None, None].double(), np.linalg.inv(found.moving_to_fixed)
    )
    after = (moved[0].numpy(), inside.numpy() & (in_mask[0, 0].numpy() > 0.5))
    names = (f"fixed: {pair.fixed}", f"moving: {pair.moving}")
    paths = {n: folder / f"{n}.png" for n in ("images", "representations", "score", "checkerboard")}
    report.side_by_side(paths["images"], names, (fixed, moving))
    report.side_by_side(
        paths["representations"],
        (f"representation of {pair.fixed}", f"representation of {pair.moving}"),
        (encoded[0], encoded[1]),
        about_median=True,
    )
    truth = rotation_degrees(pair.moving_to_fixed())
    report.score_curve(paths["score"], found.score_by_angle, truth)
    report.checkerboards(paths["checkerboard"], fixed, (moving, mask), after)
    report.overview(folder / "overview.png", list(paths.values()))
    error = alignment.corner_error(pair.moving_to_fixed(), found.moving_to_fixed, pair.width)
    captions = {
        "images": "The two images of one test pair, as a method is given them.",
        "representations": "What the two steerable encoders make of them: alike, and turned.",
        "score": f"Agreement at every rotation of the circle; the truth is {truth:.1f} degrees.",
        "checkerboard": f"Before and after registration; mean corner error {error:.2f} px.",
    }
    return [(path, captions[name]) for name, path in paths.items()]


def main() -> None:
    """Gate, train, evaluate, show."""
    chosen = arguments()
    console = Console()
    parts = embedded()
    if chosen.set:
        parts = read_parts(chosen.set, chosen.modalities, masks=chosen.masks)
    for line in parts.found:
        console.print(f"  {line}", highlight=False)
    lists = {width: read_list(parts, width) for width in chosen.width}
    settings = TrainingSettings(
        seed=chosen.seed,
        minutes=chosen.minutes,
        steps=chosen.steps,
        patch_size=chosen.patch_size,
        batch=chosen.batch,
        high_pass_cutoff=chosen.high_pass or None,
        curves=tuple(chosen.curves),
    )
    chosen.out.mkdir(parents=True, exist_ok=True)

    encoders = encoders_of(chosen)
    console.print(f"[bold]Gate[/]: {parts.name}, {' and '.join(parts.modalities)}, before training")
    verdicts = pass_gate(console, new_model(parts.train, encoders[0], settings), settings)
    trained = {}
    for encoder in encoders:
        folder = chosen.out / encoder.family
        if chosen.reuse:
            trained[encoder.family] = reused(folder)
            continue
        spent = f"{settings.steps} steps" if settings.steps else f"{settings.minutes:g} minutes"
        console.print(f"[bold]Training[/]: {encoder.family}, {spent}")
        done = train(parts.train, encoder, settings, label=encoder.family)
        trained[encoder.family] = done
        facts = {"losses": done.losses, "seconds": done.seconds}
        save(done.model, folder, training=asdict(done.settings), **facts)
        loss = np.mean(done.losses[-20:])
        console.print(f"  {len(done.losses)} steps, {done.seconds:.0f} s, loss {loss:.3f} nats")
    console.print("[bold]Gate[/]: the trained steerable encoders")
    pass_gate(console, trained["steerable"].model, trained["steerable"].settings)

    (chosen.out / "records.jsonl").unlink(missing_ok=True)  # not before there are others
    for width, pairs in lists.items():
        compare(console, chosen, parts, trained, width, pairs, verdicts)


def encoders_of(chosen: argparse.Namespace) -> list[EncoderSettings]:
    """The steerable encoder and its control, as the command line asks for them."""
    made = [
        replace(
            encoder,
            group=chosen.group,
            widths=tuple(chosen.widths),
            kernel_size=chosen.kernel_size,
            pooling=chosen.pooling,
            layers=tuple(chosen.layers),
        )
        for encoder in (STEERABLE, PLAIN)
    ]
    return [replace(made[0], smooth=chosen.smooth), made[1]]


def reused(folder: Path) -> Trained:
    """A model that an earlier run trained, with how it was trained."""
    model = load(folder)
    facts = json.loads((folder / "settings.json").read_text())
    settings = training_settings(facts["training"])
    return Trained(model, settings, facts["losses"], facts["seconds"])


def read_list(parts: Parts, width: int) -> list[TestPair]:
    """The committed list of a set, its modalities and a width; drawn where there is none."""
    path = PAIRS / f"{parts.name}_{'_'.join(parts.modalities)}_{width}.csv"
    if path.exists():
        return displacements.read_pairs(path)
    first, second = parts.modalities
    generator = np.random.default_rng(width)
    return displacements.draw_pairs(parts.test, (first, second), width, 100, generator=generator)


def compare(
    console: Console,
    chosen: argparse.Namespace,
    parts: Parts,
    trained: dict[str, Trained],
    width: int,
    pairs: Sequence[TestPair],
    verdicts: Sequence[gate.Verdict],
) -> None:
    """Evaluate all methods at one width; print and write the table, records and page."""
    some = first_of_each(pairs, chosen.levels, chosen.pairs)
    few = first_of_each(pairs, chosen.levels, chosen.elastix_pairs)
    methods: list[tuple[str, str, Method, Sequence[TestPair]]] = [
        ("identity", "nothing", identity, some),
        ("SIFT", "raw", partial(on_raw, features), some),
        ("elastix, 12 starts", "raw", partial(on_raw, elastix), few),
        *(
            (
                f"search, {family}",
                "learned",
                partial(register_by, done.model.comparable),
                some,
            )
            for family, done in reversed(trained.items())
        ),
    ]
    results = []
    for name, given, method, on in methods:
        if not on:
            continue
        console.print(f"[bold]Registering[/] {len(on)} pairs of {width} px: {name}")
        outcomes = run(method, on, parts.test)
        results.append((name, given, outcomes))
        raised = [outcome.failure for outcome in outcomes if outcome.failure]
        if raised:
            console.print(f"  {len(raised)} gave no transform, e.g. {raised[0]}", highlight=False)
        records.append(
            chosen.out / "records.jsonl",
            outcomes,
            method=name,
            set=parts.name,
            modalities=parts.modalities,
            width=width,
            training={
                family: {**asdict(done.settings), "seconds": round(done.seconds, 1)}
                for family, done in trained.items()
            },
            encoders={f: asdict(done.model.settings) for f, done in trained.items()},
        )
    rows = report.rows_of(results, chosen.levels)
    title = f"{parts.name}: {' and '.join(parts.modalities)}, {width} px, both directions"
    for table in report.terminal_tables(f"{parts.name}, {width} px", rows, chosen.levels):
        console.print(table)
    folder = chosen.out if len(chosen.width) == 1 else chosen.out / str(width)
    folder.mkdir(exist_ok=True)
    (folder / "table.md").write_text(report.markdown_table(rows, chosen.levels))
    pair = typical(results[-1][2])
    pictures = draw_pictures(folder, trained["steerable"].model, pair, parts.test)
    report.write_page(
        folder / "report.html",
        title=title,
        paragraphs=notes(chosen, parts, trained, width),
        rows=rows,
        levels=chosen.levels,
        pair_title=f"A typical pair (the median error at level {pair.level})",
        pictures=pictures,
        verdicts=verdicts,
    )
    console.print(f"Pictures and table: {folder / 'report.html'}")


def notes(
    chosen: argparse.Namespace, parts: Parts, trained: dict[str, Trained], width: int
) -> list[str]:
    """What a reader of the page must know about the numbers."""
    spent = ", ".join(
        f"{family}: {done.settings.steps} steps in {done.seconds:.0f} s"
        for family, done in trained.items()
    )
    said = [
        f"Both encoders were given the same {'steps' if chosen.steps else 'minutes'} "
        f"({spent}) on the same images, every "
        f"image turned by its own angle, and registered by the same search. A success "
        f"is a mean corner error of at most 2 % of the width, {0.02 * width:.2f} px; the interval "
        "is Wilson's at 95 %, over the pairs of both directions as if they were independent; "
        f"each way: {parts.modalities[0]} fixed, then {parts.modalities[1]} fixed. "
        "SIFT and elastix (mutual information) are given the raw images, the search what the "
        "encoders learned.",
    ]
    if chosen.elastix_pairs < chosen.pairs:
        said.append(
            f"elastix, started every 30 degrees, takes seconds a pair and was run on the first "
            f"{chosen.elastix_pairs} pairs of each level and direction."
        )
    if chosen.set is None:
        said.append(
            "Haematoxylin and DAB are pseudo-modalities: one camera's colour picture, separated "
            "into its two stains. Real instruments differ by more."
        )
    return said


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as mistake:  # one sentence that says what to do; no traceback
        sys.exit(f"h0_baselines: {mistake}")
