"""Similarities (the contrastive literature's *critics*): a number for two representations.

Each takes two batches of representations and a mask, and gives the matrix of all pairs at once,
without a loop over pairs and without an intermediate of pairs by pixels. Those here have nothing
to learn and look at all pixels and channels alike, so turning or mirroring all representations
together changes none of them. (CoMIR's published code took the cosine along one image axis,
which a quarter turn changes.) Critics that learn are in :mod:`equicomir.losses.critics`.

They are computed in float32 at least, whatever autocast says: a difference of squares in half
precision is noise.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from equicomir.shapes import Images, Mask, check_tensor

#: From two batches of representations and a mask to the matrix of their similarities.
Similarity = Callable[[Images, Images, Mask | None], Tensor]
Scores = Float[Tensor, "first second"]


def masked_pixels(images: Images, mask: Mask | None) -> tuple[Float[Tensor, "batch values"], int]:
    """All pixels and channels of an image in one row, zero outside the mask.

    Args:
        images: shape (batch, channels, height, width).
        mask: boolean (height, width), or None for the whole image.

    Returns:
        Shape (batch, channels * height * width), float32 at least, and how many of the values in
        a row are inside. What is outside, even NaN, has no influence and gets no gradient.

    Raises:
        ValueError: the mask has another size, or is empty.

    Example:
        >>> masked_pixels(torch.ones(1, 1, 1, 2), torch.tensor([[True, False]]))
        (tensor([[1., 0.]]), 1)
    """
    check_tensor("images", images, "batch channels height width")
    x = images if images.dtype == torch.float64 else images.float()
    if mask is None:
        return x.flatten(1), x[0].numel()
    if mask.dtype != torch.bool or mask.shape != images.shape[-2:]:
        raise ValueError(
            f"mask: expected booleans of size {tuple(images.shape[-2:])}, "
            f"got {mask.dtype} of size {tuple(mask.shape)}."
        )
    inside = int(mask.sum())
    if not inside:
        raise ValueError("mask: expected a valid region with at least one pixel, got none.")
    return torch.where(mask.to(x.device), x, 0).flatten(1), inside * images.shape[1]


def _rows(first: Images, second: Images, mask: Mask | None) -> tuple[Tensor, Tensor, int]:
    """Both batches as rows (the same tensor where they are the same) and the values inside."""
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(
            "second: expected the channels, height and width of first, "
            f"{tuple(first.shape[1:])}, got {tuple(second.shape[1:])}."
        )
    a, inside = masked_pixels(first, mask)
    b = a if second is first else masked_pixels(second, mask)[0]
    return a, b, inside


def _products(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The products a b^T and the squared norms of both, in full precision."""
    with torch.autocast(a.device.type, enabled=False):
        products = a @ b.T
    if a is b:
        squares = products.diagonal()
        return products, squares, squares
    return products, a.square().sum(1), b.square().sum(1)


def negative_mse(first: Images, second: Images, mask: Mask | None = None) -> Scores:
    """Minus the mean squared difference, for every pair of the two batches; at most 0.

    The square is expanded, |a - b|^2 = |a|^2 - 2 a.b + |b|^2, after the common mean image has
    been taken away, without which large offsets would cancel away all digits.

    Args:
        first: representations, shape (batch, channels, height, width).
        second: likewise; the batch may have another length.
        mask: boolean (height, width): where to look; the whole image if None.

    Returns:
        Shape (length of first, length of second).

    Raises:
        ValueError: shapes do not agree, or the mask is empty.

    Example:
        >>> a = torch.zeros(1, 1, 2, 2)
        >>> negative_mse(a, a + 2).tolist()
        [[-4.0]]

    Source:
        The similarity that CoMIR uses by default: Pielawski, Wetzer et al., NeurIPS 2020,
        arXiv 2006.06325, section 3.
    """
    a, b, inside = _rows(first, second, mask)
    same = a is b
    centre = (a if same else torch.cat([a, b])).detach().mean(dim=0)
    a = a - centre
    b = a if same else b - centre
    products, a_squares, b_squares = _products(a, b)
    return ((2 * products - a_squares[:, None] - b_squares[None, :]) / inside).clamp(max=0)


def gaussian(
    first: Images, second: Images, mask: Mask | None = None, *, bandwidth: float = 1.0
) -> Scores:
    """exp(-MSE / (2 bandwidth^2)), in (0, 1]: what is far apart counts as simply far.

    Args:
        first, second, mask: as in :func:`negative_mse`.
        bandwidth: root mean square difference, in units of the representations, positive.

    Returns:
        Shape (length of first, length of second).

    Raises:
        ValueError: as :func:`negative_mse`, or ``bandwidth`` is not positive.

    Example:
        >>> a = torch.zeros(1, 1, 2, 2)
        >>> bool(torch.isclose(gaussian(a, a + 2).log(), torch.tensor(-2.0)))
        True
    """
    if not bandwidth > 0:
        raise ValueError(f"bandwidth: expected a positive number, got {bandwidth}.")
    return (negative_mse(first, second, mask) / (2 * bandwidth**2)).exp()


