"""Spectra of representations, before and after the filter that they were trained with.

A spectrum says at which sizes a representation has structure, whatever its gain; figure 7 draws
those of all models in the records.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sources

from equicomir.filters import Filter
from equicomir.shapes import Array, Images
from equicomir.training.settings import TrainingSettings
from equicomir.training.start import filter_of

RANGE = (0.01, 0.5)  # cycles per pixel, of the curves
_EDGES = np.geomspace(*RANGE, 25)  # of the rings that spectra are averaged over


@dataclass(frozen=True)
class Spectrum:
    """Of one representation, before and after the filter of its training.

    Attributes:
        family: of the encoder.
        modality: of the image.
        frequencies: mean of each ring, in cycles per pixel.
        before: power density, in square pixels: 1 everywhere for white noise.
        after: likewise, in the same unit, or empty if it was trained without a filter.
    """

    family: str
    modality: str
    frequencies: list[float]
    before: list[float]
    after: list[float]


def density(image: Array, unit: Array | None = None) -> tuple[Array, Array]:
    """The power spectral density of an image of variance one, under a Hann window.

    Args:
        image: (height, width).
        unit: the image whose variance is one in the result; ``image`` if None.

    Returns:
        Frequencies, in cycles per pixel, and density, in square pixels, of every coefficient of
        ``numpy.fft.fft2``. Its integral over the plane of frequencies, which is its mean, is one.

    Example:
        >>> noise = np.random.default_rng(0).standard_normal((32, 48))
        >>> round(float(density(noise)[1].mean()), 12)
        1.0
    """
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in image.shape))

    def windowed(of: Array) -> Array:
        return window * (of - (window * of).sum() / window.sum())

    power = np.abs(np.fft.fft2(windowed(image))) ** 2
    variance = np.square(windowed(image if unit is None else unit)).sum()
    rows, columns = (np.fft.fftfreq(n) for n in image.shape)
    return np.hypot(rows[:, None], columns), power / variance


def rings(frequencies: Array, values: Array) -> tuple[list[float], list[float]]:
    """Means over rings of about the same frequency, of those that hold a coefficient.

    Args:
        frequencies: in cycles per pixel.
        values: of the same shape.
    """
    ring = np.digitize(frequencies, _EDGES).ravel()
    count, total, at = (
        np.bincount(ring, weights, len(_EDGES) + 1)[1:-1]
        for weights in (None, values.ravel(), frequencies.ravel())
    )
    there = count > 0
    return (at[there] / count[there]).tolist(), (total[there] / count[there]).tolist()


def spectra(records: Path, name: str) -> list[Spectrum]:
    """Of all representations of the crop of one set."""
    scene, models = sources.crop(records, name), sources.models(records, name)
    found = []
    for family, model in models.items():
        filter_ = trained_filter(records, name, family)
        for modality in scene.images:
            encoded = model.encode(modality, scene.window(modality)[None])
            plane = grey(encoded)
            at, before = rings(*density(plane))
            after: list[float] = []
            if filter_ is not None:
                after = rings(*density(grey(filter_(encoded)), plane))[1]
            found.append(Spectrum(family, modality, at, before, after))
    return found


def trained_filter(records: Path, name: str, family: str) -> Filter | None:
    """What representations went through in training; None for nothing."""
    settings = sources.trained(sources.model_folder(records, name, family))
    named = {k: settings[k] for k in ("high_pass_cutoff", "high_pass_family") if k in settings}
    return filter_of(TrainingSettings(**named))


def grey(images: Images) -> Array:
    """The mean of the channels, (height, width)."""
    return images[0].mean(0).double().numpy()
