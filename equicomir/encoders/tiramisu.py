"""The dense U-Net of CoMIR ("Tiramisu"): the published baseline, with no symmetry.

Jégou et al., The one hundred layers Tiramisu, CVPR Workshops 2017, arXiv 1611.09326, in the
configuration of Pielawski, Wetzer et al., NeurIPS 2020, arXiv 2006.06325. Six dense blocks of
four layers go down and six go up, so sizes are multiples of 64.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equicomir.encoders.encoder import MOST_VALUES, Encoder
from equicomir.encoders.normalisation import BatchNorm2d
from equicomir.shapes import Images

_FIRST, _GROWTH, _LAYERS, _LEVELS = 32, 12, 4, 6
_COMPRESSION, _DROPOUT = 0.75, 0.2


class DenseBlock(nn.Module):
    """Layers each of which sees what came in and what every layer before it made.

    Args:
        channels: of the input.
        keep_input: whether the input is part of the output; on the way up it is not, or channels
            would grow from block to block.

    Source:
        Jégou et al., The one hundred layers Tiramisu, 2017, arXiv 1611.09326; as in CoMIR,
        arXiv 2006.06325.
    """

    def __init__(self, channels: int, *, keep_input: bool) -> None:
        super().__init__()
        self.keep_input = keep_input
        self.layers = nn.ModuleList(
            nn.Sequential(
                BatchNorm2d(channels + index * _GROWTH),
                nn.ReLU(),
                nn.Conv2d(channels + index * _GROWTH, _GROWTH, 3, padding=1),
                nn.Dropout(_DROPOUT),
            )
            for index in range(_LAYERS)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width); 48 channels more, or 48 alone."""
        known = [x]
        for layer in self.layers:
            known.append(layer(torch.cat(known, dim=1)))
        return torch.cat(known if self.keep_input else known[1:], dim=1)


class Tiramisu(Encoder):
    """The network; see :func:`tiramisu`.

    Args:
        in_channels: of the image.
        representation_channels: of the representation.

    Source:
        Jégou et al., The one hundred layers Tiramisu, 2017, arXiv 1611.09326; as in CoMIR,
        arXiv 2006.06325.
    """

    def __init__(self, in_channels: int, representation_channels: int) -> None:
        super().__init__(in_channels, size_multiple=2**_LEVELS)
        self.first = nn.Conv2d(in_channels, _FIRST, 3, padding=1)
        channels, skipped = _FIRST, []
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        made = _LAYERS * _GROWTH
        for _ in range(_LEVELS):
            self.down.append(DenseBlock(channels, keep_input=True))
            channels += made
            skipped.append(channels)
            kept = int(channels * _COMPRESSION)
            self.shrink.append(
                nn.Sequential(
                    BatchNorm2d(channels),
                    nn.ReLU(),
                    nn.Conv2d(channels, kept, 1),
                    nn.Dropout2d(_DROPOUT),
                    nn.MaxPool2d(2),
                )
            )
            channels = kept
        self.bottleneck = DenseBlock(channels, keep_input=False)
        self.grow, self.up = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(_LEVELS)):
            self.grow.append(nn.Sequential(nn.Conv2d(made, made, 3, padding=1), nn.ReLU()))
            self.up.append(DenseBlock(made + skipped[level], keep_input=level == 0))
        self.head = nn.Conv2d(2 * made + skipped[0], representation_channels, 1, bias=False)

    def represent(self, images: Images) -> Images:
        """What :meth:`forward` does once the images are known to be valid."""
        x: Tensor = self.first(images)
        skipped = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            skipped.append(block(x))
            x = shrink(skipped[-1])
        x = self.bottleneck(x)
        for grow, block in zip(self.grow, self.up, strict=True):
            x = grow(F.interpolate(x, scale_factor=2, mode="nearest"))
            x = block(torch.cat([skipped.pop(), x], dim=1))
        representation: Tensor = self.head(x)
        return representation


def tiramisu(
    in_channels: int = 1, representation_channels: int = 1, *, generator: torch.Generator
) -> Tiramisu:
    """The dense U-Net that CoMIR used.

    32 first filters, growth 12, blocks of 4 layers (6 down, a bottleneck, 6 up), compression
    0.75, dropout 0.2, a pointwise end without bias.

    Args:
        in_channels: of the image.
        representation_channels: of the representation.
        generator: draws the first weights, by He's rule.

    Returns:
        The encoder: (batch, in_channels, height, width), height and width multiples of 64, to
        (batch, representation_channels, height, width).

    Raises:
        ValueError: a number of channels below one.

    Example:
        The published number of parameters says that it is the same network.

        >>> encoder = tiramisu(generator=torch.Generator().manual_seed(0))
        >>> sum(parameter.numel() for parameter in encoder.parameters())
        1053244
    """
    if min(in_channels, representation_channels) < 1:
        raise ValueError(
            "in_channels, representation_channels: expected at least 1 each, got "
            f"{in_channels} and {representation_channels}."
        )
    if max(in_channels, representation_channels) > MOST_VALUES // 2**12:
        raise ValueError(
            f"in_channels, representation_channels: expected at most {MOST_VALUES // 2**12} each, "
            f"got {in_channels} and {representation_channels}."
        )
    network = Tiramisu(in_channels, representation_channels)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                scale = math.sqrt(2 / layer.weight[0].numel())
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * scale)
                if layer.bias is not None:
                    layer.bias.zero_()
    return network
