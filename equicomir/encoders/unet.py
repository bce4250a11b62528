"""The U-Net that most encoders here are: one topology, whose convolutions are passed in.

The steerable encoder, the roto-translation one and their plain control are this same network with
different blocks, so that what differs between them is the symmetry and nothing else. Its grids
must be symmetric about the centre, or quarter turns are wrong by 14 to 18 %. Two schemes are:

- *even*: sizes m * 2^L; an even kernel goes down, so that coarse pixels lie between fine ones;
- *odd*: sizes m * 2^L + 1; an odd kernel goes down and keeps the first and last pixel, and going
  up n pixels become 2n - 1.

Every other size is refused.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equicomir.encoders.encoder import Encoder
from equicomir.encoders.normalisation import BatchNorm3d
from equicomir.shapes import Images

#: Makes the block from so many fields to so many fields (0 fields in: the image itself).
BlockFactory = Callable[[int, int], nn.Module]
Parity = Literal["even", "odd"]
Pooling = Literal["average", "blur"]

#: Weights along one axis on the way down. Binomial ones are nearly Gaussian, so nearly isotropic.
_DOWN: dict[tuple[str, str], tuple[float, ...]] = {
    ("even", "average"): (1, 1),
    ("even", "blur"): (1, 5, 10, 10, 5, 1),
    ("odd", "average"): (1, 1, 1),
    ("odd", "blur"): (1, 6, 15, 20, 15, 6, 1),
}
_SMOOTH = (1, 2, 1)  # after bilinear doubling, where pooling blurs


class Blur(nn.Module):
    """A separable mean with fixed weights, each channel by itself.

    Args:
        taps: weights along one axis; their sum is made one.
        stride: 2 halves the resolution: an even number of taps for even sizes, an odd one for odd.

    Example:
        >>> Blur((1, 2, 1), stride=2)(torch.rand(1, 1, 9, 9)).shape
        torch.Size([1, 1, 5, 5])
    """

    taps: Tensor

    def __init__(self, taps: Sequence[float], *, stride: int = 1) -> None:
        super().__init__()
        weights = torch.tensor(taps) / sum(taps)  # multiples of a power of two, or thirds
        self.register_buffer("taps", weights, persistent=False)
        self.stride, self.padding = stride, (len(taps) - 1) // 2
        self.box = len(set(taps)) == 1 and len(taps) == stride

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width); the border is continued by its last pixel."""
        if self.box:
            return F.avg_pool2d(x, self.stride)
        channels = x.shape[1]
        x = F.pad(x, (self.padding,) * 4, mode="replicate")
        along_rows = self.taps.view(1, 1, -1, 1).expand(channels, -1, -1, -1)
        along_columns = self.taps.view(1, 1, 1, -1).expand(channels, -1, -1, -1)
        x = F.conv2d(x, along_columns, stride=(1, self.stride), groups=channels)
        return F.conv2d(x, along_rows, stride=(self.stride, 1), groups=channels)


class FieldNormalisation(nn.Module):
    """Batch normalisation with one mean, variance, scale and shift a regular field.

    Statistics shared by the channels of a field are what their permutation cannot change.

    Args:
        fields: how many.
        field_size: channels of each.

    Example:
        >>> FieldNormalisation(2, 4)(torch.rand(1, 8, 5, 5)).shape
        torch.Size([1, 8, 5, 5])
    """

    def __init__(self, fields: int, field_size: int) -> None:
        super().__init__()
        self.fields, self.field_size = fields, field_size
        self.norm = BatchNorm3d(fields)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, fields * field_size, height, width)."""
        grouped = x.unflatten(1, (self.fields, self.field_size))
        normalised: Tensor = self.norm(grouped)
        return normalised.flatten(1, 2)


class Residual(nn.Module):
    """What a block makes of its input, added to the input.

    Example:
        >>> Residual(nn.Identity())(torch.ones(2))
        tensor([2., 2.])
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """The sum x + block(x)."""
        made: Tensor = self.block(x)
        return x + made


class UNet(Encoder):
    """Image to representation, same height and width.

    Args:
        block: makes a convolution block from (fields in, fields out).
        mix: makes the pointwise convolution from (fields in, fields out) that prepares coarse
            fields for being added to the finer ones.
        head: the last layer, from ``widths[0]`` fields to the representation.
        widths: number of fields at each resolution, finest first.
        in_channels: channels of the image.
        parity: ``"even"`` or ``"odd"``: the scheme of sizes.
        pooling: ``"average"`` (a box: the cheapest) or ``"blur"`` (binomial, both down and up).
        residual: add to each block between equal widths its input.

    Raises:
        ValueError: ``parity`` or ``pooling`` is none of these.

    Source:
        Ronneberger, Fischer and Brox, U-Net, 2015, arXiv 1505.04597; but fields are added on the
        way up, not put side by side.
    """

    def __init__(
        self,
        block: BlockFactory,
        mix: BlockFactory,
        head: nn.Module,
        *,
        widths: Sequence[int],
        in_channels: int,
        parity: Parity = "even",
        pooling: Pooling = "average",
        residual: bool = False,
    ) -> None:
        for name, value, known in (
            ("parity", parity, ("even", "odd")),
            ("pooling", pooling, ("average", "blur")),
        ):
            if value not in known:
                raise ValueError(f"{name}: expected {known[0]!r} or {known[1]!r}, got {value!r}.")
        super().__init__(
            in_channels, size_multiple=2 ** (len(widths) - 1), size_offset=int(parity == "odd")
        )

        def same(width: int) -> nn.Module:
            return Residual(block(width, width)) if residual else block(width, width)

        self.stem = block(0, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(Blur(_DOWN[parity, pooling], stride=2), block(fine, coarse), same(coarse))
            for fine, coarse in pairwise(widths)
        )
        rising = list(reversed(list(pairwise(widths))))
        self.lateral = nn.ModuleList(mix(coarse, fine) for fine, coarse in rising)
        self.up = nn.ModuleList(same(fine) for fine, _ in rising)
        self.smooth = Blur(_SMOOTH) if pooling == "blur" else nn.Identity()
        self.head = head

    def represent(self, images: Images) -> Images:
        """What :meth:`forward` does once the images are known to be valid."""
        fine = []
        x: Tensor = self.stem(images)
        for down in self.down:
            fine.append(x)
            x = down(x)
        for lateral, block in zip(self.lateral, self.up, strict=True):
            x = self.smooth(self._double(lateral(x)))
            x = block(x + fine.pop())
        representation: Tensor = self.head(x)
        return representation

    def _double(self, x: Tensor) -> Tensor:
        """To twice the resolution, bilinearly, on this encoder's grid."""
        if not self.size_offset:
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        height, width = x.shape[-2:]
        size = (2 * height - 1, 2 * width - 1)
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
