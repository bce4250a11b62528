"""What must hold of an encoder, a filter and a loss, as measures.

Each property is a number that should be zero, measured on a case that Hypothesis draws (seeds and
configurations, never pixels, never constant images: a plain CNN is perfectly equivariant on
those). The tests are one line over these, and so is the gate before every experiment,
:mod:`equicomir.gate`.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import hypothesis.strategies as st
import torch
from torch import Tensor, nn

from equicomir.shapes import Images, Mask, Stack

_TINY = 1e-12


@dataclass(frozen=True)
class Case:
    """What Hypothesis draws.

    Attributes:
        seed: of the random images.
        blocks: size of the images, in units of the smallest valid one.
        batch: number of images.
        quarter_turns: 1 to 3.
        training: whether modules are in train mode.
        scale: by how much random numbers are multiplied.
    """

    seed: int
    blocks: int
    batch: int
    quarter_turns: int
    training: bool
    scale: float

    def images(self, batch: int, channels: int, size: int, dtype: torch.dtype) -> Images:
        """Random non-constant images (batch, channels, size, size), from the seed.

        Args:
            batch: how many.
            channels: of each.
            size: height and width, in pixels.
            dtype: floating.

        Returns:
            (batch, channels, size, size).
        """
        generator = torch.Generator().manual_seed(self.seed)
        x = torch.randn(batch, channels, size, size, generator=generator, dtype=torch.float64)
        return (self.scale * x).to(dtype)


def cases() -> st.SearchStrategy[Case]:
    """The strategy behind every property."""
    return st.builds(
        Case,
        seed=st.integers(0, 2**31 - 1),
        blocks=st.integers(4, 9),
        batch=st.integers(2, 4),
        quarter_turns=st.integers(1, 3),
        training=st.booleans(),
        scale=st.sampled_from([0.1, 1.0, 3.0]),
    )


@dataclass(frozen=True)
class Property:
    """A claim, how far a case is from it, and how far is too far.

    Attributes:
        name: the claim, as one reads it when it is broken.
        error: zero if it holds exactly.
        tolerance: the greatest error that rounding explains.
    """

    name: str
    error: Callable[[Case], float]
    tolerance: float


def relative_error(came: Tensor, expected: Tensor) -> float:
    """||came - expected|| / ||expected - mean expected||; infinite where it is not a number.

    Args:
        came: of any shape.
        expected: of the same.

    Returns:
        0 where they are equal.
    """
    spread = (expected - expected.mean()).norm()
    error = float((came - expected).norm() / spread.clamp(min=_TINY))
    return error if math.isfinite(error) else math.inf


def quarter_turn(x: Tensor, times: int) -> Tensor:
    """Turn the last two axes by quarter turns, exactly."""
    return torch.rot90(x, times, (-2, -1))


# ------------------------------------------------------------------------------- encoders


def quarter_turn_error(
    encoder: Callable[[Images], Images],
    case: Case,
    *,
    channels: int = 1,
    size_multiple: int = 4,
    size_offset: int = 0,
    act: Callable[[Images, int], Images] = quarter_turn,
) -> float:
    """How far f(turned x) is from turned f(x), relative to the spread of f.

    Args:
        encoder: any map of images; a module is copied, so that its statistics are left alone.
        case: the images, the turn, and the mode of a module.
        channels: of its input.
        size_multiple: sizes that are multiples of this, plus ``size_offset``, are valid.
        size_offset: see there.
        act: turns the input so many times; given where the input's channels are not scalars.

    Returns:
        As :func:`relative_error`.

    Example:
        >>> case = Case(0, 4, 2, 1, False, 1.0)
        >>> quarter_turn_error(lambda x: x.roll(1, dims=-1), case) > 0.1
        True
    """
    f, x = _copied(encoder, case, channels, case.blocks * size_multiple + size_offset)
    with torch.no_grad():
        straight, of_turned = f(x), f(act(x, case.quarter_turns))
    return relative_error(of_turned, quarter_turn(straight, case.quarter_turns))


def mirror_error(
    encoder: Callable[[Images], Images],
    case: Case,
    *,
    channels: int = 1,
    size_multiple: int = 4,
    size_offset: int = 0,
) -> float:
    """How far f(mirrored x) is from mirrored f(x); arguments as :func:`quarter_turn_error`.

    Example:
        >>> case = Case(0, 4, 2, 1, False, 1.0)
        >>> mirror_error(lambda x: x.roll(1, dims=-1), case) > 0.1
        True
    """
    f, x = _copied(encoder, case, channels, case.blocks * size_multiple + size_offset)
    with torch.no_grad():
        return relative_error(f(x.flip(-1)), f(x).flip(-1))


def _copied(
    encoder: Callable[[Images], Images], case: Case, channels: int, size: int
) -> tuple[Callable[[Images], Images], Images]:
    """The map, copied and in the case's mode if it is a module, and the images of a case."""
    if not isinstance(encoder, nn.Module):
        return encoder, case.images(case.batch, channels, size, torch.float32)
    # Random layers, such as dropout, obey no law: they are left out.
    f = copy.deepcopy(encoder).train(case.training)
    for module in f.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    dtype = next(encoder.parameters()).dtype
    return f, case.images(case.batch, channels, size, dtype)


