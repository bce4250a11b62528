"""The control: the same U-Net with as many channels, and no symmetry.

It learns what it can of rotation from turned examples. Every equivariance property of this
project is shown to fail for it; every registration result stands beside it.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn

from equicomir.encoders.encoder import check_architecture
from equicomir.encoders.groups import parse_group
from equicomir.encoders.normalisation import BatchNorm2d
from equicomir.encoders.unet import Parity, Pooling, UNet


def plain(
    in_channels: int = 1,
    representation_channels: int = 1,
    *,
    group: str = "C8",
    widths: Sequence[int] = (2, 4, 8),
    kernel_size: int = 5,
    parity: Parity = "even",
    pooling: Pooling = "average",
    residual: bool = False,
    generator: torch.Generator,
) -> UNet:
    """The U-Net of :func:`equicomir.encoders.steerable.steerable` with ordinary convolutions.

    Args:
        in_channels: channels of the image.
        representation_channels: channels of the representation.
        group: its field's size is the number of channels a field here: at each resolution the
            network has as many channels as the steerable one of that group.
        widths: fields at each resolution, finest first.
        kernel_size: odd, in pixels.
        parity: ``"even"`` or ``"odd"``, as there.
        pooling: ``"average"`` or ``"blur"``, as there.
        residual: as there.
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
    size = parse_group(group).field_size
    check_architecture(in_channels, representation_channels, widths, kernel_size, size)

    def convolution(channels_in: int, channels_out: int, taps: int, bias: bool) -> nn.Conv2d:
        layer = nn.Conv2d(
            channels_in, channels_out, taps, padding="same", padding_mode="replicate", bias=bias
        )
        with torch.no_grad():
            scale = math.sqrt(2 / (channels_in * taps**2))
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * scale)
            if layer.bias is not None:
                layer.bias.zero_()
        return layer

    def block(fields_in: int, fields_out: int) -> nn.Module:
        return nn.Sequential(
            convolution(fields_in * size or in_channels, fields_out * size, kernel_size, False),
            BatchNorm2d(fields_out * size),
            nn.ReLU(inplace=True),
        )

    def mix(fields_in: int, fields_out: int) -> nn.Module:
        return convolution(fields_in * size, fields_out * size, 1, bias=False)

    head = convolution(widths[0] * size, representation_channels, 1, bias=True)
    return UNet(
        block,
        mix,
        head,
        widths=widths,
        in_channels=in_channels,
        parity=parity,
        pooling=pooling,
        residual=residual,
    )
