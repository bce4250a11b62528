"""Bounds on shared information: from the similarities of K pairs to an estimate, in nats.

Each takes the (K, K) matrix of a critic's values, that of pair k of both modalities on the
diagonal and those of images that do not belong together off it, and gives an estimate to be made
as large as possible. For the critic that is best for it, the first three reach the mutual
information of the modalities (InfoNCE no more than log K) and the last their Jensen-Shannon
divergence.

Sources: van den Oord et al. 2018, arXiv 1807.03748; Poole et al., ICML 2019, arXiv 1905.06922;
Tschannen et al., ICLR 2020, arXiv 1907.13625; Hjelm et al., ICLR 2019, arXiv 1808.06670.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Scores = Float[Tensor, "pairs pairs"]
Bound = Callable[[Scores], Tensor]


def info_nce_bound(scores: Scores) -> Tensor:
    """InfoNCE: log K + mean over k of log(e^s(k, k) / sum over j of e^s(k, j)), at most log K.

    Args:
        scores: shape (K, K), pairs on the diagonal.

    Returns:
        A scalar, in nats.

    Raises:
        ValueError: not square, or fewer than two pairs.

    Example:
        Where all are alike nothing is known.

        >>> torch.allclose(info_nce_bound(torch.ones(5, 5)), torch.zeros(()), atol=1e-6)
        True

    Source:
        van den Oord et al. 2018, arXiv 1807.03748, equation 4.
    """
    count = _count(scores)
    return math.log(count) + (scores.diagonal() - scores.logsumexp(1)).mean()


def donsker_varadhan(scores: Scores) -> Tensor:
    """Donsker and Varadhan: mean of s(k, k) - log of the mean of e^s(k, j) over j != k.

    Its gradient is biased in small batches: see :class:`DonskerVaradhan`.

    Args:
        scores: shape (K, K), pairs on the diagonal.

    Returns:
        A scalar, in nats.

    Raises:
        ValueError: not square, or fewer than two pairs.

    Example:
        >>> torch.allclose(donsker_varadhan(torch.ones(5, 5)), torch.zeros(()), atol=1e-6)
        True

    Source:
        Donsker and Varadhan 1983; Belghazi et al., MINE, ICML 2018, arXiv 1801.04062, equation 5.
    """
    return scores.diagonal().mean() - _log_mean_exp(scores)


class DonskerVaradhan(nn.Module):
    """The same value with the gradient of a running average.

    The gradient of log mean e^s is mean(e^s grad s) / mean(e^s), a quotient of two estimates from
    one small batch, and so biased; dividing by the average over many batches is less so.

    Args:
        momentum: weight of the newest batch in the average, in (0, 1].

    Raises:
        ValueError: ``momentum`` is outside its range.

    Example:
        >>> bound, scores = DonskerVaradhan(), torch.eye(4)
        >>> torch.allclose(bound(scores), donsker_varadhan(scores))
        True

    Source:
        Belghazi et al., MINE, ICML 2018, arXiv 1801.04062, equation 12.
    """

    log_average: Tensor

    def __init__(self, momentum: float = 0.01) -> None:
        super().__init__()
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum: expected a number in (0, 1], got {momentum}.")
        self.momentum = momentum
        # In logarithms, as e^s may be larger than any float; NaN until the first batch.
        self.register_buffer("log_average", torch.tensor(math.nan))

    def forward(self, scores: Scores) -> Tensor:
        """A scalar, in nats; in train mode the average takes the batch in."""
        newest = _log_mean_exp(scores)
        with torch.no_grad():
            if self.log_average.isnan():
                self.log_average.copy_(newest)
            elif self.training:
                old = self.log_average + math.log1p(-self.momentum) if self.momentum < 1 else None
                new = newest.to(self.log_average) + math.log(self.momentum)
                self.log_average.copy_(new if old is None else torch.logaddexp(old, new))
        slope = (newest - self.log_average.to(newest)).exp()
        second = newest.detach() + slope - slope.detach()
        return scores.diagonal().mean() - second


def nwj(scores: Scores) -> Tensor:
    """NWJ: mean of s(k, k) - mean of e^(s(k, j) - 1) over j != k; at most Donsker-Varadhan.

    Args:
        scores: shape (K, K), pairs on the diagonal; the best critic is 1 + the log density ratio.

    Returns:
        A scalar, in nats.

    Raises:
        ValueError: not square, or fewer than two pairs.

    Example:
        >>> torch.allclose(nwj(torch.ones(5, 5)), torch.zeros(()), atol=1e-6)
        True

    Source:
        Nguyen, Wainwright and Jordan 2010, arXiv 0809.0853; Tschannen et al., arXiv 1907.13625,
        equation 3.
    """
    return scores.diagonal().mean() - (_log_mean_exp(scores) - 1).exp()


def jensen_shannon(scores: Scores) -> Tensor:
    """(log 4 - mean softplus(-s(k, k)) - mean of softplus(s(k, j)) over j != k) / 2.

    It estimates the Jensen-Shannon divergence between pairs and non-pairs, at most log 2, and not
    mutual information; its gradients are the tamest of the four.

    Args:
        scores: shape (K, K), pairs on the diagonal; the best critic is the log density ratio.

    Returns:
        A scalar, in nats.

    Raises:
        ValueError: not square, or fewer than two pairs.

    Example:
        A critic that knows nothing says zero everywhere.

        >>> torch.allclose(jensen_shannon(torch.zeros(5, 5)), torch.zeros(()), atol=1e-6)
        True

    Source:
        Hjelm et al., ICLR 2019, arXiv 1808.06670, equation 4, which leaves out log 4 and the half.
    """
    count = _count(scores)
    softplus = F.softplus(scores)
    apart = (softplus.sum() - softplus.diagonal().sum()) / (count * (count - 1))
    return (math.log(4) - F.softplus(-scores.diagonal()).mean() - apart) / 2


def _count(scores: Scores) -> int:
    """K, checked."""
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"scores: expected a square matrix, got shape {tuple(scores.shape)}.")
    if len(scores) < 2:
        raise ValueError("scores: expected at least 2 pairs (negatives), got 1.")
    return len(scores)


def _log_mean_exp(scores: Scores) -> Tensor:
    """Log of the mean of e^s off the diagonal."""
    count = _count(scores)
    own = torch.eye(count, dtype=torch.bool, device=scores.device)
    total = scores.masked_fill(own, -torch.inf).flatten().logsumexp(0)
    return total - math.log(count * (count - 1))
