"""The control: the same U-Net with as many channels, and no symmetry.

It learns what it can of rotation from turned examples. Every equivariance property of this
project is shown to fail for it; every registration result stands beside it.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn

from equicomir.encoders.steerable import check_architecture
from equicomir.encoders.unet import UNet


def plain(
    in_channels: int = 1,
    representation_channels: int = 1,
    *,
    order: int = 8,
    widths: Sequence[int] = (2, 4, 8),
    kernel_size: int = 5,
    generator: torch.Generator,
) -> UNet:
    """The U-Net of :func:`equicomir.encoders.steerable.steerable` with ordinary convolutions.

    Args:
        in_channels: channels of the image.
        representation_channels: channels of the representation.
        order: channels a field: the network has ``width * order`` channels at each resolution,
            as the steerable one of that order has.
        widths: fields at each resolution, finest first.
        kernel_size: odd, in pixels.
        generator: draws the first weights.

    Returns:
        The encoder: (batch, in_channels, height, width) to
        (batch, representation_channels, height, width).

    Raises:
        ValueError: an argument is outside its range.

    Example:
        >>> encoder = plain(widths=(1, 1), generator=torch.Generator().manual_seed(0))
        >>> encoder(torch.rand(2, 1, 16, 16)).shape
        torch.Size([2, 1, 16, 16])
    """
    check_architecture(in_channels, representation_channels, order, widths, kernel_size)

    def convolution(channels_in: int, channels_out: int, size: int, bias: bool) -> nn.Conv2d:
        layer = nn.Conv2d(
            channels_in, channels_out, size, padding="same", padding_mode="replicate", bias=bias
        )
        with torch.no_grad():
            scale = math.sqrt(2 / (channels_in * size**2))
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * scale)
            if layer.bias is not None:
                layer.bias.zero_()
        return layer

    def block(fields_in: int, fields_out: int) -> nn.Module:
        return nn.Sequential(
            convolution(fields_in * order or in_channels, fields_out * order, kernel_size, False),
            nn.BatchNorm2d(fields_out * order),
            nn.ReLU(inplace=True),
        )

    def mix(fields_in: int, fields_out: int) -> nn.Module:
        return convolution(fields_in * order, fields_out * order, 1, bias=False)

    head = convolution(widths[0] * order, representation_channels, 1, bias=True)
    return UNet(block, mix, head, widths=widths, in_channels=in_channels)
