"""A quick score for a model in training: how well it registers pairs of the validation part."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from equicomir.evaluation.alignment import SUCCESS_FRACTION, evaluate
from equicomir.evaluation.displacements import TestPair
from equicomir.images.pairs import Scene
from equicomir.registration import search
from equicomir.registration.alignment import Alignment
from equicomir.shapes import Array, ArrayMask, Images, Matrix

#: From a modality's name and images in the instrument's units to their representation.
Encode = Callable[[str, Images], Images]


def register_by(
    encode: Encode,
    fixed: Array,
    moving: Array,
    mask: ArrayMask,
    modalities: tuple[str, str],
    *,
    image_filter: Callable[[Images], Images] | None = None,
    register: Callable[..., Alignment] = search.register,
) -> Matrix:
    """Encode two patches and find the transform between their representations.

    Args:
        encode: such as a model's ``comparable``.
        fixed: (channels, height, width), in the instrument's units.
        moving: likewise.
        mask: boolean (height, width), true where ``moving`` is defined.
        modalities: of the fixed and of the moving one.
        image_filter: of both representations, before they are registered.
        register: of :mod:`equicomir.registration`.

    Returns:
        The 3 x 3 matrix from moving to fixed.

    Raises:
        ValueError: nothing was found, or it cannot take what was encoded.

    Example:
        >>> image = np.random.default_rng(0).normal(size=(1, 8, 8)).repeat(8, 1).repeat(8, 2)
        >>> mask = np.ones((64, 64), bool)
        >>> found = register_by(lambda _, x: x, image, image, mask, ("T1", "T1"))
        >>> bool(np.allclose(found, np.eye(3), atol=0.05))
        True
    """
    encoded = []
    for modality, image in zip(modalities, (fixed, moving), strict=True):
        seen = encode(modality, torch.from_numpy(image).float()[None]).double()
        encoded.append((seen if image_filter is None else image_filter(seen))[0].numpy())
    found = register(encoded[0], encoded[1], moving_mask=mask)
    if found.failure:
        raise ValueError(found.failure)
    return found.moving_to_fixed


def registration_score(
    encode: Encode, pairs: Sequence[TestPair], scenes: Sequence[Scene]
) -> tuple[float, float]:
    """Success of a model on a few pairs, coarse and fine.

    Args:
        encode: the model's.
        pairs: of the validation part; 40 take some 10 seconds at 64 pixels.
        scenes: of that part.

    Returns:
        The success rate at 2 % of the width; and the mean of those at 2, 1 and 0.5 %, which
        still tells models apart that all succeed.

    Raises:
        ValueError: no pairs.

    Example:
        >>> from equicomir.evaluation.displacements import draw_pairs
        >>> image = torch.rand(1, 1, 40, 40).repeat_interleave(4, 2).repeat_interleave(4, 3)[0]
        >>> scenes = [Scene("a", {"A": image, "B": image})]
        >>> rng = np.random.default_rng(0)
        >>> pairs = draw_pairs(scenes, ("A", "B"), 64, 1, levels=["1"], generator=rng)
        >>> registration_score(lambda modality, images: images, pairs, scenes)[0]
        1.0
    """
    if not pairs:
        raise ValueError("pairs: expected at least one of the validation part, got none.")
    outcomes = evaluate(partial(register_by, encode), pairs, scenes)
    errors = np.array([o.corner_error / o.pair.width for o in outcomes])
    ladder = [float((errors <= SUCCESS_FRACTION * part).mean()) for part in (1, 0.5, 0.25)]
    return ladder[0], float(np.mean(ladder))
