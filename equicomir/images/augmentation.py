"""Augmentation: the same scene as another day, another section, another microscope would show it.

Geometry is drawn once for all modalities of a scene, which stay aligned; photometry is drawn for
each on its own, as each has its own light, gain and noise. Drawing is apart from applying: what
was drawn is plain tensors, which can be written down and played again.
"""

import math
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir.shapes import Images, Matrices

_KNOT_PIXELS = 32  # between the knots of an elastic deformation


@dataclass(frozen=True)
class Augmentation:
    """How much is varied; every default varies nothing.

    Attributes:
        rotation: the whole scene by any angle (beside the angles that each image of a pair is
            turned by on its own).
        mirror: half of the patches are mirrored.
        scale: by factors from 1 / scale to scale, at least 1.
        elastic_pixels: standard deviation of a smooth displacement, in pixels; knots are 32
            pixels apart, so more than about 8 folds the image.
        contrast: about the patch's mean, by factors from 1 / (1 + contrast) to 1 + contrast.
        gamma: exponents from 1 / (1 + gamma) to 1 + gamma, on intensities of 0 to 1.
        noise: standard deviation of additive white noise, up to this, of intensities of 0 to 1.
        blur_pixels: standard deviation of a Gaussian blur, up to this.
        cut_out: side of a square that is replaced by the patch's mean, up to this fraction of
            the patch.
        inversion: probability of the negative.

    Raises:
        ValueError: a value out of its range.
    """

    rotation: bool = False
    mirror: bool = False
    scale: float = 1.0
    elastic_pixels: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    blur_pixels: float = 0.0
    cut_out: float = 0.0
    inversion: float = 0.0

    def __post_init__(self) -> None:
        ranges = {
            "scale": (1, 4),
            "elastic_pixels": (0, _KNOT_PIXELS / 4),
            **dict.fromkeys(("contrast", "gamma"), (0, 9)),
            "noise": (0, math.inf),
            "blur_pixels": (0, 8),
            **dict.fromkeys(("cut_out", "inversion"), (0, 1)),
        }
        for name, (least, most) in ranges.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(
                    f"{name}: expected {least:g} to {most:g}, got {getattr(self, name)}."
                )


@dataclass(frozen=True)
class _Drawn:
    """Tensors, one line a patch, that can be written down."""

    def part(self, some: slice) -> Self:
        """Of some patches."""
        return type(self)(**{f.name: getattr(self, f.name)[some] for f in fields(self)})

    def as_lists(self) -> dict[str, Any]:
        """Plain lists, for JSON; floats survive it unchanged."""
        return {f.name: getattr(self, f.name).tolist() for f in fields(self)}

    @classmethod
    def from_lists(cls, lists: dict[str, Any]) -> Self:
        """What :meth:`as_lists` wrote down."""
        whole = {bool: torch.bool, int: torch.int64, float: torch.float32}
        made = {}
        for f in fields(cls):
            first: Any = lists[f.name]
            while isinstance(first, list):
                first = first[0]
            made[f.name] = torch.tensor(lists[f.name], dtype=whole[type(first)])
        return cls(**made)


@dataclass(frozen=True)
class Geometry(_Drawn):
    """How the scenes of a batch are moved.

    Attributes:
        degrees: by how much, about the patch's centre, (batch,).
        mirrored: whether columns are exchanged first, (batch,).
        factor: by how much the scene is enlarged, (batch,).
        knots: smooth displacement at the knots of a coarse lattice over the patch, in pixels of
            the scene, (batch, 2, rows, columns).
    """

    degrees: Tensor
    mirrored: Tensor
    factor: Tensor
    knots: Tensor


