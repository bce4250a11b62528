"""Big images by tiles: the representation that the whole image would get, in bounded memory.

A slide of 20 000 x 20 000 pixels goes through no network at once. A pixel of a representation
depends on the image no further away than the encoder's *reach*, so it is enough that a window
holds that much around it. Seams vanish if three things agree with the whole image:

- *overlap*: two neighbouring windows share twice the reach, and each answers for its half;
- *grid*: a window begins at a multiple of the coarsest resolution's pixel, counted from where the
  whole image, continued to a valid size, begins;
- *border*: a window ends where the continued image ends, so that what the network itself
  continues at its border is continued in the same place.

Then tiles and the whole differ by rounding, at the border too. Extra input layers
(:mod:`equicomir.images.layers`) that stand on a filter have a kernel that never quite ends: they
are given twice their reach, and :func:`encode` says what is left.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import torch

from equicomir.images.opened import ImageFile
from equicomir.representations import Representations
from equicomir.shapes import Array, Images, check_tensor
from equicomir.windows import Strip, checked_tile, strips

#: First and past the last, in pixels.
Span = tuple[int, int]
#: From rows and columns to that part of the image, (batch, channels, rows, columns).
Read = Callable[[Span, Span], Images]
#: Where in the image, rows and columns, and its representation.
Piece = tuple[slice, slice, Images]


def encode(
    model: Representations, modality: str, images: Images, *, tile: int | None = None
) -> Images:
    """What ``model.encode(modality, images)`` gives, window after window.

    Equal to rounding (1e-5 of about one, in float32), border included. Extra layers without a
    filter (``structure_field``, ``local_entropy``) leave it so. A filter's kernel never quite
    ends: windows give it twice its reach, and it sees a trace of their far ends where it would
    see one of the image's. With the other layers as they are by default the difference is below
    1e-5 of the representation's standard deviation inside, and 1e-3 within
    :func:`equicomir.windows.overlap` of the image's border. Narrower blurs leave more: inside
    1e-3 for ``gradient_field(1.0)``, 1e-2 for ``laplacian(0.3)``. In ``edge_distance`` such a
    trace may carry a pixel over the threshold, rarely, and then the difference is there as great
    as an edge makes it.

    Args:
        model: may be on another device than the images: windows are taken there.
        modality: whose encoder to use.
        images: shape (batch, channels, height, width), in the instrument's own units.
        tile: greatest height and width of what goes through the network at once, in pixels,
            overlap included: memory grows as its square. If None,
            :func:`equicomir.windows.default_tile`.

    Returns:
        Shape (batch, representation channels, height, width), on the images' device.

    Raises:
        TypeError: not a floating tensor, not the model's type, or ``tile`` no whole number.
        ValueError: unknown modality, another number of channels than in training, a ``tile``
            that is too small, or an encoder without a short reach.

    Example:
        >>> from equicomir.images.intensities import Scaling
        >>> rng = torch.Generator().manual_seed(0)
        >>> model = Representations({"T1": Scaling((0.0,), (1.0,))}, generator=rng)
        >>> x = torch.rand(1, 1, 150, 201)
        >>> whole = model.encode("T1", x)
        >>> torch.allclose(encode(model, "T1", x, tile=100), whole, atol=1e-5)
        True
    """
    check_tensor("images", images, "batch channels height width")
    batch, _, height, width = images.shape
    channels = model.settings.representation_channels
    whole = images.new_empty(batch, channels, height, width)

    def read(rows: Span, columns: Span) -> Images:
        return images[..., slice(*rows), slice(*columns)]

    for rows, columns, piece in pieces(model, modality, read, (height, width), tile=tile):
        whole[..., rows, columns] = piece
    return whole


def encode_file(
    model: Representations,
    modality: str,
    image: ImageFile,
    into: Array,
    *,
    level: int = 0,
    tile: int | None = None,
) -> None:
    """Encode an image that is read by windows, into an array that may be mapped to a file.

    Neither image nor representation is held: memory is that of one window. (What is written into
    a mapped file counts as resident until the system has put it away.)

    Args:
        model: windows are taken to its device and type.
        modality: whose encoder to use.
        image: as :func:`equicomir.images.files.open_image` gives it; every pixel defined.
        into: shape (representation channels, height, width), floating, is written into:
            ``np.lib.format.open_memmap`` makes one that is a file.
        level: of the image's pyramid, 0 the finest.
        tile: as for :func:`encode`.

    Raises:
        TypeError: ``into`` is no floating NumPy array, or ``tile`` no whole number.
        ValueError: as for :func:`encode`; a level or pixels that the file does not have; an
            ``into`` of another shape, or that cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from equicomir.images.files import open_image
        >>> from equicomir.images.intensities import Scaling
        >>> rng = torch.Generator().manual_seed(0)
        >>> model = Representations({"T1": Scaling((0.0,), (255.0,))}, generator=rng)
        >>> folder = Path(tempfile.mkdtemp())
        >>> np.save(folder / "slide.npy", (np.arange(150 * 201) % 251).reshape(150, 201))
        >>> slide = open_image(folder / "slide.npy")
        >>> written = np.lib.format.open_memmap(
        ...     folder / "representation.npy", "w+", np.float32, (1, 150, 201)
        ... )
        >>> encode_file(model, "T1", slide, written, tile=100)
        >>> whole = model.encode("T1", slide.read()[None])[0].numpy()
        >>> bool(np.allclose(np.load(folder / "representation.npy"), whole, atol=1e-5))
        True
    """
    model.encoder(modality)  # known, or refused before anything else
    expected = len(model.scalings[modality].low)
    if image.shape[0] != expected:
        raise ValueError(
            f"{image.path}: expected {expected} channels, as {modality!r} had in training, got "
            f"{image.shape[0]}; choose an image of that kind."
        )
    if not 0 <= level < len(image.level_sizes):
        raise ValueError(
            f"{image.path}: expected a level from 0 to {len(image.level_sizes) - 1}, got {level}."
        )
    height, width = image.level_sizes[level]
    _check_into(into, (model.settings.representation_channels, height, width))
    dtype = next(model.parameters()).dtype

    def read(rows: Span, columns: Span) -> Images:
        return image.read(level, rows=rows, columns=columns).to(dtype)[None]

    for rows, columns, piece in pieces(model, modality, read, (height, width), tile=tile):
        into[:, rows, columns] = piece[0].cpu().numpy()


def pieces(
    model: Representations, modality: str, read: Read, size: Span, *, tile: int | None = None
) -> Iterator[Piece]:
    """Representations of the pieces of an image, to be put wherever the caller wants.

    Args:
        model: as for :func:`encode`.
        modality: whose encoder to use.
        read: gives any part of the image; called once a window, row of windows after row.
        size: (height, width) of the image.
        tile: as for :func:`encode`.

    Returns:
        An iterator over rows, columns and representation (batch, representation channels, rows,
        columns), on the model's device. Each pixel of the image is in one of them.

    Raises:
        TypeError, ValueError: as for :func:`encode`; of modality, tile and kind of encoder before
            anything is read.

    Example:
        >>> from equicomir.images.intensities import Scaling
        >>> rng = torch.Generator().manual_seed(0)
        >>> model = Representations({"T1": Scaling((0.0,), (1.0,))}, generator=rng)
        >>> def noise(rows, columns):
        ...     return torch.rand(1, 1, rows[1] - rows[0], columns[1] - columns[0])
        >>> [columns for _, columns, _ in pieces(model, "T1", noise, (8, 200), tile=124)]
        [slice(0, 84, None), slice(84, 128, None), slice(128, 200, None)]
    """
    network, settings = model.encoder(modality), model.settings
    tile = checked_tile(tile, settings)
    padded = network.valid_size_around(*size)
    # As ``Representations.encode`` continues the whole image: the grid begins there.
    origin = [(p - n) // 2 for p, n in zip(padded, size, strict=True)]
    axes = [strips(extent, tile, settings) for extent in padded]
    device = next(network.parameters()).device

    def encoded(window: tuple[Strip, ...]) -> Piece:
        inside, padding, where, keep = [], [], [], []
        for axis, begin, extent in zip(window, origin, size, strict=True):
            first, past = max(axis.start - begin, 0), min(axis.stop - begin, extent)
            inside.append((first, past))
            padding.append((first + begin - axis.start, axis.stop - begin - past))
            first, past = max(axis.first - begin, 0), min(axis.past - begin, extent)
            where.append(slice(first, past))
            keep.append(slice(first + begin - axis.start, past + begin - axis.start))
        pixels = read(*inside).to(device)
        (top, bottom), (left, right) = padding
        pixels = torch.nn.functional.pad(pixels, (left, right, top, bottom), mode="replicate")
        representation = model.encode(modality, pixels)  # valid, so continued no further
        return where[0], where[1], representation[..., keep[0], keep[1]]

    return map(encoded, product(*axes))


def _check_into(into: Any, shape: tuple[int, int, int]) -> None:
    if not isinstance(into, np.ndarray) or into.dtype.kind != "f":
        came = into.dtype if isinstance(into, np.ndarray) else type(into).__name__
        raise TypeError(f"into: expected a NumPy array of floats, got {came}.")
    if into.shape != shape:
        raise ValueError(
            f"into: expected the shape {shape}, channels of the representation and size of the "
            f"image, got {into.shape}."
        )
    if not into.flags.writeable:
        raise ValueError("into: expected an array that can be written, got one that is read-only.")
