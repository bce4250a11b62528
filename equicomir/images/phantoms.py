"""Phantoms: scenes of known truth, as many as wanted, seen by several modalities at any angle.

A scene is *described* once, in the plane and not on pixels: as round Gaussian blobs, a few
thousand of them strung along fibres and vessels or clustered into cells, each of a material.
Rendering evaluates that description at the pixels of an image wherever the image lies: so a
turned or moved view has true context and is not interpolated, and its transform is the truth
that a registration is to find::

    scene = cells((256, 256), generator=generator)
    fixed = render(scene, BRIGHTFIELD, (256, 256))
    moving = render(scene, FLUORESCENCE, (256, 256), moving_to_fixed)

What :func:`render` gives is what an ideal camera would see; calling the modality on it adds
shading and noise: ``FLUORESCENCE(moving, generator=generator)``.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir.geometry import corners, transform_points
from equicomir.images.instruments import Materials, Modality
from equicomir.images.pairs import Scene
from equicomir.images.tissues import Description, Kind
from equicomir.shapes import Image, Matrix

_TILE = 48  # pixels
_SIGHT = 6.5  # standard deviations from which a blob is seen: beyond it is less than 1e-9
_BLOBS = {"collagen", "nuclei", "cytoplasm", "vessels", "grain"}


def phantom(
    kind: Kind,
    size: tuple[int, int],
    modalities: Sequence[Modality],
    *,
    generator: torch.Generator,
) -> Scene:
    """A new scene of known truth, seen by several modalities, pixel on pixel, with noise.

    Args:
        kind: :func:`fibres`, :func:`cells` or :func:`vessels`.
        size: (height, width), in pixels, 16 or more each; of 96 or more each, it holds something
            for every modality (a smaller one may happen to be without a fibre or a vessel).
        modalities: of :mod:`equicomir.images.instruments`, one or more of different names.
        generator: of the scene and the noise.

    Returns:
        The scene: for each modality an image (1, height, width), float32. It is called after its
        kind and a number drawn for it.

    Raises:
        ValueError: a side is too short, or modalities are none or share a name.

    Example:
        >>> from equicomir.images.instruments import BRIGHTFIELD, SECOND_HARMONIC
        >>> from equicomir.images.tissues import fibres
        >>> rng = torch.Generator().manual_seed(0)
        >>> scene = phantom(fibres, (48, 64), [SECOND_HARMONIC, BRIGHTFIELD], generator=rng)
        >>> {name: tuple(image.shape) for name, image in scene.images.items()}
        {'second_harmonic': (1, 48, 64), 'brightfield': (1, 48, 64)}
    """
    names = [modality.name for modality in modalities]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"modalities: expected one or more of different names, got {names}.")
    description = kind(size, generator=generator)
    number = int(torch.randint(10**9, (1,), generator=generator))
    images = {
        modality.name: modality(render(description, modality, size), generator=generator)
        for modality in modalities
    }
    return Scene(f"{description.kind}_{number:09d}", images)


def render(
    description: Description,
    modality: Modality,
    size: tuple[int, int],
    image_to_scene: Matrix | None = None,
) -> Image:
    """What an ideal camera sees of a scene from anywhere: exact, without shading and noise.

    Args:
        description: of the scene.
        modality: what the camera is sensitive to.
        size: (height, width) of the image, in pixels; it need not be the scene's.
        image_to_scene: rigid 3 x 3 matrix over (row, column, 1): where each pixel of the image
            lies in the scene. With the fixed image rendered without it, it is the moving image's
            ``moving_to_fixed``. None: the identity.

    Returns:
        Shape (1, height, width), float32, in the instrument's own units: about 0 to 1, but
        for second harmonic, whose few brightest fibres reach ten.

    Raises:
        ValueError: the transform is not rigid, a side is not positive, or the image would reach
            beyond the scene's margin.

    Example:
        >>> from equicomir.geometry import rigid
        >>> from equicomir.images.instruments import FLUORESCENCE
        >>> from equicomir.images.tissues import cells
        >>> scene = cells((32, 32), generator=torch.Generator().manual_seed(0))
        >>> straight = render(scene, FLUORESCENCE, (32, 32))
        >>> turned = render(scene, FLUORESCENCE, (32, 32), rigid(-90, centre=(15.5, 15.5)))
        >>> torch.allclose(turned, torch.rot90(straight, 1, (1, 2)), atol=1e-5)
        True
    """
    matrix = _checked_view(description, size, image_to_scene)
    around = math.ceil(_SIGHT * modality.blur)
    height, width = size[0] + 2 * around, size[1] + 2 * around
    scene_to_image = np.linalg.inv(matrix)
    scene_to_image[:2, 2] += around
    seen = _materials(description, scene_to_image, height, width)
    return _blurred(modality.brightness(seen), modality.blur, around)[None].float()


def _blurred(image: Tensor, sigma: float, radius: int) -> Tensor:
    """The Gaussian mean, where all that counts is inside the image: ``radius`` pixels inside."""
    taps = torch.arange(-radius, radius + 1, dtype=image.dtype)
    weights = torch.exp(-((taps / sigma) ** 2) / 2)
    weights = weights / weights.sum()
    along_rows = F.conv2d(image[None, None], weights.view(1, 1, -1, 1))
    return F.conv2d(along_rows, weights.view(1, 1, 1, -1))[0, 0]


def _checked_view(
    description: Description, size: tuple[int, int], image_to_scene: Matrix | None
) -> Matrix:
    matrix = np.eye(3) if image_to_scene is None else np.asarray(image_to_scene, dtype=np.float64)
    rigid = matrix.shape == (3, 3) and np.isfinite(matrix).all()
    if rigid:
        turn = matrix[:2, :2]
        rigid = np.allclose(turn @ turn.T, np.eye(2), atol=1e-6) and np.linalg.det(turn) > 0
    if not rigid or not np.allclose(matrix[2], [0, 0, 1]):
        came = str(matrix.tolist())
        raise ValueError(f"image_to_scene: expected a rigid 3 x 3 matrix, got {came}.")
    if min(size) < 1:
        raise ValueError(f"size: expected positive height and width, got {size}.")
    seen = transform_points(matrix, corners(*size))
    last = np.array(description.size) - 1 + description.margin
    slack = 1e-6
    beyond = np.maximum(-description.margin - seen, seen - last).max()
    if beyond > slack:
        raise ValueError(
            f"image_to_scene, size: expected an image within {description.margin:g} pixels of the "
            f"scene's {description.size[0]} x {description.size[1]}, got one that reaches "
            f"{beyond:.1f} further; describe a larger scene."
        )
    return matrix


def _materials(
    description: Description, scene_to_image: Matrix, height: int, width: int
) -> Materials:
    """What is in each pixel: blobs summed, and for bodies, where the sum exceeds a level."""
    fields = dict.fromkeys(_BLOBS, torch.zeros(height, width, dtype=torch.float64))
    for material, blobs in description.blobs.items():
        fields[material] = _sum_of_blobs(blobs, scene_to_image, height, width)
    vessels = fields["vessels"]
    lumen, lining = _body(vessels, 0.62, 0.03), _ridge(vessels, 0.52, 0.08)
    outside = 1 - _body(vessels, 0.4, 0.03)
    return Materials(
        collagen=fields["collagen"] * outside + 1.1 * _ridge(vessels, 0.26, 0.08),
        nuclei=_body(fields["nuclei"], 0.5, 0.06) * outside,
        cytoplasm=_body(fields["cytoplasm"], 0.5, 0.04) * outside,
        lining=lining,
        lumen=lumen,
        grain=fields["grain"],
    )


def _sum_of_blobs(blobs: Tensor, scene_to_image: Matrix, height: int, width: int) -> Tensor:
    """The sum of Gaussians at every pixel, tile by tile: of those that are seen from there."""
    centres = torch.from_numpy(transform_points(scene_to_image, blobs[:, :2].numpy()))
    blobs = torch.cat([centres, blobs[:, 2:]], dim=1)
    total = torch.zeros(height, width, dtype=torch.float64)
    for row in range(0, height, _TILE):
        rows = torch.arange(row, min(row + _TILE, height), dtype=torch.float64)
        band = _near(blobs, 0, rows)
        for column in range(0, width, _TILE):
            columns = torch.arange(column, min(column + _TILE, width), dtype=torch.float64)
            seen = _near(band, 1, columns)
            # A Gaussian of the plane is the product of one along rows and one along columns.
            profiles = seen[:, 3:] * _gaussian(rows, seen[:, 0], seen[:, 2])
            tile = profiles.T @ _gaussian(columns, seen[:, 1], seen[:, 2])
            total[row : row + _TILE, column : column + _TILE] = tile
    return total


def _near(blobs: Tensor, axis: int, pixels: Tensor) -> Tensor:
    sight = _SIGHT * blobs[:, 2]
    near = (blobs[:, axis] > pixels[0] - sight) & (blobs[:, axis] < pixels[-1] + sight)
    return blobs[near]


def _gaussian(pixels: Tensor, centres: Tensor, sigma: Tensor) -> Tensor:
    return torch.exp(-(((pixels - centres[:, None]) / sigma[:, None]) ** 2) / 2)


def _body(field: Tensor, level: float, softness: float) -> Tensor:
    """1 where the field is above a level, 0 where it is below."""
    return torch.sigmoid((field - level) / softness)


def _ridge(field: Tensor, level: float, width: float) -> Tensor:
    """1 where the field is at a level, 0 elsewhere."""
    return torch.exp(-(((field - level) / width) ** 2) / 2)
