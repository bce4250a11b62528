"""The steerable U-Net built of escnn's own modules, as its examples build networks: the peer.

The same topology, groups, fields and kernel sizes as :func:`equicomir.encoders.steerable.steerable`
with ``parity="even"`` and ``pooling="average"``; so as many weights, and the same convolutions.
What differs is what is compared: here a kernel is expanded by escnn in every training step, and a
field is a ``GeometricTensor``.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from equicomir.e2cnn.engine import escnn
from equicomir.encoders.fields import SAMPLES
from equicomir.encoders.groups import FREQUENCY, parse_group
from equicomir.shapes import Images


class EscnnUNet(nn.Module):
    """Image of one channel to a representation of one channel, by escnn's modules.

    Args:
        group: C_N, D_N, SO(2) or O(2).
        widths: fields at each resolution, finest first.
        kernel_size: odd, in pixels.
        seed: of the first weights, which escnn draws from torch's global generator.

    Example:
        >>> network = EscnnUNet("C4", widths=(1, 1), kernel_size=3)
        >>> x = torch.rand(1, 1, 16, 16)
        >>> turned = torch.rot90(network(x), 1, (2, 3))
        >>> torch.allclose(network(torch.rot90(x, 1, (2, 3))), turned, atol=1e-4)
        True
    """

    def __init__(
        self, group: str, widths: tuple[int, ...] = (2, 4, 8), kernel_size: int = 5, seed: int = 0
    ) -> None:
        super().__init__()
        acting, modules = parse_group(group), escnn.nn
        order = -1 if acting.order is None else acting.order
        make = escnn.gspaces.flipRot2dOnR2 if acting.mirrors else escnn.gspaces.rot2dOnR2
        options = {"maximum_frequency": 2 * FREQUENCY} if acting.order is None else {}
        self.space = make(order, **options)
        self.continuous, self.kernel_size = acting.order is None, kernel_size
        self.scalar = modules.FieldType(self.space, [self.space.trivial_repr])
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem = self._block(0, widths[0])
            self.down = nn.ModuleList(
                modules.SequentialModule(
                    modules.PointwiseAvgPool2D(self._activation(fine).out_type, 2),
                    self._block(fine, coarse),
                    self._block(coarse, coarse),
                )
                for fine, coarse in pairwise(widths)
            )
            rising = list(reversed(list(pairwise(widths))))
            self.lateral = nn.ModuleList(
                modules.SequentialModule(
                    self._convolution(coarse, fine, 1),
                    modules.R2Upsampling(self._activation(fine).out_type, 2, align_corners=False),
                )
                for fine, coarse in rising
            )
            self.up = nn.ModuleList(self._block(fine, fine) for fine, _ in rising)
            last = self._activation(widths[0]).out_type
            self.head = modules.R2Conv(last, self.scalar, 1)

    def _activation(self, fields: int) -> Any:
        """Of so many feature fields; it knows their type."""
        if self.continuous:
            irreps = self.space.fibergroup.bl_irreps(FREQUENCY)
            return escnn.nn.FourierELU(self.space, fields, irreps, N=SAMPLES, inplace=True)
        regular = escnn.nn.FieldType(self.space, [self.space.regular_repr] * fields)
        return escnn.nn.ReLU(regular, inplace=True)

    def _convolution(self, fields_in: int, fields_out: int, size: int) -> Any:
        of = self._activation(fields_in).out_type if fields_in else self.scalar
        to = self._activation(fields_out).in_type
        replicate = {"padding": size // 2, "padding_mode": "replicate"}
        return escnn.nn.R2Conv(of, to, size, bias=False, **replicate)

    def _block(self, fields_in: int, fields_out: int) -> Any:
        """Convolution, normalisation, nonlinearity; 0 fields in are the image."""
        activation = self._activation(fields_out)
        normalise = escnn.nn.IIDBatchNorm2d if self.continuous else escnn.nn.InnerBatchNorm
        convolution = self._convolution(fields_in, fields_out, self.kernel_size)
        return escnn.nn.SequentialModule(convolution, normalise(activation.in_type), activation)

    def forward(self, images: Images) -> Images:
        """(batch, 1, height, width) to likewise."""
        fine, x = [], self.stem(escnn.nn.GeometricTensor(images, self.scalar))
        for down in self.down:
            fine.append(x)
            x = down(x)
        for lateral, block in zip(self.lateral, self.up, strict=True):
            x = block(lateral(x) + fine.pop())
        representation: Tensor = self.head(x).tensor
        return representation
