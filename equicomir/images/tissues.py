"""Tissues of the phantoms: where fibres, cells and vessels lie, drawn from a seed.

What is drawn is a description in the plane, Gaussian blobs of several materials, and not an
image: :mod:`equicomir.images.phantoms` renders it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree
from torch import Tensor

_LEAST_SIDE = 16  # pixels: fewer hold no tissue
_CAPILLARY = 1.6  # radius of the thinnest vessels, in pixels
_FADE = 40.0  # tissue is drawn so many pixels beyond what can be rendered

#: From points (any, 2) to a number at each.
_Field = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Description:
    """What is where in a scene, in the plane.

    Attributes:
        kind: ``"fibres"``, ``"cells"`` or ``"vessels"``.
        size: (height, width) of the image that the scene was drawn for, in pixels; its pixel
            (0, 0) is the origin of the plane.
        margin: how far beyond that image there is tissue on every side, in pixels: half the
            longer side, so that the image may be turned by any angle about its centre.
        blobs: for each material, shape (blobs, 4), float64: row, column, standard deviation in
            pixels, height.
    """

    kind: str
    size: tuple[int, int]
    margin: float
    blobs: Mapping[str, Tensor]


#: What draws a description: :func:`fibres`, :func:`cells`, :func:`vessels`.
Kind = Callable[..., Description]


def fibres(size: tuple[int, int], *, generator: torch.Generator) -> Description:
    """Wavy bundles of collagen along a common, slowly turning direction, spindle cells between.

    Args:
        size: (height, width) of the image, in pixels, 16 or more each.
        generator: of the scene.

    Returns:
        The description.

    Raises:
        ValueError: a side is too short.

    Example:
        >>> fibres((32, 48), generator=torch.Generator().manual_seed(0)).margin
        24.0
    """
    plot = _Plot.of(size, generator)
    direction = plot.directions()
    collagen = _collagen(plot, plot.bundles(2500, 7, 3.0), direction, length=110)
    centres = plot.spaced(20.0)
    along = direction(centres)
    return plot.description(
        "fibres",
        collagen=collagen,
        cytoplasm=_clusters(plot, centres, along, count=7, apart=3.2, sigma=3.0),
        nuclei=_clusters(plot, centres, along, count=4, apart=1.8, sigma=1.7),
        grain=_grain(plot),
    )


def cells(size: tuple[int, int], *, generator: torch.Generator) -> Description:
    """Cells in nests, each with its nucleus, and thin collagen in the gaps between the nests.

    Args:
        size: (height, width) of the image, in pixels, 16 or more each.
        generator: of the scene.

    Returns:
        The description.

    Raises:
        ValueError: a side is too short.

    Example:
        >>> sorted(cells((32, 32), generator=torch.Generator().manual_seed(0)).blobs)
        ['collagen', 'cytoplasm', 'grain', 'nuclei']
    """
    plot = _Plot.of(size, generator)
    direction, nest = plot.directions(), plot.waves(70.0)
    centres = plot.spaced(16.0)
    centres = centres[nest(centres) > -0.35]
    along = 2 * math.pi * plot.uniform(len(centres))
    starts = plot.bundles(800, 4, 2.5)
    starts = starts[nest(starts) < -0.2]
    aside = 1.5 * plot.normal(len(centres), 2)
    return plot.description(
        "cells",
        collagen=_collagen(plot, starts, direction, length=60),
        cytoplasm=_clusters(plot, centres, along, count=3, apart=3.5, sigma=5.8),
        nuclei=_clusters(plot, centres + aside, along, count=3, apart=1.7, sigma=2.8),
        grain=_grain(plot),
    )


def vessels(size: tuple[int, int], *, generator: torch.Generator) -> Description:
    """Trees of vessels with lumen, lining and a collagen coat, in tissue with scattered nuclei.

    At each fork the cube of the radius is shared (Murray's law).

    Args:
        size: (height, width) of the image, in pixels, 16 or more each.
        generator: of the scene.

    Returns:
        The description.

    Raises:
        ValueError: a side is too short.

    Example:
        >>> scene = vessels((32, 32), generator=torch.Generator().manual_seed(0))
        >>> bool((scene.blobs["vessels"][:, 2] >= 1.6).all())
        True

    Source:
        Murray 1926, doi 10.1073/pnas.12.3.207.
    """
    plot = _Plot.of(size, generator)
    tissue = plot.spaced(9.0)
    tissue = tissue[plot.waves(60.0)(tissue) > -0.5]
    along = 2 * math.pi * plot.uniform(len(tissue))
    scattered = plot.spaced(13.0)
    turned = 2 * math.pi * plot.uniform(len(scattered))
    return plot.description(
        "vessels",
        vessels=_trees(plot),
        collagen=_collagen(plot, plot.bundles(2400, 3, 2.0), plot.directions(), length=60),
        cytoplasm=_clusters(plot, tissue, along, count=4, apart=4.0, sigma=4.2),
        nuclei=_clusters(plot, scattered, turned, count=3, apart=1.2, sigma=1.6),
        grain=_grain(plot),
    )


# ------------------------------------------------------------------------- what they are made of


@dataclass(frozen=True)
class _Plot:
    """The piece of the plane that is covered with tissue, and where chance comes from."""

    size: tuple[int, int]
    margin: float
    generator: torch.Generator

    @classmethod
    def of(cls, size: tuple[int, int], generator: torch.Generator) -> "_Plot":
        if min(size) < _LEAST_SIDE:
            raise ValueError(
                f"size: expected height and width of at least {_LEAST_SIDE} pixels, got {size}."
            )
        return cls(size, max(size) / 2, generator)

    def description(self, kind: str, **blobs: Tensor) -> Description:
        return Description(kind, self.size, self.margin, blobs)

    @property
    def extent(self) -> Tensor:
        """(height, width) of the piece, in pixels."""
        return torch.tensor(self.size, dtype=torch.float64) + 2 * (self.margin + _FADE)

    @property
    def area(self) -> float:
        return float(self.extent.prod())

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, dtype=torch.float64)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def anywhere(self, count: int) -> Tensor:
        """So many points, (count, 2)."""
        return self.uniform(count, 2) * self.extent - (self.margin + _FADE)

    def spaced(self, distance: float) -> Tensor:
        """As many points as fit with such a distance between any two, nearly; (any, 2)."""
        points = self.anywhere(math.ceil(4 * self.area / distance**2)).numpy()
        near = cKDTree(points).query_ball_point(points, distance)
        kept: set[int] = set()
        for index, others in enumerate(near):
            if kept.isdisjoint(others):
                kept.add(index)
        return torch.from_numpy(points[sorted(kept)])

    def bundles(self, area: float, count: int, spread: float) -> Tensor:
        """Groups of so many points, one group an area, about a common middle."""
        middles = self.anywhere(max(1, round(self.area / area)))
        spreads = spread * self.normal(len(middles), count, 2)
        return (middles[:, None] + spreads).flatten(0, 1)

    def waves(self, wavelength: float) -> _Field:
        """A smooth random function of the plane, of mean zero and variance one."""
        count = 8
        angles = 2 * math.pi * self.uniform(count)
        speeds = 2 * math.pi / wavelength * (0.5 + self.uniform(count))
        vectors = torch.stack([angles.cos(), angles.sin()]) * speeds
        phases = 2 * math.pi * self.uniform(count)

        def field(points: Tensor) -> Tensor:
            return torch.cos(points @ vectors + phases).sum(-1) * math.sqrt(2 / count)

        return field

    def directions(self) -> _Field:
        """A direction, in radians from the rows' axis, that turns slowly from place to place."""
        towards, turning = 2 * math.pi * self.uniform(1), self.waves(220.0)
        return lambda points: towards + 0.5 * turning(points)


def _unit(angles: Tensor) -> Tensor:
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def _string(points: Tensor, sigma: Tensor, heights: Tensor, step: Tensor) -> Tensor:
    """Blobs along a curve, ``step`` apart, that add up to a ridge of such width and height."""
    heights = heights * step / (math.sqrt(2 * math.pi) * sigma)
    return torch.cat([points, torch.stack([sigma, heights], dim=-1)], dim=-1)


def _collagen(plot: _Plot, starts: Tensor, direction: _Field, length: float) -> Tensor:
    """Fibres from their starts along the direction, crimped, some bright and most not."""
    step, wavelength = 1.0, 22 + 14 * float(plot.uniform(1))
    phases = 3 * plot.waves(80.0)(starts)
    lengths = length * (0.5 + plot.uniform(len(starts)))
    own_angles = 0.12 * plot.normal(len(starts))
    sigma = 0.9 + 0.5 * plot.uniform(len(starts))
    heights = 0.8 * torch.exp(0.45 * plot.normal(len(starts)))
    at, strings = starts - _unit(direction(starts)) * lengths[:, None] / 2, []
    for index in range(math.ceil(1.5 * length / step)):
        crimp = 0.4 * torch.sin(2 * math.pi * index * step / wavelength + phases)
        at = at + step * _unit(direction(at) + own_angles + crimp)
        there = index * step < lengths
        string = _string(at, sigma, heights, torch.full_like(sigma, step))
        strings.append(string[there])
    return torch.cat(strings)


def _clusters(
    plot: _Plot, centres: Tensor, along: Tensor, *, count: int, apart: float, sigma: float
) -> Tensor:
    """A body about each centre, longer along its axis: blobs in a row, at level 1/2 its outline."""
    offsets = apart * (torch.arange(count, dtype=torch.float64) - (count - 1) / 2)
    growth = torch.exp(0.15 * plot.normal(len(centres)))[:, None]
    places = offsets * growth
    points = centres[:, None] + _unit(along)[:, None] * places[..., None]
    points = points + 0.25 * sigma * plot.normal(*points.shape)
    in_the_middle = torch.exp(-((offsets / sigma) ** 2) / 2).sum()
    own_sigma, heights = (sigma * growth).expand_as(places), 1 / in_the_middle
    shape = torch.stack([own_sigma, heights.expand_as(places)], dim=-1)
    return torch.cat([points, shape], dim=-1).flatten(0, 1)


def _grain(plot: _Plot) -> Tensor:
    """Texture of unit variance: a blob, dark or bright, every so many square pixels."""
    every = 14.0
    points = plot.anywhere(round(plot.area / every))
    sigma = 0.9 + 0.8 * plot.uniform(len(points))
    heights = plot.normal(len(points)) * math.sqrt(every / math.pi) / sigma
    return torch.cat([points, torch.stack([sigma, heights], dim=-1)], dim=-1)


def _trees(plot: _Plot) -> Tensor:
    """Vessels from one root in every so many square pixels, forking down to capillaries."""
    roots = plot.anywhere(max(1, round(plot.area / 80000)))
    headings = (2 * math.pi * plot.uniform(len(roots))).tolist()
    radii = (5 + 3 * plot.uniform(len(roots))).tolist()
    growing = list(zip(roots, headings, radii, strict=True))
    strings = []
    while growing:
        root, heading, radius = growing.pop()
        step = radius / 2
        count = math.ceil((20 + radius * (6 + 8 * float(plot.uniform(1)))) / step)
        angles = heading + (0.12 * plot.normal(count)).cumsum(0)
        points = root + step * _unit(angles).cumsum(0)
        width = torch.full((count,), radius, dtype=torch.float64)
        strings.append(_string(points, width, torch.ones_like(width), width / 2))
        share, left, right = plot.uniform(3).tolist()
        for part, turn in ((0.35 + 0.3 * share, left + 0.4), (0.65 - 0.3 * share, -right - 0.4)):
            daughter = radius * part ** (1 / 3)
            if daughter >= _CAPILLARY:
                growing.append((points[-1], float(angles[-1]) + 0.7 * turn, daughter))
    return torch.cat(strings)
