"""Descents: from many rigid transforms at once downhill on the distance between two images.

All descents of a scale are one batch, and look at the same points at the same step, so that what
a step costs is what its look-ups cost. A transform is three numbers in pixels (the angle times an
arm's length, rows, columns), so that one length of step suits all three.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir.geometry import image_centre, rigid
from equicomir.registration.distance_transforms import (
    Grey,
    Sample,
    drawn,
    every_point,
    grey,
    mean_distance,
    stretched,
)
from equicomir.shapes import Array, ArrayMask, Matrix

_FEWEST_POINTS = 300  # a step looks at no fewer: one in a hundred of a small image says nothing
_FORGETTING = (0.9, 0.99)  # of the running means of the slope and of its square
_POINTS_AT_ONCE = 2**18  # bounds the memory of distances from all points


@dataclass(frozen=True)
class Scale:
    """Both images at one scale, with all their points.

    Attributes:
        fixed: its levels of grey.
        moving: likewise.
        fixed_points: all of them.
        moving_points: likewise.
    """

    fixed: Grey
    moving: Grey
    fixed_points: Sample
    moving_points: Sample

    @property
    def centres(self) -> tuple[Tensor, Tensor]:
        """Of the fixed and of the moving image, as (row, column)."""
        sizes = (image.weights.shape for image in (self.fixed, self.moving))
        fixed, moving = (torch.tensor(image_centre(*size)) for size in sizes)
        return fixed, moving

    @property
    def arm(self) -> float:
        """How many pixels a typical point moves for a radian."""
        return math.hypot(*self.moving.weights.shape) / 4

    def matrix(self, parameters: Tensor) -> Matrix:
        """Moving to fixed, in pixels of this scale.

        Args:
            parameters: (3,): the angle times the arm, and the rows and columns by which the
                moving image's centre then lies off the fixed image's; all in pixels.
        """
        turn, rows, columns = parameters.tolist()
        fixed, moving = (image_centre(*x.weights.shape) for x in (self.fixed, self.moving))
        shift = (fixed[0] - moving[0] + rows, fixed[1] - moving[1] + columns)
        return rigid(math.degrees(turn / self.arm), shift, centre=moving)


#: An image (channels, height, width), its mask and its weights (height, width).
Weighted = tuple[Array, ArrayMask | None, Array | None]


def at_scale(
    fixed: Weighted, moving: Weighted, factor: int, levels: int, most_pixels: float
) -> Scale:
    """Both images shrunk by a factor, then stretched and measured.

    Args:
        fixed: image, mask and weights.
        moving: likewise.
        factor: of shrinking; blocks of so many pixels a side become one.
        levels: of grey.
        most_pixels: where distances saturate, in pixels before shrinking.

    Returns:
        The scale, with all points of both.

    Source:
        Öfverstedt, Lindblad, Sladoje 2019, doi 10.1109/TIP.2019.2899947, arXiv 1807.11599.
    """
    greys = []
    for side in (fixed, moving):
        image, mask, weights = side if factor == 1 else _shrunk(*side, factor)
        heights, most = stretched(image, mask), most_pixels / factor
        greys.append(grey(heights, mask, weights, levels=levels, most_pixels=most))
    return Scale(greys[0], greys[1], every_point(greys[0]), every_point(greys[1]))


def _shrunk(image: Array, mask: ArrayMask | None, weights: Array | None, factor: int) -> Weighted:
    """Means over blocks inside the mask; a block is inside where at least half of it is.

    Rows that fill no block are left out, which moves the centre by less than half a block: the
    next scale makes up for it.
    """
    inside = np.ones(image.shape[1:]) if mask is None else mask.astype(np.float64)
    counted = inside if weights is None else weights * inside
    planes = torch.from_numpy(np.concatenate([image * inside, inside[None], counted[None]]))
    *sums, part, counts = F.avg_pool2d(planes[None], factor)[0].numpy()
    if not (part >= 0.5).any():  # a mask of specks: better large specks than nothing
        return np.stack(sums) / np.maximum(part, 1e-12), part > 0, counts
    return np.stack(sums) / np.maximum(part, 1e-12), part >= 0.5, counts


def starts(scale: Scale, degrees: list[float]) -> Tensor:
    """Where descents begin: at every angle centre on centre, then centre of mass on centre of mass.

    Args:
        scale: both images.
        degrees: the angles.

    Returns:
        Parameters (2 * angles, 3).

    Source:
        Öfverstedt, Lindblad, Sladoje 2019, doi 10.1109/TIP.2019.2899947, arXiv 1807.11599.
    """
    turns = torch.tensor(degrees).deg2rad()
    centred = torch.stack([turns * scale.arm, *torch.zeros(2, len(degrees))], dim=1)
    fixed, moving = (
        _centre_of_mass(points) - centre
        for points, centre in zip(
            (scale.fixed_points, scale.moving_points), scale.centres, strict=True
        )
    )
    massed = centred.clone()
    massed[:, 1:] = fixed - moving @ _rotation(turns).mT
    return torch.cat([centred, massed])


def _centre_of_mass(points: Sample) -> Tensor:
    mass = points.weights * points.heights.sum(dim=0)
    return mass @ points.places / mass.sum().clamp(min=1e-12)


def _rotation(radians: Tensor) -> Tensor:
    """Matrices (batch, 2, 2), as :func:`equicomir.geometry.rigid` turns."""
    cos, sin = radians.cos(), radians.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def symmetric_distance(
    scale: Scale, parameters: Tensor, fixed: Sample, moving: Sample
) -> tuple[Tensor, Tensor, Tensor]:
    """The distance of both images from some of their points, and its slope.

    Args:
        scale: both images.
        parameters: (batch, 3), of :meth:`Scale.matrix`.
        fixed: points of the fixed image.
        moving: points of the moving image.

    Returns:
        The mean of both directions (batch,), in pixels; its slope with the parameters (batch,
        3), exact between the places where points enter or leave an image; and the part of the
        points that meets the other image, of the image where it is less (batch,).

    Source:
        Öfverstedt, Lindblad, Sladoje 2019, doi 10.1109/TIP.2019.2899947, arXiv 1807.11599.
    """
    radians = parameters[:, 0] / scale.arm
    turn = _rotation(radians)
    tangent = _rotation(radians + math.pi / 2)  # the derivative of a rotation is a quarter more
    fixed_centre, moving_centre = scale.centres
    goal = fixed_centre + parameters[:, None, 1:]
    arms = (moving.places - moving_centre).to(parameters)
    there, pull, met = mean_distance(moving, scale.fixed, arms @ turn.mT + goal)
    turning = (tangent * (pull.mT @ arms)).sum((1, 2))
    moved = pull.sum(1)
    arms = fixed.places - goal
    back, pull, met_back = mean_distance(fixed, scale.moving, arms @ turn + moving_centre)
    turning = turning + (tangent * (arms.mT @ pull)).sum((1, 2))
    moved = moved - (turn @ pull.sum(1)[..., None])[..., 0]
    slope = torch.cat([turning[:, None] / scale.arm, moved], dim=1) / 2
    return (there + back) / 2, slope, torch.minimum(met, met_back)


def descend(
    scale: Scale,
    parameters: Tensor,
    stride: tuple[float, float],
    steps: int,
    fraction: float,
    *,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Follow every descent downhill, on fresh points at each step.

    Args:
        scale: both images.
        parameters: (batch, 3), where the descents start.
        stride: the longest steps at the start and at the end, in pixels.
        steps: how many.
        fraction: of the points that a step looks at, but not less than 300.
        generator: of the points.

    Returns:
        The parameters (batch, 3) at the end; and how straight each descent went over its last
        quarter (batch,), as the distance made good over the longest possible: near 1, it was
        still on its way, near 0, it was wandering about its goal.

    Source:
        Kingma, Ba, arXiv 1412.6980, algorithm 1, on the distance of arXiv 1807.11599.
    """
    sides = (scale.fixed_points, scale.moving_points)
    counts = [max(_FEWEST_POINTS, round(fraction * len(side.places))) for side in sides]
    slope, square = torch.zeros_like(parameters), torch.zeros_like(parameters)
    keep, keep_square = _FORGETTING
    mark, longest = parameters, 0.0
    for step in range(steps):
        fixed, moving = (
            drawn(side, count, generator=generator)
            for side, count in zip(sides, counts, strict=True)
        )
        _, now, _ = symmetric_distance(scale, parameters, fixed, moving)
        slope = keep * slope + (1 - keep) * now
        square = keep_square * square + (1 - keep_square) * now.square()
        mean = slope / (1 - keep ** (step + 1))
        size = (square / (1 - keep_square ** (step + 1))).sqrt()
        eased = (1 + math.cos(math.pi * step / steps)) / 2
        length = stride[1] + (stride[0] - stride[1]) * eased
        if step == 3 * steps // 4:
            mark, longest = parameters, 0.0
        longest += length
        parameters = parameters - length * mean / (size + 1e-8)
    return parameters, (parameters - mark).abs().amax(dim=1) / longest