@dataclass(frozen=True)
class Photometry(_Drawn):
    """How the light of one modality's patches is changed, each (batch,).

    Attributes:
        contrast: factor about the mean.
        gamma: exponent.
        inverted: whether it is the negative.
        blur_pixels: standard deviation of the blur.
        noise: standard deviation of the noise.
        noise_seed: from which the noise is made again.
        hole: (row, column, side) of the square cut out, as fractions of the patch, (batch, 3).
    """

    contrast: Tensor
    gamma: Tensor
    inverted: Tensor
    blur_pixels: Tensor
    noise: Tensor
    noise_seed: Tensor
    hole: Tensor


def draw_geometry(
    augmentation: Augmentation, count: int, size: int, *, generator: torch.Generator
) -> Geometry:
    """Draw how ``count`` scenes are moved under patches of ``size`` pixels.

    Args:
        augmentation: what is varied, and how far.
        count: of scenes.
        size: of the patches, in pixels.
        generator: the source of randomness.

    Returns:
        The draw, the same for all modalities of a scene.
    """
    degrees, mirrored, factor = torch.rand(3, count, generator=generator)
    cells = math.ceil(size / _KNOT_PIXELS)
    knots = torch.randn(count, 2, cells + 3, cells + 3, generator=generator)
    return Geometry(
        360 * degrees * augmentation.rotation,
        (mirrored < 0.5) & augmentation.mirror,
        augmentation.scale ** (2 * factor - 1),
        augmentation.elastic_pixels * knots,
    )


def draw_photometry(
    augmentation: Augmentation, count: int, *, generator: torch.Generator
) -> Photometry:
    """Draw how the light of ``count`` patches of one modality is changed.

    Args:
        augmentation: what is varied, and how far.
        count: of patches.
        generator: the source of randomness.

    Returns:
        The draw.
    """
    contrast, gamma, inverted, blur, noise = torch.rand(5, count, generator=generator)
    seed = torch.randint(2**53, (count,), generator=generator)  # exact in JSON everywhere
    hole = torch.rand(count, 3, generator=generator)
    hole[:, 2] *= augmentation.cut_out
    return Photometry(
        (1 + augmentation.contrast) ** (2 * contrast - 1),
        (1 + augmentation.gamma) ** (2 * gamma - 1),
        inverted < augmentation.inversion,
        augmentation.blur_pixels * blur,
        augmentation.noise * noise,
        seed,
        hole,
    )


def matrices(geometry: Geometry, size: int) -> Matrices:
    """From pixels of the moved patches to pixels of the unmoved, but for the elastic part.

    Args:
        geometry: the draw.
        size: of the patches, in pixels.

    Returns:
        Shape (batch, 3, 3), float64: the inverse of mirroring, then enlarging, then turning the
        scene, all about the patch's centre.

    Example:
        >>> still = draw_geometry(Augmentation(), 1, 8, generator=torch.Generator())
        >>> bool((matrices(still, 8)[0] == torch.eye(3)).all())
        True
    """
    radians = geometry.degrees.double() * (math.pi / 180)
    cos, sin = torch.cos(radians), torch.sin(radians)
    mirror = 1 - 2 * geometry.mirrored.double()
    # The inverse of turn @ enlarge @ mirror, in which mirroring is its own inverse.
    linear = torch.stack(
        [torch.stack([cos, sin], -1), mirror[:, None] * torch.stack([-sin, cos], -1)], -2
    )
    linear = linear / geometry.factor.double()[:, None, None]
    centre = torch.full((2,), (size - 1) / 2, dtype=torch.float64)
    made = torch.eye(3, dtype=torch.float64).repeat(len(linear), 1, 1)
    made[:, :2, :2] = linear
    made[:, :2, 2] = centre - linear @ centre
    return made


def displacement(geometry: Geometry, size: int) -> Tensor:
    """The elastic part: what is added to where each pixel of a patch comes from.

    A cubic B-spline through the lattice of knots, which is smooth, about as large as they are.

    Args:
        geometry: the draw.
        size: of the patches, in pixels.

    Returns:
        Shape (batch, 2, size, size), in pixels, (rows, columns).
    """
    along = torch.arange(size, dtype=torch.float32) / _KNOT_PIXELS
    cell = along.floor().clamp(max=geometry.knots.shape[-1] - 4)
    t = along - cell
    spline = torch.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], -1
    )
    weights = torch.zeros(size, geometry.knots.shape[-1])
    weights.scatter_(1, cell.long()[:, None] + torch.arange(4), spline / 6)
    # The mean over four knots is smaller than each: brought back to a spread of one.
    return torch.einsum("rk,bckl,sl->bcrs", weights, geometry.knots, weights) * _SPREAD


