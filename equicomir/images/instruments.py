"""Instruments of the phantoms: how one and the same tissue looks in three modalities.

A modality here is made of three statements: how the materials at a point become its brightness,
how far the optics blur it, and what the camera adds. The first two belong to the scene and move
with it; shading and noise belong to the instrument and stay where they are. No relation between
two modalities is monotone: a straight line between their intensities explains little, although
one says much about the other. They are *like* their namesakes, and no physical models of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from equicomir.shapes import Image, check_tensor

_LEAST_BLUR = 0.4  # a narrower Gaussian is no Gaussian on pixels


@dataclass(frozen=True, eq=False)
class Materials:
    """What is in each pixel, one (height, width) tensor each, float64.

    Attributes:
        collagen: fibres a pixel; 1 on a single one, more where they cross, 0 elsewhere.
        nuclei: 1 inside, 0 outside.
        cytoplasm: of cells, or the tissue about vessels; 1 inside, 0 outside.
        lining: of vessels, the thin inner wall; 1 on it.
        lumen: the blood inside; 1 inside, 0 outside.
        grain: texture of about zero mean and unit variance, finer than a nucleus.
    """

    collagen: Tensor
    nuclei: Tensor
    cytoplasm: Tensor
    lining: Tensor
    lumen: Tensor
    grain: Tensor


@dataclass(frozen=True)
class Modality:
    """One way of looking at a scene.

    Attributes:
        name: under which its images stand in a scene.
        blur: standard deviation of the optics' Gaussian blur, in pixels, at least 0.4.
        brightness: from materials to the image without blur.
        expose: from the blurred image (1, height, width) and a generator to what the camera
            gives, with shading and noise. Both functions of a module, so that it can be pickled.

    Raises:
        ValueError: ``blur`` is too small.

    Example:
        >>> [modality.blur for modality in (SECOND_HARMONIC, BRIGHTFIELD, FLUORESCENCE)]
        [1.0, 0.9, 1.5]
    """

    name: str
    blur: float
    brightness: Callable[[Materials], Tensor] = field(repr=False, compare=False)
    expose: Callable[[Tensor, torch.Generator], Tensor] = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.blur >= _LEAST_BLUR:
            raise ValueError(f"blur: expected at least {_LEAST_BLUR} pixels, got {self.blur}.")

    def __call__(self, clean: Image, *, generator: torch.Generator) -> Image:
        """Add what the instrument adds: shading and noise.

        Args:
            clean: of :func:`equicomir.images.phantoms.render`, (1, height, width).
            generator: of the noise.

        Returns:
            The image, (1, height, width), of the same type.

        Raises:
            TypeError, ValueError: not such a tensor.

        Example:
            >>> flat = torch.full((1, 64, 64), 0.5)
            >>> noisy = FLUORESCENCE(flat, generator=torch.Generator().manual_seed(0))
            >>> bool(noisy.std() > 0.01)
            True
        """
        check_tensor("clean", clean, "channels height width", channels=1)
        return self.expose(clean, generator)


# ------------------------------------------------------------------------- what is how bright


def _second_harmonic(here: Materials) -> Tensor:
    """Coherent: the square of the collagen's density; all else is dark."""
    squared = here.collagen.square()
    return 0.02 + 0.6 * squared / (1 + 0.1 * squared) * torch.exp(0.2 * here.grain)


def _brightfield(here: Materials) -> Tensor:
    """Grey, transmitted: dark nuclei, middling blood, clear cytoplasm in stained ground.

    A thin fibre absorbs; where many lie together the tissue clears.
    """
    fibres = 0.5 * here.collagen * torch.exp(-0.8 * here.collagen)
    ground = 0.2 - 0.08 * here.cytoplasm
    dense = 1.0 * here.nuclei + 0.35 * here.lumen + fibres
    density = ground * torch.exp(0.25 * here.grain) + dense * torch.exp(0.1 * here.grain)
    return torch.exp(-density)


def _fluorescence(here: Materials) -> Tensor:
    """Labelled cytoplasm and lining; nuclei are dark, blood and fibres glow a little."""
    labelled = 0.6 * here.cytoplasm * (1 + 0.35 * here.grain) * (1 - 0.85 * here.nuclei)
    glow = 0.2 * here.collagen * torch.exp(-0.5 * here.collagen)
    return (0.04 + labelled + 0.8 * here.lining + 0.22 * here.lumen + glow).clamp(min=0)


# ----------------------------------------------------------------------- what the camera adds


def _speckled(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Speckle of sixteen looks, then the noise of up to some hundred photons."""
    draws = torch.rand(16, *clean.shape, generator=generator, dtype=torch.float64)
    speckle = -torch.log1p(-draws).mean(0).to(clean)
    counts: Tensor = torch.poisson((150 * clean * speckle).clamp(min=0), generator=generator)
    return counts / 150


def _shaded(clean: Tensor, generator: torch.Generator) -> Tensor:
    """A vignette whose centre is off, by up to a third in a corner, and electronic noise."""
    height, width = clean.shape[-2:]
    centre_row, centre_column, depth = torch.rand(3, generator=generator, dtype=torch.float64)
    rows = torch.linspace(-1, 1, height, dtype=torch.float64)[:, None] - (centre_row - 0.5)
    columns = torch.linspace(-1, 1, width, dtype=torch.float64)[None, :] - (centre_column - 0.5)
    shade = 1 - (0.04 + 0.04 * depth) * (rows.square() + columns.square())
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    shaded: Tensor = clean * shade.to(clean) + 0.012 * noise.to(clean)
    return shaded


def _counted(clean: Tensor, generator: torch.Generator) -> Tensor:
    """The noise of some sixty photons at brightness 1, over an offset with read-out noise."""
    photons: Tensor = torch.poisson(60 * clean.clamp(min=0), generator=generator) / 60
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    return photons + 0.05 + 0.01 * noise.to(clean)


#: Like second-harmonic generation: thin bright collagen on dark, a heavy tail, speckle.
SECOND_HARMONIC = Modality("second_harmonic", 1.0, _second_harmonic, _speckled)
#: Like brightfield of a stained section, **grey** (one channel): shading, little noise.
BRIGHTFIELD = Modality("brightfield", 0.9, _brightfield, _shaded)
#: Like widefield fluorescence: blurred, few photons.
FLUORESCENCE = Modality("fluorescence", 1.5, _fluorescence, _counted)