def dense_distances(scale: Scale, parameters: Tensor, minimum_overlap: float) -> Tensor:
    """The symmetric distance (batch,) from all points; infinite where too few meet the other.

    Args:
        scale: both images.
        parameters: (batch, 3), of :meth:`Scale.matrix`.
        minimum_overlap: the part of each image's points that must meet the other, in (0, 1].

    Returns:
        (batch,), in pixels of the scale.

    Source:
        Öfverstedt, Lindblad, Sladoje 2019, doi 10.1109/TIP.2019.2899947, arXiv 1807.11599.
    """
    fixed, moving = scale.fixed_points, scale.moving_points
    at_once = max(1, _POINTS_AT_ONCE // (len(fixed.places) + len(moving.places)))
    found = []
    for some in parameters.split(at_once):
        distance, _, met = symmetric_distance(scale, some, fixed, moving)
        found.append(distance.masked_fill(met < minimum_overlap, torch.inf))
    return torch.cat(found)


def distinct(parameters: Tensor, distances: Tensor, most: int) -> list[int]:
    """The nearest ends, no two of which are within a pixel of each other.

    Args:
        parameters: (batch, 3), the ends.
        distances: (batch,), at these.
        most: at most so many.

    Returns:
        Indices of them, the nearest first.

    Example:
        >>> ends = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [9.0, 0.0, 0.0]])
        >>> distinct(ends, torch.tensor([2.0, 1.0, 3.0]), 3)
        [1, 2]
    """
    kept: list[int] = []
    for index in distances.argsort().tolist():
        apart = (parameters[index] - parameters[kept]).abs().amax(dim=1)
        if (apart > 1).all():
            kept.append(index)
        if len(kept) == most:
            break
    return kept
