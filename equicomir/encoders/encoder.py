"""The one door of every encoder: (batch, channels, height, width) in, a representation out."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from equicomir.shapes import Images, check_tensor

#: Numbers in all kernels of a model, expanded, and in their bases: 1 GiB of float32.
#: Nothing larger is built, whatever a file asks for.
MOST_VALUES = 2**28
MOST_LEVELS = 16  # of resolution: an image has no more


class Encoder(nn.Module):
    """Image to representation, same height and width.

    Args:
        in_channels: channels of the image.
        size_multiple: valid heights and widths are multiples of this, plus ``size_offset``.
        size_offset: 0, or 1 where the grids of all resolutions keep their first and last pixel.
        least_size: smallest valid height and width.

    Example:
        >>> odd = Encoder(1, size_multiple=4, size_offset=1)
        >>> odd.nearest_valid_size(32, 36), odd.least_size
        ((33, 37), 5)
    """

    def __init__(
        self, in_channels: int, *, size_multiple: int, size_offset: int = 0, least_size: int = 0
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.size_multiple = size_multiple
        self.size_offset = size_offset
        self.least_size = least_size or size_multiple + size_offset

    def nearest_valid_size(self, height: int, width: int) -> tuple[int, int]:
        """The valid (height, width) nearest to the given one, rounding up on a tie.

        Args:
            height: in pixels.
            width: likewise.

        Returns:
            Height and width that :meth:`forward` takes.
        """
        m, offset = self.size_multiple, self.size_offset
        rows, columns = (
            max(self.least_size, (n - offset + m // 2) // m * m + offset) for n in (height, width)
        )
        return rows, columns

    def valid_size_around(self, height: int, width: int) -> tuple[int, int]:
        """The smallest valid (height, width) that holds the given one.

        Args:
            height: in pixels.
            width: likewise.

        Returns:
            Height and width that :meth:`forward` takes, neither smaller than asked for.

        Example:
            >>> Encoder(1, size_multiple=4, size_offset=1).valid_size_around(32, 33)
            (33, 33)
        """
        m, offset = self.size_multiple, self.size_offset
        rows, columns = (max(self.least_size, n + -(n - offset) % m) for n in (height, width))
        return rows, columns

    def represent(self, images: Images) -> Images:
        """What :meth:`forward` does once the images are known to be valid."""
        raise NotImplementedError

    def forward(self, images: Images) -> Images:
        """Encode images.

        Args:
            images: shape (batch, in_channels, height, width), of a valid size and the type of
                the parameters.

        Returns:
            Shape (batch, representation channels, height, width).

        Raises:
            TypeError: not a floating tensor, or not of the parameters' type.
            ValueError: wrong axes, channels or size; the nearest valid size is named.
        """
        check_tensor("images", images, "batch channels height width", channels=self.in_channels)
        expected = next(self.parameters()).dtype
        if images.dtype != expected:
            raise TypeError(f"images: expected {expected}, the encoder's own, got {images.dtype}.")
        height, width = images.shape[-2:]
        if self.valid_size_around(height, width) != (height, width):
            plus = f" plus {self.size_offset}" if self.size_offset else ""
            raise ValueError(
                f"images: expected height and width in multiples of {self.size_multiple}{plus}, "
                f"got {height} x {width}; the nearest valid size is "
                "{} x {}.".format(*self.nearest_valid_size(height, width))
            )
        return self.represent(images)


def check_architecture(
    in_channels: int,
    representation_channels: int,
    widths: Sequence[int],
    kernel_size: int,
    field_size: int,
) -> None:
    """Refuse an impossible architecture, or one too large, naming the argument.

    Args:
        in_channels: of the image, at least 1.
        representation_channels: likewise.
        widths: one positive number a level.
        kernel_size: odd.
        field_size: channels of a feature field.

    Raises:
        ValueError: one of them is not, or together they are too large.

    Example:
        >>> check_architecture(1, 1, (2, 4), 4, 8)
        Traceback (most recent call last):
        ValueError: kernel_size: expected an odd number, got 4; the nearest is 5.
    """
    if min(in_channels, representation_channels) < 1:
        raise ValueError(
            "in_channels, representation_channels: expected at least 1 each, got "
            f"{in_channels} and {representation_channels}."
        )
    if not 1 <= len(widths) <= MOST_LEVELS or min(widths) < 1:
        raise ValueError(
            f"widths: expected one positive number a level, of 1 to {MOST_LEVELS} levels, got "
            f"{str(tuple(widths))[:80]}."
        )
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(
            f"kernel_size: expected an odd number, got {kernel_size}; "
            f"the nearest is {abs(kernel_size) + 1}."
        )
    values = kernel_values(in_channels, representation_channels, widths, kernel_size, field_size)
    if values > MOST_VALUES:
        raise ValueError(
            f"widths, kernel_size, group: expected kernels of at most {MOST_VALUES} numbers, got "
            f"{min(values, 10**99):.0e}; choose fewer fields or smaller kernels."
        )


def kernel_values(
    in_channels: int,
    representation_channels: int,
    widths: Sequence[int],
    kernel_size: int,
    field_size: int,
) -> int:
    """How many numbers the kernels of a U-Net and their bases hold, without building it.

    A basis of kernels between two fields is counted with (taps + 3) / 2 elements for each channel
    of a field, which no group of escnn's exceeds; each convolution between fields keeps its own.

    Args:
        in_channels: of the image.
        representation_channels: of the representation.
        widths: fields at each resolution.
        kernel_size: in pixels.
        field_size: channels of a feature field.

    Returns:
        Their number, at most; biases and statistics are not counted.

    Example:
        >>> kernel_values(1, 1, (1, 1), 3, field_size=4)
        11680
    """
    channels, taps = [width * field_size for width in widths], kernel_size**2
    steps = list(pairwise(channels))
    down = sum(fine * coarse * taps + coarse * coarse * taps for fine, coarse in steps)
    up = sum(coarse * fine + fine * fine * taps for fine, coarse in steps)
    ends = in_channels * channels[0] * taps + channels[0] * representation_channels
    between = field_size * (taps + 3) // 2 * field_size**2 * taps + 2 * field_size**3
    of_ends = in_channels * (taps + 3) * field_size * taps + 2 * field_size
    return ends + down + up + 3 * len(steps) * between + of_ends
