"""Structure penalties with their weights, as a setting: which of them are added, and how much."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from jaxtyping import Float
from torch import Tensor

from equicomir.losses.penalties import (
    gradient_agreement,
    orientation_agreement,
    self_similarity,
    spectral_retention,
)
from equicomir.shapes import Images, Mask, Stack

_BY_NAME = {
    one.__name__: one
    for one in (gradient_agreement, orientation_agreement, self_similarity, spectral_retention)
}


@dataclass(frozen=True)
class Penalties:
    """How much of each is added to a contrastive loss; every default adds nothing.

    Attributes:
        gradient_agreement: weight of
            :func:`equicomir.losses.penalties.gradient_agreement`, at least 0; likewise the others.
        orientation_agreement: of :func:`equicomir.losses.penalties.orientation_agreement`.
        self_similarity: of :func:`equicomir.losses.penalties.self_similarity`.
        spectral_retention: of :func:`equicomir.losses.penalties.spectral_retention`.

    Raises:
        ValueError: a weight is negative or not finite.
    """

    gradient_agreement: float = 0.0
    orientation_agreement: float = 0.0
    self_similarity: float = 0.0
    spectral_retention: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name}: expected a weight of 0 or more, got {weight}.")

    def of(
        self, representations: Stack, images: Sequence[Images], *, mask: Mask | None = None
    ) -> Float[Tensor, ""]:
        """Their weighted sum, mean over the modalities.

        Args:
            representations: shape (modalities, batch, channels, height, width).
            images: what each was made of, one tensor a modality, in its own frame.
            mask: boolean (height, width): the valid region.

        Returns:
            A scalar, at least 0.

        Raises:
            TypeError, ValueError: as the penalties themselves.

        Example:
            >>> import torch
            >>> x = torch.rand(2, 1, 16, 16)
            >>> told = Penalties(gradient_agreement=0.5)
            >>> torch.equal(told.of(1 - x[None], [x]), gradient_agreement(1 - x, x) / 2)
            True
        """
        each = [
            weight * penalty(seen, image, mask=mask)
            for name, penalty in _BY_NAME.items()
            if (weight := getattr(self, name))
            for seen, image in zip(representations, images, strict=True)
        ]
        return sum(each, start=representations.new_zeros(())) / len(representations)
