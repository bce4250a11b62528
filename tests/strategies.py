"""What the property tests draw: seeds and configurations, never pixels, never constant images."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import torch

from equicomir.geometry import warp_image
from equicomir.properties import cases

__all__ = [
    "architectures",
    "cases",
    "few",
    "numbers",
    "seeds",
    "shared_energy",
    "shows_something",
]

_QUICK = 15  # examples of a property in the profile that is meant where a test says fewer


def few(examples: int) -> hypothesis.settings:
    """So many cases of a costly property, and in other profiles as many times more as elsewhere."""
    times = hypothesis.settings.default.max_examples / _QUICK
    return hypothesis.settings(max_examples=max(1, round(examples * times)))


#: Seeds, but not nought: Hypothesis tries first where all is simplest, and one case alone would
#: be that one, whatever is drawn anew.
numbers = st.integers(0, 2**31 - 1).filter(bool)


def seeds() -> st.SearchStrategy[torch.Generator]:
    return st.integers(0, 2**31 - 1).map(lambda seed: torch.Generator().manual_seed(seed))


def architectures() -> st.SearchStrategy[dict[str, object]]:
    """Keyword arguments of a U-Net encoder, but its group."""
    return st.fixed_dictionaries(
        {
            "in_channels": st.integers(1, 3),
            "representation_channels": st.integers(1, 2),
            "widths": st.sampled_from([(1,), (2, 1), (1, 2, 1)]),
            "kernel_size": st.sampled_from([3, 5]),
            "parity": st.sampled_from(["even", "odd"]),
            "pooling": st.sampled_from(["average", "blur"]),
            "residual": st.booleans(),
        }
    )


def shows_something(image: np.ndarray) -> bool:
    """Whether much more than a corner is filled of a square image, (side, side): what no turn moves
    out of sight. Under second harmonic some phantoms hold next to nothing.
    """
    middle = (len(image) - 1) / 2
    rows, columns = (axis - middle for axis in np.ogrid[: len(image), : len(image)])
    inner = image[rows**2 + columns**2 < (0.8 * middle) ** 2]
    return bool((np.abs(inner - np.median(inner)) > 0.1 * np.ptp(image)).mean() > 0.05)


def shared_energy(image: np.ndarray, other_to_image: np.ndarray) -> float:
    """What part of the energy of an image, (height, width), lies where another one shows it.

    At the coarsest scale the search weighs by the energy of whole images (docs/not_for.md).
    """
    _, inside = warp_image(torch.from_numpy(image)[None, None].double(), other_to_image)
    energy = (image - image.mean()) ** 2
    return float(energy[inside.numpy()].sum() / energy.sum())