#: One over the mean spread of a cubic B-spline of independent unit knots, in two dimensions.
_SPREAD = 630 / 302  # the integral of the squared kernel is 302/630 along each axis


def change_light(patches: Images, drawn: Photometry) -> Images:
    """Apply photometry to the patches of one modality.

    In the order of an instrument: contrast and gamma of the tissue, the negative, the blur of
    the optics, what is hidden, and the noise of the detector.

    Args:
        patches: (batch, channels, size, size), intensities of about 0 to 1.
        drawn: of :func:`draw_photometry`, one a patch.

    Returns:
        The same shape. What was drawn from a default :class:`Augmentation` changes nothing.

    Example:
        >>> patches = torch.rand(2, 1, 16, 16)
        >>> none = draw_photometry(Augmentation(), 2, generator=torch.Generator())
        >>> bool(torch.equal(change_light(patches, none), patches))
        True
    """
    if bool((drawn.contrast != 1).any()):
        mean = patches.mean((2, 3), keepdim=True)
        patches = mean + _each(drawn.contrast) * (patches - mean)
    if bool((drawn.gamma != 1).any()):
        # Beyond 0 and 1 the curve goes on straight, so that nothing is clipped.
        inside = patches.clamp(0, 1)
        patches = patches - inside + inside ** _each(drawn.gamma)
    if bool(drawn.inverted.any()):
        patches = torch.where(_each(drawn.inverted), 1 - patches, patches)
    if bool((drawn.blur_pixels > 0).any()):
        patches = _blur(patches, drawn.blur_pixels)
    if bool((drawn.hole[:, 2] > 0).any()):
        patches = torch.where(_holes(drawn.hole, patches), _means(patches), patches)
    if bool((drawn.noise > 0).any()):
        noise = [
            torch.randn(patches.shape[1:], generator=torch.Generator().manual_seed(seed))
            for seed in drawn.noise_seed.tolist()
        ]
        patches = patches + _each(drawn.noise) * torch.stack(noise).to(patches)
    return patches


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _means(patches: Images) -> Tensor:
    return patches.mean((2, 3), keepdim=True).expand_as(patches)


def _holes(hole: Tensor, patches: Images) -> Tensor:
    """True inside each patch's square, (batch, 1, size, size)."""
    height, width = patches.shape[-2:]
    first = [(hole[:, i] * (n - hole[:, 2] * n)).round() for i, n in enumerate((height, width))]
    inside = []
    for start, extent in zip(first, (height, width), strict=True):
        at = torch.arange(extent)
        past = start + (hole[:, 2] * extent).round()
        inside.append((at >= start[:, None]) & (at < past[:, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def _blur(patches: Images, sigma: Tensor) -> Images:
    """Each patch by its own Gaussian, separably; its border is continued."""
    reach = max(1, math.ceil(3 * float(sigma.max())))
    at = torch.arange(-reach, reach + 1)
    kernels = torch.exp(-(at**2) / (2 * sigma.clamp(min=1e-3)[:, None] ** 2))
    kernels = (kernels / kernels.sum(1, keepdim=True)).to(patches)
    batch, channels, height, width = patches.shape
    one = patches.transpose(0, 1).reshape(channels, batch, height, width)
    one = F.pad(one, (reach,) * 4, mode="replicate")
    one = F.conv2d(one, kernels[:, None, :, None], groups=batch)
    one = F.conv2d(one, kernels[:, None, None, :], groups=batch)
    return one.transpose(0, 1)
