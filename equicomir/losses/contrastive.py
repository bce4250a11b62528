"""Contrastive objectives: which representations belong together, among all of a batch."""

from collections.abc import Callable
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir.losses.bounds import Bound, info_nce_bound
from equicomir.losses.similarity import Similarity, negative_mse
from equicomir.shapes import Images, Mask, Stack, check_tensor


def info_nce(
    representations: Stack,
    *,
    temperature: float = 0.5,
    mask: Mask | None = None,
    similarity: Similarity = negative_mse,
    image_filter: Callable[[Images], Images] | None = None,
    negatives: Images | None = None,
) -> Tensor:
    """InfoNCE over all representations of a batch, intra-modality negatives included.

    Of all M x N representations each is an anchor a. A positive p is the same scene in another
    modality; the negatives n are the M (N - 1) representations of other scenes, in all
    modalities:

        loss = - mean over a, p of log( e^(s(a, p) / t) / sum over p and all n of e^(s(a, .) / t) )

    Args:
        representations: shape (modalities, batch, channels, height, width); at least two each.
        temperature: t, positive.
        mask: boolean (height, width): the region to compare; all of it if None. Where an
            ``image_filter`` is given, leave its reach outside the mask.
        similarity: s, gives the matrix of all pairs of two batches.
        image_filter: applied to every representation before s, e.g. a high-pass.
        negatives: more of them for every anchor, shape (any, channels, height, width), e.g.
            shifted crops (:mod:`equicomir.losses.hard_negatives`).

    Returns:
        The loss, a scalar; log(1 + number of negatives) minus it estimates the shared information
        in nats and is never above that logarithm.

    Raises:
        TypeError: not a floating tensor.
        ValueError: fewer than two modalities, one scene only (no negatives), a temperature that
            is not positive, or values that are not finite.

    Example:
        With all representations alike nothing is known: the loss is log(2N - 1).

        >>> loss = info_nce(torch.ones(2, 3, 1, 4, 4))
        >>> bool(torch.isclose(loss, torch.log(torch.tensor(5.0))))
        True

    Source:
        van den Oord et al. 2018, arXiv 1807.03748, equation 4; with the negatives of
        Pielawski, Wetzer et al., NeurIPS 2020, arXiv 2006.06325, section 3.
    """
    modalities, batch = _check(representations, temperature)
    every = representations.flatten(0, 1)
    if image_filter is not None:
        every = image_filter(every)
    scores = _finite(similarity(every, every, mask)) / temperature
    scores = scores.view(modalities, batch, modalities, batch)
    same_scene = torch.eye(batch, dtype=torch.bool, device=scores.device)[None, :, None, :]
    against = scores.masked_fill(same_scene, -torch.inf).flatten(2).logsumexp(2)
    if negatives is not None:
        more = negatives if image_filter is None else image_filter(negatives)
        of_more = _finite(similarity(every, more, mask)) / temperature
        against = torch.logaddexp(against, of_more.logsumexp(1).view_as(against))
    positives = scores.diagonal(dim1=1, dim2=3)  # (anchor's modality, positive's, scene)
    losses = F.softplus(against[:, None] - positives)
    own = torch.eye(modalities, dtype=torch.bool, device=scores.device)
    return losses[~own].mean()


def contrast(
    representations: Stack,
    *,
    bound: Bound = info_nce_bound,
    temperature: float = 0.5,
    mask: Mask | None = None,
    similarity: Similarity = negative_mse,
    image_filter: Callable[[Images], Images] | None = None,
) -> Tensor:
    """Minus a bound on shared information, mean over all pairs of modalities, in both directions.

    Negatives are images of the other modality alone. With :func:`info_nce_bound` this is InfoNCE
    as van den Oord et al. wrote it, less the logarithm of the batch.

    Args:
        representations: shape (modalities, batch, channels, height, width); at least two each.
        bound: of :mod:`equicomir.losses.bounds`.
        temperature: similarities are divided by it; positive.
        mask: boolean (height, width), as in :func:`info_nce`.
        similarity: the critic.
        image_filter: as in :func:`info_nce`.

    Returns:
        The loss, a scalar: minus an estimate in nats.

    Raises:
        TypeError, ValueError: as :func:`info_nce`.

    Example:
        >>> loss = contrast(torch.ones(2, 3, 1, 4, 4))
        >>> torch.allclose(loss, torch.zeros(()), atol=1e-6)
        True
    """
    modalities, _ = _check(representations, temperature)
    filtered = representations
    if image_filter is not None:
        filtered = image_filter(representations.flatten(0, 1)).view_as(representations)
    estimates = []
    for first, second in combinations(range(modalities), 2):
        scores = _finite(similarity(filtered[first], filtered[second], mask)) / temperature
        estimates += [bound(scores), bound(scores.T)]
    return -torch.stack(estimates).mean()


def _check(representations: Stack, temperature: float) -> tuple[int, int]:
    """(modalities, batch), checked."""
    check_tensor("representations", representations, "modalities batch channels height width")
    modalities, batch = representations.shape[:2]
    if modalities < 2:
        raise ValueError(f"representations: expected at least 2 modalities, got {modalities}.")
    if batch < 2:
        raise ValueError("representations: expected at least 2 scenes (negatives), got 1.")
    if not temperature > 0:
        raise ValueError(f"temperature: expected a positive number, got {temperature}.")
    return modalities, batch


def _finite(scores: Tensor) -> Tensor:
    """The similarities, which are not finite where a representation inside the mask is not."""
    if not torch.isfinite(scores).all():
        raise ValueError("representations: expected finite values, got NaN or infinity.")
    return scores
