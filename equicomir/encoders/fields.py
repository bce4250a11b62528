"""What a feature map of a steerable encoder is made of, and the kernels between two of them.

A feature map is a stack of *fields*. A field of a finite group (C_N, D_N) is *regular*: one
channel a group element, permuted when the image turns. A field of SO(2) or O(2), which have no
finite regular representation, is *Fourier*: the coefficients, up to a frequency, of a function on
the group. Images come in as fields too: scalars, vectors (a gradient), frequency-2 fields (the
anisotropic part of a structure tensor). These are defined once, as representations of O(2), and
restricted to the group at hand; so one definition serves every group.

escnn solves for the kernels that commute with a group (Weiler and Cesa, General E(2)-equivariant
steerable CNNs, NeurIPS 2019, arXiv 1911.08251; Cesa, Lang and Weiler, ICLR 2022). Its basis is
taken once, as a plain tensor, so that no object of escnn lives in a model: it can be copied,
pickled, edited in eval mode and saved like any other network.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from equicomir.encoders.groups import FREQUENCY, Group

with warnings.catch_warnings():
    # py3nj serves SO(3) only; in the plane it is never used.
    warnings.filterwarnings("ignore", message=".*py3nj.*", category=UserWarning)
    try:
        import escnn.group
        import escnn.gspaces
        import escnn.nn
    except ModuleNotFoundError as error:
        if error.name != "escnn":
            raise
        raise ImportError(
            "expected the package escnn, found none; say: pip install --no-deps escnn==1.0.11."
        ) from error

#: Angles at which a Fourier field is sampled for its nonlinearity: 8 are too few for frequency 3.
SAMPLES = 16
_SMOOTHNESS = 0.27  # width of a smooth ring in radii of the kernel: 0.8 pixels of 7 x 7

#: What a field is: the frequency of an input field, or None for the group's own feature field.
Field = int | None


def input_channels(frequencies: tuple[int, ...]) -> int:
    """Channels that input fields of these frequencies take: one a scalar, two any other.

    Example:
        >>> input_channels((0, 0, 1, 2))
        6
    """
    return sum(1 if frequency == 0 else 2 for frequency in frequencies)


@lru_cache(maxsize=64)
def _space(group: Group) -> Any:
    """The group of the plane, as escnn knows it."""
    order = -1 if group.order is None else group.order
    make = escnn.gspaces.flipRot2dOnR2 if group.mirrors else escnn.gspaces.rot2dOnR2
    return make(order, maximum_frequency=2 * FREQUENCY) if group.order is None else make(order)


@lru_cache(maxsize=64)
def _representation(group: Group, field: Field) -> Any:
    """The representation of a field, as escnn knows it.

    The channels of an input field of frequency k >= 1 are the real and the imaginary part of
    (row + i column)^k: a turn by t turns them by k t, a mirror of the columns negates the second.
    That is escnn's irrep (1, k) of O(2) without any change of basis.
    """
    space = _space(group)
    if field is None:
        if group.order is None:
            return space.fibergroup.bl_regular_representation(FREQUENCY)
        return space.regular_repr
    if field == 0:
        return space.trivial_repr
    plane = escnn.group.o2_group(2 * FREQUENCY)
    irrep = plane.irrep(1, field)
    if group.order is None:
        return irrep if group.mirrors else irrep.restrict((None, -1))
    return irrep.restrict((0.0 if group.mirrors else None, group.order))


def _grid_elements(group: Group) -> Iterator[tuple[int, bool, Any]]:
    """Elements that map the pixel grid onto itself: quarter turns, mirrored first, escnn's own."""
    fibre = _space(group).fibergroup
    for mirrored in (False, True) if group.mirrors else (False,):
        for index in range(group.grid_turns):
            step = 2 * math.pi if group.order is None else group.order
            turn = index * step / group.grid_turns
            turn = turn if group.order is None else round(turn)
            element = fibre.element((int(mirrored), turn) if group.mirrors else turn)
            yield index * 4 // group.grid_turns, mirrored, element


def act(field: Field, group: Group, quarter_turns: int, mirrored: bool) -> Tensor:
    """How a field's channels change when the image is mirrored (columns) and then turned.

    Args:
        field: which field.
        group: of which group; the action must be one of its elements.
        quarter_turns: 0 to 3, as ``torch.rot90`` turns.
        mirrored: whether the columns are mirrored first.

    Returns:
        Orthogonal matrix (channels, channels), float64.

    Raises:
        ValueError: the group does not hold that element.

    Example:
        >>> act(1, Group(4, mirrors=False), 1, False).round().tolist()
        [[0.0, -1.0], [1.0, 0.0]]
    """
    for turns, mirror, element in _grid_elements(group):
        if (turns, mirror) == (quarter_turns, mirrored):
            return torch.from_numpy(_representation(group, field)(element)).double()
    raise ValueError(
        f"quarter_turns, mirrored: expected an element of {group.name}, "
        f"got {quarter_turns} and {mirrored}."
    )


