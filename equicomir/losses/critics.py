"""Critics that learn: similarities with weights of their own.

The three of Tschannen et al., On mutual information maximization for representation learning,
ICLR 2020, arXiv 1907.13625, section 3.2. They read the pixels of a representation as a list, so
they know up from down: unlike the similarities of :mod:`equicomir.losses.similarity`, turning all
representations together changes what they say.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equicomir.losses.similarity import Scores, masked_pixels
from equicomir.shapes import Images, Mask


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer by He's rule, from the generator."""
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        draw = torch.randn(layer.weight.shape, generator=generator)
        layer.weight.copy_(draw * math.sqrt(2 / inputs))
        layer.bias.zero_()
    return layer


class _Critic(nn.Module):
    """What the three share: rows of a fixed number of values.

    Args:
        features: values of a representation: channels x height x width.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"features: expected at least 1 value, got {features}.")
        self.features = features

    def rows(self, images: Images, mask: Mask | None) -> Tensor:
        """(batch, features), zero outside the mask."""
        rows, _ = masked_pixels(images, mask)
        if rows.shape[1] != self.features:
            raise ValueError(
                f"representations: expected {self.features} values each (channels x height x "
                f"width), as the critic was made for, got {rows.shape[1]}."
            )
        return rows.to(next(self.parameters()).dtype)


class Bilinear(_Critic):
    """x^T W y.

    Args:
        features: values of a representation; W has their square.
        generator: draws W.

    Example:
        >>> critic = Bilinear(4, generator=torch.Generator().manual_seed(0))
        >>> a, b = torch.rand(2, 1, 2, 2), torch.rand(3, 1, 2, 2)
        >>> torch.allclose(critic(a, 2 * b), 2 * critic(a, b))
        True
    """

    def __init__(self, features: int, *, generator: torch.Generator) -> None:
        super().__init__(features)
        draw = torch.randn(features, features, generator=generator)
        self.weight = nn.Parameter(draw / features)

    def forward(self, first: Images, second: Images, mask: Mask | None = None) -> Scores:
        """The matrix of all pairs, as every similarity.

        Args:
            first: (batch, channels, height, width).
            second: likewise.
            mask: boolean (height, width): what to compare; all of it if None.

        Returns:
            Shape (batch of ``first``, batch of ``second``).
        """
        return self.rows(first, mask) @ self.weight @ self.rows(second, mask).T


class Separable(_Critic):
    """g(x) . h(y), each a perceptron with one hidden layer.

    Args:
        features: values of a representation.
        hidden: width of the hidden layers.
        embedding: length of g and h.
        generator: draws the weights.

    Example:
        >>> critic = Separable(4, hidden=8, generator=torch.Generator().manual_seed(0))
        >>> critic(torch.rand(2, 1, 2, 2), torch.rand(3, 1, 2, 2)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        features: int,
        *,
        hidden: int = 128,
        embedding: int = 64,
        generator: torch.Generator,
    ) -> None:
        super().__init__(features)

        def perceptron() -> nn.Sequential:
            into = _linear(features, hidden, generator)
            return nn.Sequential(into, nn.ReLU(), _linear(hidden, embedding, generator))

        self.of_first, self.of_second = perceptron(), perceptron()

    def forward(self, first: Images, second: Images, mask: Mask | None = None) -> Scores:
        """The matrix of all pairs, as every similarity.

        Args:
            first: (batch, channels, height, width).
            second: likewise.
            mask: boolean (height, width): what to compare; all of it if None.

        Returns:
            Shape (batch of ``first``, batch of ``second``).
        """
        g: Tensor = self.of_first(self.rows(first, mask))
        h: Tensor = self.of_second(self.rows(second, mask))
        return g @ h.T / math.sqrt(g.shape[1])


class Concatenated(_Critic):
    """A perceptron of both representations put together, with one hidden layer.

    The first layer of a concatenation is the sum of two first layers, so each representation
    passes through it once, and only hidden values are made for every pair.

    Args:
        features: values of a representation.
        hidden: width of the hidden layer.
        generator: draws the weights.

    Example:
        >>> critic = Concatenated(4, hidden=8, generator=torch.Generator().manual_seed(0))
        >>> critic(torch.rand(2, 1, 2, 2), torch.rand(3, 1, 2, 2)).shape
        torch.Size([2, 3])
    """

    def __init__(self, features: int, *, hidden: int = 128, generator: torch.Generator) -> None:
        super().__init__(features)
        self.of_first = _linear(features, hidden, generator)
        self.of_second = _linear(features, hidden, generator)
        self.last = _linear(hidden, 1, generator)

    def forward(self, first: Images, second: Images, mask: Mask | None = None) -> Scores:
        """The matrix of all pairs, as every similarity.

        Args:
            first: (batch, channels, height, width).
            second: likewise.
            mask: boolean (height, width): what to compare; all of it if None.

        Returns:
            Shape (batch of ``first``, batch of ``second``).
        """
        a: Tensor = self.of_first(self.rows(first, mask))
        b: Tensor = self.of_second(self.rows(second, mask))
        scores: Tensor = self.last(F.relu(a[:, None] + b[None]))
        return scores[..., 0]
