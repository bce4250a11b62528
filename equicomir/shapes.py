"""Each tensor shape named once, and the one shape check behind every public door.

The names are jaxtyping annotations: a signature that says ``Images`` says
``(batch, channels, height, width)`` to a reader, to ``help()`` and to a type checker alike.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

Image = Float[Tensor, "channels height width"]
Images = Float[Tensor, "batch channels height width"]
Stack = Float[Tensor, "modalities batch channels height width"]
Mask = Bool[Tensor, "height width"]
Matrices = Float[Tensor, "batch 3 3"]
Scores = Float[Tensor, "rows columns"]

#: One image as plain NumPy: ``(height, width)`` or ``(channels, height, width)``.
Array = np.ndarray[tuple[int, ...], np.dtype[np.floating[Any]]]
#: A mask as plain NumPy, ``(height, width)``, true where the image is defined.
ArrayMask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
#: A transform of the plane, ``(3, 3)``, acting on homogeneous (row, column, 1) coordinates.
Matrix = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
#: Points of the plane, ``(n, 2)``, as (row, column).
Points = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def check_tensor(name: str, value: object, shape: str, *, channels: int | None = None) -> Tensor:
    """Refuse what is not a floating tensor of the given axes.

    Args:
        name: the argument's name, for the message.
        value: what came.
        shape: the axes expected, as words, e.g. ``"batch channels height width"``.
        channels: number of channels expected on the axis ``channels``, or None for any.

    Returns:
        The value itself, now known to be a tensor.

    Raises:
        TypeError: it is no tensor, or not of a floating type.
        ValueError: the number of axes, the number of channels or an empty axis is wrong.

    Example:
        >>> import torch
        >>> x = torch.zeros(2, 1, 8, 8)
        >>> check_tensor("images", x, "batch channels height width", channels=1) is x
        True
    """
    axes = shape.split()
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a torch tensor ({shape}), got {type(value).__name__}.")
    if not value.is_floating_point():
        raise TypeError(
            f"{name}: expected a floating type such as torch.float32, got {value.dtype}; "
            f"convert it with .float()."
        )
    if value.ndim != len(axes):
        raise ValueError(
            f"{name}: expected {len(axes)} axes ({shape}), got shape {tuple(value.shape)}."
        )
    if 0 in value.shape:
        raise ValueError(f"{name}: expected no empty axis, got shape {tuple(value.shape)}.")
    if channels is not None and value.shape[axes.index("channels")] != channels:
        came = value.shape[axes.index("channels")]
        raise ValueError(f"{name}: expected {channels} channels, got {came}.")
    return value


def check_array(name: str, value: object) -> Array:
    """Refuse what is not a finite image array; give it back as ``(channels, height, width)``.

    Args:
        name: the argument's name, for the message.
        value: an array ``(height, width)`` or ``(channels, height, width)``, any real type.

    Returns:
        The array as float64 ``(channels, height, width)``.

    Raises:
        TypeError: it is no NumPy array of real numbers.
        ValueError: the number of axes is wrong, an axis is empty, or a value is not finite.

    Example:
        >>> check_array("fixed", np.ones((4, 5), dtype=np.uint8)).shape
        (1, 4, 5)
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        came = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{name}: expected a NumPy array of real numbers, got {came}.")
    if value.ndim not in (2, 3) or 0 in value.shape:
        raise ValueError(
            f"{name}: expected (height, width) or (channels, height, width), "
            f"got shape {value.shape}."
        )
    array: Array = value.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity; mask them out.")
    return array if array.ndim == 3 else array[None]
