"""What tells one set of images from another."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from equicomir.images.pairs import Scene

_BAND = 2**26  # values of an image that are hashed at once


def fingerprint(scenes: Sequence[Scene]) -> str:
    """A hash of the data: names, modalities, sizes, masks and pixels, wherever they are kept.

    Args:
        scenes: in memory or left on disk. Their order counts, as seeded draws depend on it.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: a file is damaged; it is named.

    Example:
        >>> import torch
        >>> pixels = torch.arange(12.0).reshape(1, 3, 4)
        >>> one = fingerprint([Scene("a", {"T1": pixels, "T2": -pixels})])
        >>> one == fingerprint([Scene("a", {"T2": -pixels, "T1": pixels})])
        True
        >>> one == fingerprint([Scene("a", {"T1": -pixels, "T2": pixels})])
        False
    """
    digest = hashlib.sha256()
    for scene in scenes:
        modalities = sorted(scene.images)
        channels = [scene.images[modality].shape[0] for modality in modalities]
        # What is hashed has its lengths in front of it: no two data sets read the same.
        about = [scene.name, modalities, channels, scene.size, scene.mask is not None]
        digest.update(json.dumps(about).encode() + b"\n")
        if scene.mask is not None:
            digest.update(np.packbits(scene.mask.cpu().numpy()).tobytes())
        height, width = scene.size
        for modality, count in zip(modalities, channels, strict=True):
            band = max(1, _BAND // (count * width))
            for top in range(0, height, band):
                pixels = scene.window(modality, rows=(top, min(top + band, height)))
                digest.update(pixels.cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()
