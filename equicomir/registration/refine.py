"""To a fraction of a pixel: climbing any smooth measure of agreement from a start near its top.

A measure is given the moving image where the fixed pixels fall into it, by cubic spline, and says
how well that agrees. Its derivative with respect to those values (by automatic differentiation)
times the slope of the spline times the motion of the points is the exact gradient with respect to
the angle, the shift and, where it is free, the scale; quasi-Newton steps follow it. The pixels
stay the same for the whole climb, so its start and its end are compared alike, and the end is
never worse.
"""

import math
from collections.abc import Callable

import numpy as np
import scipy.ndimage
import scipy.optimize
import torch
from torch import Tensor

from equicomir.geometry import inverse
from equicomir.shapes import Array, Matrix, Points

_PAD = 2  # pixels around the coefficients that the spline looks at
_FARTHEST = 4.0  # pixels: what moves farther than that has left the peak it was to climb
_AT_ONCE = 4096  # points whose neighbours fit into a core's own memory


def climb(
    score: Callable[[Tensor], Tensor],
    spline: Tensor,
    points: Points,
    moving_to_fixed: Matrix,
    *,
    free_scale: bool = False,
    steepest: float = 3e-5,
    steps: int = 12,
) -> tuple[Matrix, float]:
    """The transform near a start at which a score of the interpolated moving image is highest.

    Args:
        score: from the moving image at the points, (channels, 1, points), float64, to one number;
            differentiable.
        spline: of the moving image, as :func:`coefficients` gives it.
        points: (points, 2), of the fixed image, in pixels.
        moving_to_fixed: the start.
        free_scale: whether the magnification is to be found too.
        steepest: change of the score a pixel at which the climb may end.
        steps: after which it ends at the latest.

    Returns:
        The transform and its score: those of the start, where no better was found within four
        pixels of it.

    Example:
        A valley in which a turned picture of another fits it best.

        >>> from equicomir.geometry import rigid, transform_points
        >>> bowl = torch.arange(16.0, dtype=torch.float64)[:, None].square().expand(16, 16)[None]
        >>> points = np.argwhere(np.ones((8, 8))).astype(float) + 4
        >>> seen = torch.from_numpy(transform_points(rigid(0, (0.3, 0)), points)[:, 0] ** 2)
        >>> found, _ = climb(lambda x: -(x[0, 0] - seen).square().mean(), coefficients(bowl),
        ...     points, np.eye(3))
        >>> bool(np.allclose(found, rigid(0, (-0.3, 0)), atol=1e-3))
        True
    """
    motion = _Motion(points, moving_to_fixed, free_scale)

    def downhill(parameters: Array) -> tuple[float, Array]:
        values, slopes = interpolated(spline, motion.fixed_to_moving(parameters))
        values = values[:, None].requires_grad_()
        with torch.enable_grad():
            height = score(values)
            (steepness,) = torch.autograd.grad(height, values)
        along = torch.einsum("cn,cni->ni", steepness[:, 0], slopes).numpy()
        gradient = np.einsum("ni,pni->p", along, motion.velocities(parameters))
        return -float(height.detach()), -gradient

    nowhere = np.zeros(motion.count)
    start = downhill(nowhere)[0]
    if not math.isfinite(start):
        return moving_to_fixed, -math.inf
    end = scipy.optimize.minimize(
        downhill,
        nowhere,
        jac=True,
        method="BFGS",
        options={"hess_inv0": _curvature(spline, motion), "gtol": steepest, "maxiter": steps},
    )
    better = math.isfinite(end.fun) and end.fun < start and np.abs(end.x).max() < _FARTHEST
    if not better:
        return moving_to_fixed, -start
    return motion.moving_to_fixed(end.x), -float(end.fun)


class _Motion:
    """A start and the small motions about it: all in pixels, so that steps are alike.

    The parameters are the angle times the radius of the points, the shift of rows and of columns,
    and the logarithm of the scale times the radius.
    """

    def __init__(self, points: Points, moving_to_fixed: Matrix, free_scale: bool) -> None:
        self.start, self.count = moving_to_fixed, 4 if free_scale else 3
        self.back = inverse(moving_to_fixed)
        self.centre = points.mean(0)
        self.points = points - self.centre
        self.radius = max(1.0, float(np.sqrt((self.points**2).sum(1).mean())))

    def _parts(self, parameters: Array) -> tuple[Array, Array]:
        """The linear part of the inverse motion, and its derivative with the angle."""
        angle = parameters[0] / self.radius
        scale = math.exp(-parameters[3] / self.radius) if self.count == 4 else 1.0
        cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
        return np.array([[cos, sin], [-sin, cos]]), np.array([[-sin, cos], [-cos, -sin]])

    def moving_to_fixed(self, parameters: Array) -> Matrix:
        """The transform that the parameters stand for."""
        motion = np.eye(3)
        motion[:2, :2] = self._parts(parameters)[0]
        motion = inverse(motion)
        motion[:2, 2] = self.centre - motion[:2, :2] @ self.centre + parameters[1:3]
        matrix: Matrix = motion @ self.start
        return matrix

    def fixed_to_moving(self, parameters: Array) -> Points:
        """Where the points fall in the moving image."""
        linear = self.back[:2, :2] @ self._parts(parameters)[0]
        origin = self.back[:2, :2] @ self.centre + self.back[:2, 2]
        places: Points = (self.points - parameters[1:3]) @ linear.T + origin
        return places

    def velocities(self, parameters: Array) -> Array:
        """How they move there with each parameter: (parameters, points, 2)."""
        linear, turning = (self.back[:2, :2] @ part for part in self._parts(parameters))
        moved = self.points - parameters[1:3]
        velocities = np.empty((self.count, *moved.shape))
        velocities[0] = moved @ turning.T / self.radius
        velocities[1], velocities[2] = -linear[:, 0], -linear[:, 1]
        if self.count == 4:
            velocities[3] = -moved @ linear.T / self.radius
        return velocities


