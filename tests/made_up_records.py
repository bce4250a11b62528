"""Small made-up records that figures are drawn from: crops and untrained models."""

import importlib.util
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from scipy import ndimage
from skimage import io

from equicomir.images.intensities import Scaling
from equicomir.representations import EncoderSettings, Representations, save

ROOT = Path(__file__).parent.parent
MODALITIES = {"brain_mri": ("T1", "T2"), "motor_neurons": ("phase_contrast", "nfh")}
SIZES = {"brain_mri": (60, 52), "motor_neurons": (72, 72)}
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