def negative_l1(first: Images, second: Images, mask: Mask | None = None) -> Scores:
    """Minus the mean absolute difference, for every pair of the two batches; at most 0.

    Args:
        first, second, mask: as in :func:`negative_mse`.

    Returns:
        Shape (length of first, length of second).

    Raises:
        ValueError: as :func:`negative_mse`.

    Example:
        >>> a = torch.zeros(1, 1, 2, 2)
        >>> negative_l1(a, a + 2).tolist()
        [[-2.0]]
    """
    a, b, inside = _rows(first, second, mask)
    with torch.autocast(a.device.type, enabled=False):
        return -torch.cdist(a, b, p=1) / inside


def cosine(first: Images, second: Images, mask: Mask | None = None) -> Scores:
    """The cosine of the angle between two representations as vectors, in [-1, 1].

    Args:
        first, second, mask: as in :func:`negative_mse`.

    Returns:
        Shape (length of first, length of second); 0 with a representation that is zero.

    Raises:
        ValueError: as :func:`negative_mse`.

    Example:
        >>> a = torch.rand(1, 1, 2, 2)
        >>> torch.allclose(cosine(a, -3 * a), torch.tensor(-1.0))
        True
    """
    return _cosine(*_rows(first, second, mask)[:2])


def correlation(first: Images, second: Images, mask: Mask | None = None) -> Scores:
    """Pearson's correlation over all pixels and channels inside the mask, in [-1, 1].

    Args:
        first, second, mask: as in :func:`negative_mse`.

    Returns:
        Shape (length of first, length of second); 0 with a representation that is constant.

    Raises:
        ValueError: as :func:`negative_mse`.

    Example:
        >>> a = torch.rand(1, 1, 4, 4)
        >>> torch.allclose(correlation(a, 5 - 2 * a), torch.tensor(-1.0))
        True
    """
    a, b, inside = _rows(first, second, mask)
    same = a is b
    weight = torch.ones_like(first[0]) if mask is None else mask.to(first).expand(first.shape[1:])
    weight = weight.flatten().to(a)

    def centred(x: Tensor) -> Tensor:
        # Twice: what rounding leaves of a large mean the first time is gone the second.
        x = (x - x.sum(1, keepdim=True) / inside) * weight
        return (x - x.sum(1, keepdim=True) / inside) * weight

    a = centred(a)
    return _cosine(a, a if same else centred(b))


def angular(first: Images, second: Images, mask: Mask | None = None) -> Scores:
    """1 - 2 angle / pi, in [-1, 1]: like the cosine, and as steep for what is nearly alike.

    Args:
        first, second, mask: as in :func:`negative_mse`.

    Returns:
        Shape (length of first, length of second). The angle is kept a little (in float32 0.001
        radians) away from 0 and pi, where its gradient is infinite.

    Raises:
        ValueError: as :func:`negative_mse`.

    Example:
        >>> a = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
        >>> b = torch.tensor([1.0, 1.0]).view(1, 1, 1, 2)
        >>> torch.allclose(angular(a, b), torch.tensor(0.5))
        True
    """
    cosines = _cosine(*_rows(first, second, mask)[:2])
    most = 1 - 4 * torch.finfo(cosines.dtype).eps
    return 1 - 2 / math.pi * torch.acos(cosines.clamp(-most, most))


def _cosine(a: Tensor, b: Tensor) -> Scores:
    """Cosines of all pairs of rows; 0, with finite gradients, where a row is zero."""
    same = a is b

    def unit(x: Tensor) -> Tensor:
        # Scaled by its greatest value first, so that neither 1e-20 nor 1e20 is squared.
        x = x / x.detach().abs().amax(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
        squares = x.square().sum(1, keepdim=True)
        return x * torch.where(squares > 0, squares, 1).rsqrt()

    a = unit(a)
    return _products(a, a if same else unit(b))[0].clamp(-1, 1)


def _after(
    first: Images,
    second: Images,
    mask: Mask | None,
    *,
    similarity: Similarity,
    image_filter: Callable[[Images], Images],
) -> Scores:
    a = image_filter(first)
    return similarity(a, a if second is first else image_filter(second), mask)


def filtered(similarity: Similarity, image_filter: Callable[[Images], Images]) -> Similarity:
    """The similarity of filtered representations, e.g. of the high-passed ones.

    Args:
        similarity: any.
        image_filter: any map of images; leave the reach of its border outside the mask.

    Returns:
        A similarity.

    Example:
        >>> from equicomir.filters import high_pass
        >>> detail = filtered(negative_mse, partial(high_pass, cutoff=0.2))
        >>> a = torch.rand(1, 1, 16, 16)
        >>> torch.allclose(detail(a, a + 3, None), torch.zeros(1, 1), atol=1e-6)
        True
    """
    return partial(_after, similarity=similarity, image_filter=image_filter)