def _curvature(spline: Tensor, motion: _Motion) -> Array:
    """The inverse curvature of a correlation at its top: the scale of the first step."""
    nowhere = np.zeros(motion.count)
    values, slopes = interpolated(spline, motion.fixed_to_moving(nowhere))
    changes = np.einsum("cni,pni->pcn", slopes.numpy(), motion.velocities(nowhere))
    changes = (changes - changes.mean(2, keepdims=True)).reshape(motion.count, -1)
    energy = float((values - values.mean(1, keepdim=True)).square().sum())
    curvature = changes @ changes.T / max(energy, 1e-300)
    curvature += 1e-3 * max(float(np.trace(curvature)), 1e-300) * np.eye(motion.count)
    first_step: Array = np.linalg.inv(curvature)
    return (first_step + first_step.T) / 2  # symmetric to the last digit, as is asked for


def coefficients(image: Tensor) -> Tensor:
    """The cubic spline through an image, mirrored at its border.

    Args:
        image: (channels, height, width).

    Returns:
        Its coefficients, float64, with a border of two pixels.

    Source:
        Unser 1999, Splines: a perfect fit for signal and image processing, doi 10.1109/79.799930.
    """
    planes = [
        scipy.ndimage.spline_filter(plane, 3, output=np.float64, mode="mirror")
        for plane in image.numpy()
    ]
    return torch.from_numpy(np.pad(np.stack(planes), [(0, 0), (_PAD,) * 2, (_PAD,) * 2], "reflect"))


def interpolated(spline: Tensor, points: Points) -> tuple[Tensor, Tensor]:
    """A spline and its slope at points; beyond the border, where the nearest point is.

    Args:
        spline: as :func:`coefficients` gives it.
        points: (points, 2), in pixels of the image.

    Returns:
        Values (channels, points) and slopes (channels, points, 2) along rows and columns.

    Example:
        At whole numbers the spline goes through the image.

        >>> image = torch.arange(20.0, dtype=torch.float64).reshape(1, 4, 5).sin()
        >>> values, _ = interpolated(coefficients(image), np.array([[1.0, 2.0], [3.0, 0.0]]))
        >>> torch.allclose(values[0], image[0, [1, 3], [2, 0]])
        True
    """
    pieces = [_looked_up(spline, piece) for piece in torch.from_numpy(points).split(_AT_ONCE)]
    values, slopes = zip(*pieces, strict=True)
    return torch.cat(values, dim=1), torch.cat(slopes, dim=1)


def _looked_up(spline: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    height, width = spline.shape[-2:]
    last = torch.tensor([height, width]) - 2 * _PAD - 1
    at = points.T.contiguous().clamp(min=0)
    at = torch.minimum(at, last[:, None].to(at))
    whole = at.floor()
    weights, changes = _cubic(at - whole)
    corner = whole.long() + _PAD - 1
    four = torch.arange(4)
    around = (four[:, None] * width + four)[..., None] + (corner[0] * width + corner[1])
    taken = spline.flatten(1)[:, around]  # (channels, rows, columns, points)
    along, change = ((taken * w[:, 1]).sum(2) for w in (weights, changes))
    values = (along * weights[:, 0]).sum(1)
    slopes = torch.stack([(along * changes[:, 0]).sum(1), (change * weights[:, 0]).sum(1)], dim=-1)
    return values, slopes


def _cubic(part: Tensor) -> tuple[Tensor, Tensor]:
    """The cubic B-spline's four weights at fractions of a pixel, and their slopes: (4, ...)."""
    rest = 1 - part
    square, rest_square = part * part, rest * rest
    first, last = rest_square * rest / 6, square * part / 6
    second = 2 / 3 - square * (1 - part / 2)
    weights = torch.stack([first, second, 1 - first - second - last, last])
    second = part * (1.5 * part - 2)
    slopes = torch.stack(
        [rest_square / -2, second, (rest_square - square) / 2 - second, square / 2]
    )
    return weights, slopes
