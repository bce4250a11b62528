"""ITK's transforms: its ``.tfm`` text, which SimpleITK, elastix and Slicer read and write.

ITK takes points from the *fixed* image to the *moving* one, over (x, y), in the unit of the images'
spacing: three chances to be wrong without an error, taken care of here once. A last line that ITK
takes for a comment tells the SHA-256 of those before it, so that damage is seen.
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from equicomir.sealed import write_whole
from equicomir.shapes import Matrix
from equicomir.transforms.linear import (
    affine,
    check_matrix,
    check_pixel_size,
    compose,
    in_micrometres,
    in_pixels,
    invert,
    over_xy,
)

_TFM_HEAD = "#Insight Transform File V1.0"
_TFM_PARAMETERS = {  # how many numbers; the centre is two more, for those that have one
    "AffineTransform": 6,
    "MatrixOffsetTransformBase": 6,
    "Euler2DTransform": 3,
    "Rigid2DTransform": 3,
    "Similarity2DTransform": 4,
    "TranslationTransform": 2,
    "IdentityTransform": 0,
}
_ONE_PIXEL = (1.0, 1.0)
_SEAL = "#sha256"
_MOST = 2**20  # bytes: such a text has a few hundred


def write_tfm(
    path: Path | str,
    moving_to_fixed: Matrix,
    *,
    fixed_pixel_size_micrometres: tuple[float, float] = _ONE_PIXEL,
    moving_pixel_size_micrometres: tuple[float, float] = _ONE_PIXEL,
) -> None:
    """Write a transform as ITK's text, which SimpleITK's ``ReadTransform`` reads.

    Args:
        path: of the file, by custom ending in ``.tfm`` or ``.txt``.
        moving_to_fixed: 3 x 3 matrix over (row, column, 1), in pixels.
        fixed_pixel_size_micrometres: (row, column); the *spacing* that the other program will
            see, in its own unit (some programs say millimetres), with the origin at zero.
        moving_pixel_size_micrometres: likewise.

    Raises:
        ValueError: no transform, or no pixel size.

    Example:
        Moving two columns to the right is, from fixed to moving and over (x, y), (-2, 0).

        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "found.tfm"
        >>> write_tfm(path, affine(np.eye(2), (0, 2)))
        >>> print(path.read_text().splitlines()[3])
        Parameters: 1.0 0.0 0.0 1.0 -2.0 0.0
    """
    physical = in_micrometres(
        moving_to_fixed, moving_pixel_size_micrometres, fixed_pixel_size_micrometres
    )
    itk = over_xy(invert(physical)) + 0.0  # no negative zeros
    numbers = [*itk[:2, :2].ravel().tolist(), *itk[:2, 2].tolist()]
    lines = [
        _TFM_HEAD,
        "#Transform 0",
        "Transform: AffineTransform_double_2_2",
        "Parameters: " + " ".join(map(repr, numbers)),
        "FixedParameters: 0.0 0.0",
    ]
    lines.append(f"{_SEAL} {_digest(lines)}")
    write_whole(path, ("\n".join(lines) + "\n").encode("ascii"))


def read_tfm(
    path: Path | str,
    *,
    fixed_pixel_size_micrometres: tuple[float, float] = _ONE_PIXEL,
    moving_pixel_size_micrometres: tuple[float, float] = _ONE_PIXEL,
) -> Matrix:
    """Read a two-dimensional linear transform from ITK's text.

    Args:
        path: of the file. Affine, Euler2D, Rigid2D, Similarity2D, translation and identity
            transforms, and composites of them.
        fixed_pixel_size_micrometres: (row, column), in the unit of the file.
        moving_pixel_size_micrometres: likewise.

    Returns:
        ``moving_to_fixed``, 3 x 3 over (row, column, 1), in pixels (ITK keeps the opposite).

    Raises:
        ValueError: the file is damaged or holds another kind of transform, or no pixel size.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "found.tfm"
        >>> write_tfm(path, affine([[0, -1], [1, 0]], (3, 2)))
        >>> read_tfm(path).tolist()
        [[0.0, -1.0, 3.0], [1.0, 0.0, 2.0], [0.0, 0.0, 1.0]]
    """
    sizes = (
        check_pixel_size("moving_pixel_size_micrometres", moving_pixel_size_micrometres),
        check_pixel_size("fixed_pixel_size_micrometres", fixed_pixel_size_micrometres),
    )
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MOST + 1)
        if len(content) > _MOST:
            raise ValueError(f"more than {_MOST} bytes")
        text = content.decode("utf-8")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines or lines[0] != _TFM_HEAD:
            raise ValueError(f"no first line {_TFM_HEAD!r}")
        if not text.endswith("\n"):  # or the last number may be half a number
            raise ValueError("no line break at its end, where it may have been cut off")
        if lines[-1].partition(" ")[0] == _SEAL:
            *lines, seal = lines
            if seal != f"{_SEAL} {_digest(lines)}":
                raise ValueError(
                    "other lines than its sha256 was made of; restore it, or take its last line "
                    "out if you changed it yourself"
                )
        # ITK applies the last part of a composite first.
        with np.errstate(all="ignore"):  # numbers at the end of what floats hold: refused
            physical = compose(np.eye(3), *reversed(_parts(lines[1:])))
            return check_matrix("it", in_pixels(invert(physical), *sizes) + 0.0)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{path}: expected an ITK transform, got: {reason}.") from error


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def itk_matrix(kind: str, parameters: Sequence[float], centre: Sequence[float]) -> Matrix:
    """One of ITK's linear transforms as a matrix over (row, column, 1), in ITK's direction.

    Args:
        kind: ITK's name without its suffix, e.g. ``"Euler2DTransform"``.
        parameters: as ITK orders them; angles in radians.
        centre: of rotation, as (x, y); empty where the kind has none.

    Returns:
        The 3 x 3 matrix: from fixed to moving.

    Raises:
        ValueError: an unknown kind, or too few or too many numbers.

    Example:
        >>> itk_matrix("TranslationTransform", [2.0, 5.0], [])[:, 2].tolist()
        [5.0, 2.0, 1.0]
    """
    if kind not in _TFM_PARAMETERS:
        raise ValueError(f"the kind {kind!r}, not one of {', '.join(_TFM_PARAMETERS)}")
    central = kind not in ("TranslationTransform", "IdentityTransform")
    if len(parameters) != _TFM_PARAMETERS[kind] or len(centre) != 2 * central:
        raise ValueError(
            f"{kind} with {len(parameters)} parameters and {len(centre)} fixed ones, not "
            f"{_TFM_PARAMETERS[kind]} and {2 * central}"
        )
    linear, shift = np.eye(2), np.zeros(2)
    if kind != "IdentityTransform":
        shift = np.array(parameters[-2:])
    if _TFM_PARAMETERS[kind] == 6:
        linear = np.array(parameters[:4]).reshape(2, 2)
    elif central:
        scale, angle = (1.0, *parameters)[-4:-2]
        cos, sin = math.cos(angle), math.sin(angle)
        linear = scale * np.array([[cos, -sin], [sin, cos]])
    x, y = centre if central else (0.0, 0.0)
    return over_xy(affine(linear, (shift[0], shift[1]), centre=(x, y)))


def _parts(lines: Sequence[str]) -> list[Matrix]:
    """The transforms of a .tfm, in the order of the file."""
    blocks: list[dict[str, str]] = []
    for line in lines:
        if line.startswith("#Transform"):
            blocks.append({})
            continue
        name, colon, value = line.partition(":")
        if not blocks or not colon or name in blocks[-1]:
            raise ValueError(f"the line {line[:60]!r} where it does not belong")
        blocks[-1][name] = value.strip()
    kinds = [block.get("Transform", "").removesuffix("_double_2_2") for block in blocks]
    kinds = [kind.removesuffix("_float_2_2") for kind in kinds]
    if kinds and kinds[0] == "CompositeTransform" and len(kinds) > 1:
        kinds, blocks = kinds[1:], blocks[1:]
    elif len(kinds) != 1:
        raise ValueError(f"{len(kinds)} transforms that are no composite")
    return [
        itk_matrix(kind, *(_numbers(block.get(name)) for name in ("Parameters", "FixedParameters")))
        for kind, block in zip(kinds, blocks, strict=True)
    ]


def _numbers(text: str | None) -> list[float]:
    if text is None:
        raise ValueError("a transform without its parameters")
    return [float(word) for word in text.split()]
