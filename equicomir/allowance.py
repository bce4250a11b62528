"""What a model may ask for: a stranger's files are held against it before anything is built.

A few words of a settings file can mean a network that no memory holds, and a header a tensor of
terabytes. What is allowed here is far beyond what has been found useful, and within what a small
machine has.
"""

import hashlib
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Protocol

import safetensors.torch
from torch import Tensor

from equicomir.encoders.encoder import MOST_LEVELS, MOST_VALUES, kernel_values
from equicomir.encoders.groups import parse_group
from equicomir.images.layer_names import layer_of
from equicomir.images.layers import frequencies_of

MOST_LAYERS, MOST_MODALITIES = 64, 64
#: Pixels that the border of a filter may reach.
MOST_REACH = 4096
_HEADER = 2**24  # bytes of a file of weights beside its numbers


class _Settings(Protocol):
    """What of the settings of encoders decides their size."""

    @property
    def group(self) -> str: ...
    @property
    def widths(self) -> tuple[int, ...]: ...
    @property
    def kernel_size(self) -> int: ...
    @property
    def representation_channels(self) -> int: ...
    @property
    def layers(self) -> tuple[str, ...]: ...


def check_size(settings: _Settings, channels: Sequence[int]) -> None:
    """Refuse encoders that together are too large, before anything is built.

    Args:
        settings: of every encoder, such as :class:`equicomir.representations.EncoderSettings`.
        channels: of the images of each modality.

    Raises:
        TypeError, ValueError: they are, or the settings are no numbers.

    Example:
        >>> from equicomir.representations import EncoderSettings
        >>> check_size(EncoderSettings(group="C16", widths=(8, 16, 32)), [1, 3])
        >>> check_size(EncoderSettings(widths=(2, 1000000)), [1, 3])
        Traceback (most recent call last):
        ValueError: widths, kernel_size, group: expected kernels of all modalities of at most \
268435456 numbers, got 3e+15; choose fewer fields.
    """
    sizes = (*settings.widths, settings.kernel_size, settings.representation_channels)
    if any(isinstance(n, bool) or not isinstance(n, Integral) for n in sizes):
        raise TypeError(
            "widths, kernel_size, representation_channels: expected whole numbers, got "
            f"{str(sizes)[:80]}."
        )
    for name, count, most in (
        ("widths", len(settings.widths), MOST_LEVELS),
        ("layers", len(settings.layers), MOST_LAYERS),
        ("modalities", len(channels), MOST_MODALITIES),
    ):
        if count > most:
            raise ValueError(f"{name}: expected at most {most}, got {count}.")
    layers, values = [layer_of(name) for name in settings.layers], 0
    for count in channels:
        seen = sum(1 if frequency == 0 else 2 for frequency in frequencies_of(count, layers))
        values += kernel_values(
            seen,
            settings.representation_channels,
            settings.widths,
            settings.kernel_size,
            parse_group(settings.group).field_size,
        )
    if values > MOST_VALUES:
        raise ValueError(
            "widths, kernel_size, group: expected kernels of all modalities of at most "
            f"{MOST_VALUES} numbers, got {min(values, 10**99):.0e}; choose fewer fields."
        )


def check_reach(name: str, pixels: int) -> None:
    """Refuse a filter that would continue an image further than any image is wide.

    Raises:
        ValueError: it would.
    """
    if pixels > MOST_REACH:
        raise ValueError(
            f"{name}: expected a border of at most {MOST_REACH} pixels, got {pixels}; take a "
            "higher frequency."
        )


def read_weights(path: Path, like: Mapping[str, Tensor], told: object) -> dict[str, Tensor]:
    """The tensors of a file of weights.

    Args:
        path: of the file.
        like: tensors of the same names and types.
        told: the SHA-256 of the file, None where nobody told.

    Returns:
        The tensors by their names.

    Raises:
        OSError, ValueError, LookupError, safetensors.SafetensorError: there is no such file, or
            it is damaged or another one.
    """
    # Before anything is read: a file of weights is not larger than they and a header.
    most = sum(value.numel() * value.element_size() for value in like.values()) + _HEADER
    if path.stat().st_size > most:
        raise ValueError(f"more than {most} bytes")
    content = path.read_bytes()
    if told is not None and told != hashlib.sha256(content).hexdigest():
        raise ValueError(
            "others than settings.json tells the sha256 of; restore both files, or save the model "
            "again"
        )
    tensors: dict[str, Tensor] = safetensors.torch.load(content)
    for name, value in tensors.items():
        if name in like and value.dtype != like[name].dtype:
            raise ValueError(f"{name} of {value.dtype}, not {like[name].dtype}")
    return tensors