@lru_cache(maxsize=256)
def kernel_basis(
    group: Group, source: Field, target: Field, kernel_size: int, smooth: bool = False
) -> Tensor:
    """Basis of the kernels between two single fields that commute with the group.

    A kernel is a sum of rings, each with a Gaussian profile and angular frequencies up to two or
    three. Sharp ones, escnn's own choice, have a ring a pixel; sampled on the grid they are a
    little anisotropic at high frequencies. Smooth ones have two broad rings that fade out before
    the kernel's edge, so they hold no high frequencies and look alike at every angle.

    escnn samples its kernels in float32; averaged here over the turns and mirrors that map the
    grid onto itself, in float64, they commute with those to the last digit of float64 too.

    Args:
        group: that the kernels commute with.
        source: field in.
        target: field out.
        kernel_size: odd, in pixels.
        smooth: the second kind.

    Returns:
        Shape (basis, channels out, channels in, kernel_size, kernel_size), float64; shared by
        all that ask for it, so it is not to be written into.

    Example:
        >>> kernel_basis(Group(8, mirrors=False), 0, None, 5).shape
        torch.Size([11, 8, 1, 5, 5])
    """
    space = _space(group)
    in_repr, out_repr = _representation(group, source), _representation(group, target)
    in_type, out_type = (escnn.nn.FieldType(space, [r]) for r in (in_repr, out_repr))
    rings: dict[str, Any] = {}
    if smooth and kernel_size > 1:
        radius = (kernel_size - 1) / 2
        rings = {"rings": [0.0, radius / 2], "sigma": [_SMOOTHNESS * radius] * 2}
    with contextlib.redirect_stdout(io.StringIO()):
        layer = escnn.nn.R2Conv(
            in_type, out_type, kernel_size, bias=False, initialize=False, **rings
        )
    expand = layer.basisexpansion
    with torch.no_grad():
        kernels = torch.stack([expand(one) for one in torch.eye(expand.dimension())])
    shape = (out_type.size, in_type.size, kernel_size, kernel_size)
    sampled = kernels.reshape(-1, *shape).detach().double()
    total = torch.zeros_like(sampled)
    for turns, mirrored, element in _grid_elements(group):
        moved = torch.rot90(sampled.flip(-1) if mirrored else sampled, turns, (-2, -1))
        out_matrix, in_matrix = (torch.from_numpy(r(element)).double() for r in (out_repr, in_repr))
        total += torch.einsum("xo,boikl,yi->bxykl", out_matrix, moved, in_matrix)
    return total / len(list(_grid_elements(group)))


@lru_cache(maxsize=16)
def fourier_samples(mirrors: bool, samples: int = SAMPLES) -> Tensor:
    """Matrix from the coefficients of a Fourier field to the values of its function.

    The function is read at ``samples`` turns (and, with mirrors, at their mirrored ones). The
    columns are orthogonal with squared norm the number of values, so that the transposed matrix
    over that number takes values back to coefficients, and the first coefficient is the mean.

    Args:
        mirrors: O(2), else SO(2).
        samples: number of turns; at least twice the frequency and one.

    Returns:
        Shape (values, channels of the field), float64.

    Example:
        >>> matrix = fourier_samples(False)
        >>> torch.allclose(matrix.T @ matrix / 16, torch.eye(7, dtype=torch.float64))
        True
    """
    group = Group(None, mirrors)
    representation, fibre = _representation(group, None), _space(group).fibergroup
    weights, seen = [], dict[Any, int]()
    for name in representation.irreps:
        # An irrep occurs once for each of its independent columns: the n-th time, the n-th.
        size, nth = fibre.irrep(*name).size, seen.get(name, 0)
        seen[name] = nth + 1
        column = torch.zeros(size, dtype=torch.float64)
        column[nth] = math.sqrt(size)
        weights.append(column)
    unit = torch.from_numpy(representation.change_of_basis).double() @ torch.cat(weights)
    turns = [2 * math.pi * index / samples for index in range(samples)]
    elements = [(m, t) for m in (0, 1) for t in turns] if mirrors else turns
    matrices = [torch.from_numpy(representation(fibre.element(e))).double() for e in elements]
    return torch.stack([matrix @ unit for matrix in matrices])