def of_encoder(
    name: str,
    encoder: Callable[[Images], Images],
    *,
    channels: int = 1,
    size_multiple: int = 4,
    size_offset: int = 0,
) -> list[Property]:
    """What must hold of a rotation-equivariant encoder in float32.

    Args:
        name: of the encoder, as a claim names it.
        encoder: any map of images.
        channels: of its input.
        size_multiple: sizes that are multiples of this, plus ``size_offset``, are valid.
        size_offset: see there.

    Returns:
        The claims, for :func:`equicomir.gate.gate`.
    """
    return [
        Property(
            f"{name}: turning the image by quarter turns turns its representation",
            lambda case: quarter_turn_error(
                encoder,
                case,
                channels=channels,
                size_multiple=size_multiple,
                size_offset=size_offset,
            ),
            1e-5,
        )
    ]


# -------------------------------------------------------------------------------- filters


def constant_response(image_filter: Callable[[Images], Images], case: Case) -> float:
    """The greatest response to constant images of values up to about ten.

    Args:
        image_filter: any map of images.
        case: the values.

    Returns:
        0 for a high-pass.
    """
    values = case.images(case.batch, 1, 1, torch.float64) * 3
    return float(image_filter(values.expand(-1, -1, 32, 32).clone()).abs().max())


def linearity_error(image_filter: Callable[[Images], Images], case: Case) -> float:
    """How far filter(a x + y) is from a filter(x) + filter(y).

    Args:
        image_filter: any map of images.
        case: the images, and the factor a.

    Returns:
        As :func:`relative_error`.
    """
    x, y = case.images(2, 1, 32, torch.float64).split(1)
    factor = case.batch - 0.5
    together = image_filter(factor * x + y)
    return relative_error(together, factor * image_filter(x) + image_filter(y))


def filter_turn_error(image_filter: Callable[[Images], Images], case: Case) -> float:
    """How far the filter is from commuting with quarter turns.

    Args:
        image_filter: any map of images.
        case: the images and the turn.

    Returns:
        As :func:`relative_error`.
    """
    x = case.images(case.batch, 1, 4 * case.blocks, torch.float64)
    turned_after = quarter_turn(image_filter(x), case.quarter_turns)
    return relative_error(image_filter(quarter_turn(x, case.quarter_turns)), turned_after)


def of_filter(image_filter: Callable[[Images], Images]) -> list[Property]:
    """What must hold of a high-pass filter, in float64."""
    claims: list[tuple[str, Callable[[Callable[[Images], Images], Case], float]]] = [
        ("filter: removes constants", constant_response),
        ("filter: is linear", linearity_error),
        ("filter: commutes with quarter turns", filter_turn_error),
    ]
    return [
        Property(name, lambda case, error=error: error(image_filter, case), 1e-9)  # type: ignore[misc]
        for name, error in claims
    ]


# --------------------------------------------------------------------------------- losses

Loss = Callable[[Stack], Tensor]


def representations(case: Case, channels: int, size: int) -> Stack:
    """Random representations of two modalities, (2, batch, channels, size, size), float64.

    Args:
        case: whose seed draws them.
        channels: of each.
        size: height and width, in pixels.

    Returns:
        (2, batch, channels, size, size).
    """
    every = case.images(2 * case.batch, channels, size, torch.float64)
    return every.reshape(2, case.batch, channels, size, size)


def naive_error(loss: Loss, naive: Loss, case: Case, *, channels: int, size: int) -> float:
    """|loss - its naive form|, relative to one nat or the loss, whichever is more.

    Args:
        loss: of (2, batch, channels, size, size).
        naive: the same by its definition.
        case: whose representations.
        channels: of them.
        size: of them, in pixels.

    Returns:
        0 where both agree; infinite where one is not a number.
    """
    y = representations(case, channels, size)
    expected = float(naive(y))
    return _finite(abs(float(loss(y)) - expected) / max(1.0, abs(expected)))


def loss_turn_error(loss: Loss, case: Case, *, channels: int, size: int) -> float:
    """How much the loss changes when all representations are turned together.

    Args:
        loss: of (2, batch, channels, size, size).
        case: the representations and the turn.
        channels: of them.
        size: of them, in pixels.

    Returns:
        In units of the loss.
    """
    y = representations(case, channels, size)
    return _finite(abs(float(loss(y)) - float(loss(quarter_turn(y, case.quarter_turns)))))


