"""Small made-up records that figures are drawn from: crops, untrained models, experiments."""

import importlib.util
import itertools
import json
import sys
from dataclasses import asdict
from pathlib import Path

import matplotlib
import numpy as np
import torch
from scipy import ndimage
from skimage import io

from equicomir.evaluation import records
from equicomir.evaluation.displacements import TestPair
from equicomir.experiment.plan import tasks
from equicomir.images.intensities import Scaling
from equicomir.representations import EncoderSettings, Representations, save

ROOT = Path(__file__).parent.parent
MODALITIES = {"brain_mri": ("T1", "T2"), "motor_neurons": ("phase_contrast", "nfh")}
SIZES = {"brain_mri": (60, 52), "motor_neurons": (72, 72)}
ENCODERS = (EncoderSettings(), EncoderSettings(family="plain"))
MACHINE = {"cores": 2, "processor": "Made Up", "torch_threads": 1, "gpu": None}
TRAINING = {"seed": 3, "steps": 40, "minutes": 5.0, "high_pass_cutoff": 0.05}


def script(folder, name):
    """A script as a module, found by those that import it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def drawn_twice(run, monkeypatch, folder, tmp_path):
    """What a figure's script writes, by name, on two days and by users of other settings."""
    found = []
    for number in range(2):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(10**9 + number))
        with matplotlib.rc_context({"axes.linewidth": 1 + number, "font.size": 9 + number}):
            run(monkeypatch, folder, tmp_path / f"{number}")
        written_now = sorted((tmp_path / f"{number}").iterdir())
        found.append({path.name: path.read_bytes() for path in written_now})
    return found


def blobs(rng, height, width):
    """Smooth noise, as bytes."""
    smooth = ndimage.gaussian_filter(rng.standard_normal((height, width)), 1.5)
    return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


def write_crops(folder, number=0):
    """One pair of each set."""
    rng = np.random.default_rng(number)
    for name, modalities in MODALITIES.items():
        for modality in modalities:
            path = folder / "crops" / name / modality / "made_up.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            io.imsave(path, blobs(rng, *SIZES[name]), check_contrast=False)
    return folder


def write_model(folder, name, family, *, number=0, **training):
    """An untrained model, as experiments save theirs."""
    scaling = Scaling((0.0,), (255.0,))
    model = Representations(
        dict.fromkeys(MODALITIES[name], scaling),
        EncoderSettings(family=family, widths=(2, 2)),
        generator=torch.Generator().manual_seed(number),
    )
    save(model.eval(), folder / f"h0_{name}" / family, training=TRAINING | training)


def written(folder, number=0):
    """All that figures 1 and 7 are drawn from."""
    write_crops(folder, number)
    for name in MODALITIES:
        for family in ("steerable", "plain"):
            write_model(folder, name, family, number=number)
    return folder


def write_lines(path, lines):
    """Records as they are, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def pairs_of(modalities, width, count, levels=("any",)):
    """Made-up test pairs, so many a level and direction, each in a block and slice of its own."""
    rng = np.random.default_rng(width)
    return [
        TestPair(level, *way, f"z{n:02d}", 400 * n, 0, width, rng.uniform(-180, 180), 1.0, 2.0)
        for level in levels
        for way in (modalities, modalities[::-1])
        for n in range(count)
    ]


def outcomes_of(rng, pairs, chance):
    """What became of them: near the truth with some chance, else off, far from it or nowhere."""
    draws, near = rng.random(len(pairs)), rng.uniform(0.001, 0.02, len(pairs))
    off = rng.uniform(0.025, 0.1, len(pairs))
    kinds = [sum(d >= chance + (1 - chance) * share for share in (0, 0.5, 0.9)) for d in draws]
    return [
        {
            **asdict(pair),
            "corner_error": (a * pair.width, b * pair.width, 40.0, None)[kind],
            "seconds": 0.25,
            "failure": "",
        }
        for pair, kind, a, b in zip(pairs, kinds, near, off, strict=True)
    ]


def runs_of_experiment(experiment, data_set, *, budget=None, count=12, number=0, chances=None):
    """Made-up records of an experiment, with the settings that its script states.

    Of each seed but the first, what is learned succeeds a little more often; raw images in 10 %.
    """
    budget, rng = budget or experiment.default, np.random.default_rng(number)
    chances, lines = chances or {}, []
    for task in tasks(experiment, [data_set], budget):
        for (name, registration), width in (
            (one, width) for one in task.registrations for width in data_set.widths
        ):
            chance = chances.get(name, 0.55 if task.encoder else 0.1)
            chance += 0.05 * task.training.seed - 0.1 * (width == min(data_set.widths))
            pairs = pairs_of(data_set.modalities[:2], width, count, task.levels)
            some = pairs[: registration.most_pairs and len(pairs) // 2]
            settings = json.loads(json.dumps(task.evaluated("made up", registration, width)))
            facts = {"key": records.run_key(settings), "settings": settings, "variant": name}
            if task.encoder is not None:
                errors = {m: rng.uniform(0.05, 0.2, 3).tolist() for m in task.modalities}
                facts |= {"equivariance_error": errors, "training_seconds": 60.0, "steps": 100}
                facts["detail"] = {
                    "coherence_between": rng.uniform(0.002, 0.03),
                    "coherence_floor": 0.0012,
                }
            some = outcomes_of(rng, some, chance)
            lines.append(facts | {"machine": MACHINE, "pairs": some})
    return lines


def baseline_lines(number=0, encoders=ENCODERS, name="brain_mri", widths=(128, 64), count=20):
    """Made-up records as ``h0_baselines.py`` writes them."""
    rng, lines = np.random.default_rng(number), []
    of = dict(zip(("steerable", "plain"), encoders, strict=True))
    named = {"identity": 0.0, "SIFT": 0.1, "elastix, 12 starts": 0.9}
    named |= {f"search, {family}": 0.5 for family in of}
    for (method, chance), width in itertools.product(named.items(), widths):
        pairs = pairs_of(MODALITIES[name], width, count)
        lines.append(
            {
                "method": method,
                "set": name,
                "modalities": list(MODALITIES[name]),
                "width": width,
                "training": {family: {"steps": 500, "minutes": 5.0} for family in of},
                "encoders": {family: asdict(one) for family, one in of.items()},
                "pairs": outcomes_of(rng, pairs, chance + 0.3 * (width == 128)),
            }
        )
    return lines
