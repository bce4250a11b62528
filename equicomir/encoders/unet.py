"""The U-Net that every encoder here is: one topology, whose convolutions are passed in.

The steerable encoder and its plain control are this same network with different blocks, so that
what differs between them is the symmetry and nothing else. Going down is a 2 x 2 mean and going
up is bilinear: on heights and widths that are multiples of ``2 ** (levels - 1)`` both commute with
quarter turns exactly (on any other size their grids are not symmetric about the centre, which
costs 14 to 18 % of relative error), so other sizes are refused.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from equicomir.shapes import Images, check_tensor

#: Makes the block from so many fields to so many fields (0 fields in: the image itself).
BlockFactory = Callable[[int, int], nn.Module]


class UNet(nn.Module):
    """Image to representation, same height and width.

    Args:
        block: makes a convolution block from (fields in, fields out).
        mix: makes the pointwise convolution from (fields in, fields out) that prepares coarse
            fields for being added to the finer ones.
        head: the last layer, from ``widths[0]`` fields to the representation.
        widths: number of fields at each resolution, finest first.
        in_channels: channels of the image.
    """

    def __init__(
        self,
        block: BlockFactory,
        mix: BlockFactory,
        head: nn.Module,
        *,
        widths: Sequence[int],
        in_channels: int,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.size_multiple = 2 ** (len(widths) - 1)
        self.stem = block(0, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(block(fine, coarse), block(coarse, coarse))
            for fine, coarse in pairwise(widths)
        )
        rising = list(reversed(list(pairwise(widths))))
        self.lateral = nn.ModuleList(mix(coarse, fine) for fine, coarse in rising)
        self.up = nn.ModuleList(block(fine, fine) for fine, _ in rising)
        self.head = head

    def nearest_valid_size(self, height: int, width: int) -> tuple[int, int]:
        """The valid (height, width) nearest to the given one, rounding up on a tie."""
        m = self.size_multiple
        rows, columns = (max(m, (n + m // 2) // m * m) for n in (height, width))
        return rows, columns

    def forward(self, images: Images) -> Images:
        """Encode images.

        Args:
            images: shape (batch, in_channels, height, width); height and width multiples of
                ``size_multiple``.

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
        if height % self.size_multiple or width % self.size_multiple:
            raise ValueError(
                f"images: expected height and width in multiples of {self.size_multiple}, got "
                f"{height} x {width}; the nearest valid size is "
                "{} x {}.".format(*self.nearest_valid_size(height, width))
            )
        fine = []
        x: Tensor = self.stem(images)
        for blocks in self.down:
            fine.append(x)
            x = blocks(F.avg_pool2d(x, 2))
        for lateral, block in zip(self.lateral, self.up, strict=True):
            x = F.interpolate(lateral(x), scale_factor=2, mode="bilinear", align_corners=False)
            x = block(x + fine.pop())
        representation: Tensor = self.head(x)
        return representation