def loss_mirror_error(loss: Loss, case: Case, *, channels: int, size: int) -> float:
    """How much the loss changes when all representations are mirrored together.

    Args:
        loss: of (2, batch, channels, size, size).
        case: whose representations.
        channels: of them.
        size: of them, in pixels.

    Returns:
        In units of the loss.
    """
    y = representations(case, channels, size)
    return _finite(abs(float(loss(y)) - float(loss(y.flip(-1)))))


def offset_error(loss: Loss, case: Case, *, channels: int, size: int) -> float:
    """How much the loss changes when a different constant is added to each representation.

    Args:
        loss: of (2, batch, channels, size, size).
        case: whose representations.
        channels: of them.
        size: of them, in pixels.

    Returns:
        In units of the loss.
    """
    y = representations(case, channels, size)
    offsets = representations(case, channels, 1)
    return _finite(abs(float(loss(y + 5 * offsets.flip(1))) - float(loss(y))))


def gradient_sum_error(loss: Loss, case: Case, *, channels: int, size: int) -> float:
    """|sum| of the gradient over the pixels of a representation, relative to its size.

    Args:
        loss: of (2, batch, channels, size, size).
        case: whose representations.
        channels: of them.
        size: of them, in pixels.

    Returns:
        0 where a constant that is added changes nothing; at most 1.
    """
    y = representations(case, channels, size).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(y), y)
    total = gradient.sum((-2, -1)).abs().max()
    return _finite(float(total / gradient.abs().sum((-2, -1)).max().clamp(min=_TINY)))


def of_loss(
    loss: Loss, naive: Loss, *, size: int, channels: int = 1, filtered: bool
) -> list[Property]:
    """What must hold of a loss of representations, in float64.

    Args:
        loss: of (2, batch, channels, size, size).
        naive: the same by its definition, in a double loop.
        size: height and width of the representations, in pixels.
        channels: of the representations.
        filtered: whether it compares high-passed representations; then constants must not
            matter (for an unfiltered loss they do).

    Returns:
        The claims, for :func:`equicomir.gate.gate`.
    """
    shape = {"channels": channels, "size": size}
    found = [
        Property(
            "loss: equals its naive double loop",
            lambda case: naive_error(loss, naive, case, **shape),
            1e-8,
        ),
        Property(
            "loss: turning all representations together changes nothing",
            lambda case: loss_turn_error(loss, case, **shape),
            1e-8,
        ),
        Property(
            "loss: mirroring all representations together changes nothing",
            lambda case: loss_mirror_error(loss, case, **shape),
            1e-8,
        ),
    ]
    if filtered:
        found += [
            Property(
                "loss: adding a constant to each representation changes nothing",
                lambda case: offset_error(loss, case, **shape),
                1e-8,
            ),
            Property(
                "loss: its gradient with respect to a representation sums to zero",
                lambda case: gradient_sum_error(loss, case, **shape),
                1e-8,
            ),
        ]
    return found


def naive_info_nce(
    y: Stack,
    *,
    temperature: float,
    mask: Mask,
    image_filter: Callable[[Images], Images] | None = None,
    similarity: Callable[[Tensor, Tensor], Tensor] | None = None,
    negatives: Images | None = None,
) -> Tensor:
    """InfoNCE by its definition: loops over anchors, positives and negatives, a pair at a time.

    Args:
        y: shape (modalities, batch, channels, height, width).
        temperature: positive.
        mask: boolean (height, width).
        image_filter: applied to each representation alone, or None.
        similarity: of two lists of the values inside the mask; minus their MSE if None.
        negatives: more of them for every anchor, (any, channels, height, width).

    Returns:
        The loss, a scalar; see :func:`equicomir.losses.contrastive.info_nce`.
    """

    def inside(image: Tensor) -> Tensor:
        filtered = image[None] if image_filter is None else image_filter(image[None])
        return filtered[..., mask].flatten()

    def score(first: Tensor, second: Tensor) -> Tensor:
        if similarity is not None:
            return similarity(first, second) / temperature
        return -(first - second).square().mean() / temperature

    values = [[inside(image) for image in modality] for modality in y]
    more = [inside(image) for image in ([] if negatives is None else negatives)]
    losses = []
    for m, modality in enumerate(values):
        for scene, anchor in enumerate(modality):
            against = [score(anchor, other) for other in more]
            for others in values:
                against += [score(anchor, o) for k, o in enumerate(others) if k != scene]
            for n, others in enumerate(values):
                if n != m:
                    positive = score(anchor, others[scene])
                    total = torch.stack([positive, *against]).logsumexp(0)
                    losses.append(total - positive)
    return torch.stack(losses).mean()


def _finite(error: float) -> float:
    return error if math.isfinite(error) else math.inf
