"""What is measured as something grows: each series makes an act of a size, a number, a width.

Images are noise blurred by two widths, so that a pixel is as rich at every size; the moving image
of a registration is the fixed one turned and shifted, since it is the time that is asked for. An
untrained encoder takes as long as a trained one.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from timing import Act

from equicomir.geometry import image_centre, rigid, warp_image
from equicomir.images.intensities import Scaling
from equicomir.losses.contrastive import info_nce
from equicomir.registration import distance, features, information, search
from equicomir.registration.alignment import Alignment
from equicomir.representations import EncoderSettings, Representations
from equicomir.shapes import Array
from equicomir.tiles import encode
from equicomir.training.settings import TrainingSettings
from equicomir.training.start import objective

Register = Callable[[Array, Array], Alignment]


class Series(NamedTuple):
    """One thing that is measured.

    Attributes:
        of: what grows: size (height and width, pixels), modalities, batch, channels or order.
        make: the act at one value.
        values: that are measured.
        quick: values that are tried in seconds.
    """

    of: str
    make: Callable[[int], Act]
    values: tuple[int, ...]
    quick: tuple[int, ...]


def blurred_noise(size: int) -> Array:
    """A picture with something on every scale up to some pixels: (size, size), float32."""
    noise = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    fine = ndimage.gaussian_filter(noise, 2)
    return np.asarray(fine + 3 * ndimage.gaussian_filter(noise, 6))


def pair(size: int) -> tuple[Array, Array]:
    """A picture, and the same turned by 33 degrees and shifted, with real context."""
    room = size + size // 2
    whole = torch.from_numpy(blurred_noise(room))[None, None].double()
    corner = rigid(0, ((room - size) / 2, (room - size) / 2))
    turn = rigid(33, (0.04 * size, -0.03 * size), centre=image_centre(size, size))
    fixed, _ = warp_image(whole, corner, size=(size, size))
    moving, _ = warp_image(whole, corner @ turn, size=(size, size))
    return fixed[0].numpy(), moving[0].numpy()


def registration(register: Register, size: int) -> Act:
    """One pair, registered; what finds nothing has not done the work, and is refused.

    Args:
        register: the method.
        size: height and width of both images, in pixels.
    """
    fixed, moving = pair(size)

    def run() -> None:
        failure = register(fixed, moving).failure
        if failure:
            raise ValueError(f"size: expected an alignment at {size} px, got: {failure}.")

    return run


def encoding(size: int, *, tiled: bool) -> Act:
    """One image through the default encoder, at once or by tiles of the default size."""
    model = model_of(1, EncoderSettings()).eval()
    image = torch.from_numpy(blurred_noise(size))[None, None]
    if tiled:
        return lambda: encode(model, "0", image)
    return lambda: model.encode("0", image)


def model_of(modalities: int, settings: EncoderSettings) -> Representations:
    """An untrained model of so many modalities of one channel."""
    scalings = {str(number): Scaling((0.0,), (1.0,)) for number in range(modalities)}
    return Representations(scalings, settings, generator=torch.Generator().manual_seed(0))


def step(*, modalities: int = 2, batch: int = 0, encoder: EncoderSettings | None = None) -> Act:
    """A training step as training does it, without cutting patches.

    Args:
        modalities: encoded together.
        batch: scenes; 0 for as many as training takes by default.
        encoder: of each modality; the default one if None.
    """
    settings = TrainingSettings()
    model, loss = model_of(modalities, encoder or EncoderSettings()), objective(settings)
    shape = (batch or settings.batch, 1, settings.patch_size, settings.patch_size)
    generator = torch.Generator().manual_seed(0)
    patches = [torch.randn(shape, generator=generator) for _ in range(modalities)]
    optimiser = torch.optim.Adam(model.parameters())

    def run() -> None:
        value = loss(model(patches))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()

    return run


def loss_alone(*, modalities: int = 2, batch: int = 32, size: int = 128) -> Act:
    """InfoNCE of representations of one channel, forward and backward."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(modalities, batch, 1, size, size, generator=generator).requires_grad_()

    def run() -> None:
        y.grad = None
        info_nce(y).backward()

    return run


def with_fields(first: int, group: str = "C8") -> EncoderSettings:
    """The default encoder with so many fields at full resolution."""
    return replace(EncoderSettings(), group=group, widths=(first, 2 * first, 4 * first))


_SIZES, _FEW = (256, 512, 1024, 2048, 4096, 8192), (48, 64)
SERIES = {
    "encode": Series("size", partial(encoding, tiled=False), _SIZES, _FEW),
    "encode_by_tiles": Series("size", partial(encoding, tiled=True), _SIZES[1:], _FEW),
    "search": Series("size", partial(registration, search.register), _SIZES, _FEW),
    "information": Series("size", partial(registration, information.register), _SIZES, _FEW),
    "distance": Series("size", partial(registration, distance.register), _SIZES, _FEW),
    "features": Series("size", partial(registration, features.register), _SIZES, (192, 256)),
    "step_modalities": Series("modalities", lambda m: step(modalities=m), (2, 3, 4), (2, 3)),
    "loss_modalities": Series("modalities", lambda m: loss_alone(modalities=m), (2, 3, 4), (2, 3)),
    "step_batch": Series("batch", lambda b: step(batch=b), (6, 12, 24, 48, 96), (2, 3)),
    "loss_batch": Series("batch", lambda b: loss_alone(batch=b), (16, 32, 64, 128, 256), (2, 3)),
    "step_channels": Series(
        "channels", lambda c: step(encoder=with_fields(c // 8)), (8, 16, 32, 64), (8, 16)
    ),
    "step_order": Series(
        "order", lambda n: step(encoder=with_fields(2, f"C{n}")), (1, 2, 4, 8, 16), (1, 2)
    ),
    "step_order_same_channels": Series(
        "order", lambda n: step(encoder=with_fields(16 // n, f"C{n}")), (1, 2, 4, 8, 16), (8, 16)
    ),
}
