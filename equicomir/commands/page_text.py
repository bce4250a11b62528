"""What a registration says of itself in words: for a person who will not read a matrix."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from equicomir.geometry import image_centre, rotation_degrees, transform_points
from equicomir.registration.alignment import Alignment
from equicomir.registration.evidence import distance, lead
from equicomir.registration.verdict import Calibration
from equicomir.shapes import Matrix

_DISTINCT_DEGREES = 15.0  # as for :func:`equicomir.registration.evidence.lead`
_CUT_LEAD = 6.0  # likewise
_FAR = 0.1  # of the side: looks that end so far from each other speak against a registration
_SCORES = {
    "search": "the correlation of both representations where they overlap, 1 at most",
    "information": "the information that both images share where they overlap, in nats",
}


def transform_words(
    moving_to_fixed: Matrix,
    fixed_size: tuple[int, int],
    moving_size: tuple[int, int],
    pixel_size_micrometres: tuple[float, float] | None = None,
) -> str:
    """A linear transform as a sentence: what is done to the moving image, in order.

    Args:
        moving_to_fixed: 3 x 3 matrix.
        fixed_size: (height, width) of the fixed image, in pixels.
        moving_size: likewise of the moving one.
        pixel_size_micrometres: (row, column) of the fixed image, None where nobody knows.

    Returns:
        Mirror, stretch, shear, turn and move, as far as there are any, about the centre of the
        moving image, which is first laid on that of the fixed one: scales along rows and columns
        of the moving image, angles and pixels to one decimal.

    Example:
        >>> from equicomir.geometry import rigid
        >>> transform_words(rigid(117.3, (14.2, 0), centre=(4.5, 4.5)), (10, 10), (10, 10))
        'turned by 117.3 degrees counter-clockwise and moved 14.2 px down'
    """
    degrees = rotation_degrees(moving_to_fixed)
    back = np.radians(-degrees)
    unturned = np.array([[np.cos(back), -np.sin(back)], [np.sin(back), np.cos(back)]])
    # What is left is upper triangular: the columns of the moving image lie straight up again.
    (down, slant), (_, across) = unturned @ moving_to_fixed[:2, :2]
    centre = np.array([image_centre(*moving_size)])
    move = transform_points(moving_to_fixed, centre)[0] - image_centre(*fixed_size)
    done = ["mirrored left to right"] if across < 0 else []
    done += _scale_words(float(down), abs(float(across)))
    shear = math.degrees(math.atan2(slant, across) if across > 0 else math.atan2(-slant, -across))
    if round(shear, 1):
        done.append(f"sheared by {abs(shear):.1f} degrees, its right side {_way(shear, 'down')}")
    done.append(
        f"turned by {abs(degrees):.1f} degrees {'counter-' if degrees > 0 else ''}clockwise"
        if round(degrees, 1)
        else "not turned"
    )
    ways = []
    for axis, way in enumerate(("down", "to the right")):
        if round(move[axis], 1):
            length = f"{abs(move[axis]):.1f} px"
            if pixel_size_micrometres is not None:
                length += f" ({abs(move[axis]) * pixel_size_micrometres[axis]:.3g} µm)"
            ways.append(f"{length} {_way(move[axis], way)}")
    done.append(f"moved {' and '.join(ways)}" if ways else "not moved")
    return f"{', '.join(done[:-1])} and {done[-1]}"


def _scale_words(down: float, across: float) -> list[str]:
    if f"{down:.3f}" == f"{across:.3f}":
        return [] if f"{down:.3f}" == "1.000" else [f"scaled by {down:.3f}"]
    return [f"scaled by {down:.3f} along its height and {across:.3f} along its width"]


def _way(amount: float, positive: str) -> str:
    opposite = {"down": "up", "to the right": "to the left"}
    return positive if amount > 0 else opposite[positive]


def verdict_words(alignment: Alignment, calibration: Calibration) -> str:
    """Whether a registration is to be trusted, for the top of the page.

    Args:
        alignment: with its confidence.
        calibration: that the confidence is of.

    Returns:
        A paragraph.

    Example:
        >>> from equicomir.registration.search import register
        >>> from equicomir.registration.verdict import read_calibration
        >>> alignment = Alignment(np.eye(3), 0.5, confidence=0.25)
        >>> verdict_words(alignment, read_calibration(register))[:34]
        'Not to be trusted: the confidence '
    """
    reached, wanted = apart(alignment.confidence, calibration.threshold)
    if alignment.trusted:
        return (
            f"Trusted: the confidence that this registration is right is {reached}, and from "
            f"{wanted} on it is trusted."
        )
    return (
        f"Not to be trusted: the confidence that this registration is right is {reached}, and only "
        f"from {wanted} on would it be trusted. Look at the pictures before you use any of it: "
        f"what lies in both images must go on unbroken across every edge between them."
    )


def apart(one: float, other: float) -> tuple[str, str]:
    """Two probabilities with as many decimals, two or more, as tell them from each other.

    Up to four are also given where fewer would make one a 0 or 1 that it is not.

    Args:
        one: in [0, 1].
        other: likewise.

    Returns:
        Both as text.

    Example:
        >>> apart(0.25, 0.5), apart(0.4996, 0.5), apart(0.9999, 0.5)
        (('0.25', '0.50'), ('0.4996', '0.5000'), ('0.9999', '0.5000'))
    """
    texts = [str(one), str(other)]
    for decimals in range(2, 9):
        texts = [f"{value:.{decimals}f}" for value in (one, other)]
        whole = any(
            float(t) in (0, 1) and v not in (0, 1) for t, v in zip(texts, (one, other), strict=True)
        )
        if not (whole and decimals < 4) and (one == other or texts[0] != texts[1]):
            break
    return texts[0], texts[1]


def reasons(
    alignment: Alignment, calibration: Calibration, method: str, transform: str, covered: float
) -> list[str]:
    """What is known of an alignment that speaks for its confidence or against it, a sentence each.

    Args:
        alignment: as the method gives it.
        calibration: that the confidence is of.
        method: "search" or "information".
        transform: the kind that was asked for.
        covered: fraction of the fixed image that the moving one covers, in [0, 1].

    Returns:
        The sentences.
    """
    said = []
    if transform == "rigid":
        said.append(f"The score is {alignment.score:.3f}: {_SCORES[method]}.")
    else:
        said += [
            f"The score is {alignment.score:.3f}: elastix's own, at its end.",
            "The confidence is that of the rotation and translation from which elastix went on; "
            "what elastix added was not judged.",
        ]
    said += _lead_words(alignment.score_by_angle, rotation_degrees(alignment.moving_to_fixed))
    said.append(f"The moving image covers {100 * covered:.0f} % of the fixed one.")
    said += _looks_words(alignment.evidence)
    pairs = calibration.fitted_on.get("pairs")
    on = f" It was fitted on pairs of known truth: {'; '.join(map(str, pairs))}." if pairs else ""
    said.append(
        f"A confidence is a probability for pairs like those that it was fitted on; for other "
        f"kinds of images it is a guess.{on}"
    )
    return said


def _looks_words(evidence: Mapping[str, float]) -> list[str]:
    """Whether other looks end at the same place."""
    if not evidence:
        return []

    def away(name: str) -> str:
        fraction = distance(evidence[name])
        if fraction > _FAR:
            return f"{100 * fraction:.0f} % of the side away, a sign of error"
        return f"{100 * fraction:.1f} % of the side away"

    return [
        f"Registered with fixed and moving exchanged, the corners end {away('directions')}.",
        f"Registered from each of two halves of the fixed image alone, they end "
        f"{away('better_half')}, and {away('worse_half')}.",
        f"The nearest top of what both images share by another measure lies {away('exactness')}.",
        f"What relates the intensities in one half foretells those of the other by "
        f"{evidence['prediction']:.2f}, where 0 is not at all and 1 wholly.",
    ]


def _lead_words(score_by_angle: Sequence[tuple[float, float]], degrees: float) -> list[str]:
    other = runner_up(score_by_angle, degrees)
    if other is None:
        return []
    above = lead(list(score_by_angle), degrees)
    if above < 0:
        return [
            f"At the coarse scale where all angles are tried, another angle, {other[0]:.1f} "
            f"degrees, scored higher than the one found, by {-above:.1f} times the spread of the "
            f"scores: a sign of error."
        ]
    judged = "clearly ahead of" if above >= 3 else "ahead of" if above >= 1 else "hardly ahead of"
    times = f"{above:.1f}" if above < _CUT_LEAD else f"{_CUT_LEAD:.0f} or more"
    return [
        f"At the coarse scale where all angles are tried, the angle found is {judged} all that "
        f"are more than 15 degrees from it: by {times} times the spread of their scores; the best "
        f"of them is {other[0]:.1f} degrees."
    ]


def runner_up(
    score_by_angle: Sequence[tuple[float, float]], degrees: float
) -> tuple[float, float] | None:
    """The best angle, and its score, of those more than 15 degrees from another.

    Args:
        score_by_angle: (degrees, score).
        degrees: the other.

    Returns:
        The angle in [-180, 180) and its score; None where there is none, or none nearer.

    Example:
        >>> runner_up([(0.0, 5.0), (90.0, 1.0), (180.0, 3.0), (270.0, 2.0)], 358.0)
        (-180.0, 3.0)
    """
    tried = [((a + 180) % 360 - 180, s) for a, s in score_by_angle if math.isfinite(s)]
    far = [p for p in tried if abs((p[0] - degrees + 180) % 360 - 180) > _DISTINCT_DEGREES]
    if not far or len(far) == len(tried):
        return None
    return max(far, key=lambda p: p[1])
