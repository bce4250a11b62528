"""Contrastive objectives: which representations belong together, among all of a batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from equicomir.losses.similarity import negative_mse
from equicomir.shapes import Images, Mask, Stack, check_tensor

#: From two batches of representations and a mask to the matrix of their similarities.
Similarity = Callable[[Images, Images, Mask | None], Tensor]


def info_nce(
    representations: Stack,
    *,
    temperature: float = 0.5,
    mask: Mask | None = None,
    similarity: Similarity = negative_mse,
    image_filter: Callable[[Images], Images] | None = None,
) -> Tensor:
    """InfoNCE over all representations of a batch, intra-modality negatives included.

    Of 2N representations each is an anchor once. Its positive is the same scene in the other
    modality; its negatives are the 2N - 2 representations of other scenes, in both modalities:

        loss = - mean over anchors a of log( e^(s(a, p) / t) / sum over b != a of e^(s(a, b) / t) )

    Args:
        representations: shape (2, batch, channels, height, width); at least two scenes.
        temperature: t, positive.
        mask: boolean (height, width): the region to compare; all of it if None. Where an
            ``image_filter`` is given, leave its reach outside the mask.
        similarity: s, gives the matrix of all pairs of two batches.
        image_filter: applied to every representation before s, e.g. a high-pass.

    Returns:
        The loss, a scalar; log(2N - 1) minus it estimates the shared information in nats and is
        never above log(2N - 1).

    Raises:
        TypeError: not a floating tensor.
        ValueError: not two modalities, one scene only (no negatives), a temperature that is not
            positive, or values that are not finite.

    Example:
        With all representations alike nothing is known: the loss is log(2N - 1).

        >>> loss = info_nce(torch.ones(2, 3, 1, 4, 4))
        >>> bool(torch.isclose(loss, torch.log(torch.tensor(5.0))))
        True

    Source:
        van den Oord et al. 2018, arXiv 1807.03748, equation 4; with the negatives of
        Pielawski, Wetzer et al., NeurIPS 2020, arXiv 2006.06325, section 3.
    """
    check_tensor("representations", representations, "modalities batch channels height width")
    modalities, batch = representations.shape[:2]
    if modalities != 2:
        raise ValueError(f"representations: expected 2 modalities, got {modalities}.")
    if batch < 2:
        raise ValueError("representations: expected at least 2 scenes (negatives), got 1.")
    if not temperature > 0:
        raise ValueError(f"temperature: expected a positive number, got {temperature}.")
    if not torch.isfinite(representations).all():
        raise ValueError("representations: expected finite values, got NaN or infinity.")
    every = representations.flatten(0, 1)
    if image_filter is not None:
        every = image_filter(every)
    scores = similarity(every, every, mask) / temperature
    anchors = torch.arange(2 * batch, device=scores.device)
    positives = scores[anchors, (anchors + batch) % (2 * batch)]
    others = scores.masked_fill(
        torch.eye(2 * batch, dtype=torch.bool, device=scores.device), -torch.inf
    )
    return (others.logsumexp(dim=1) - positives).mean()
