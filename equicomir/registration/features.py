"""SIFT keypoints, matched and agreed on by RANSAC: the classical feature-based method."""

from typing import Literal

import numpy as np

from equicomir.geometry import transform_points
from equicomir.registration.alignment import Alignment, checked, not_found
from equicomir.shapes import Array, ArrayMask, Matrix, Points, check_array

Model = Literal["rigid", "similarity", "affine"]

#: (n, 2): indices of the moving and of the fixed keypoint.
Pairs = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
#: Matches that must agree: one more than fix the model, or any few would agree with themselves.
LEAST_MATCHES = {"rigid": 3, "similarity": 3, "affine": 4}


def register(
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    model: Model = "rigid",
    cross_check: bool = False,
    ratio: float = 0.8,
    inlier_pixels: float = 3.0,
) -> Alignment:
    """Match SIFT keypoints and fit a transform to those that agree.

    Args:
        fixed: (height, width) or (channels, height, width); the mean of the channels is used.
        moving: likewise; its number of channels may differ.
        fixed_mask: boolean (height, width): keypoints outside are not used.
        moving_mask: likewise.
        model: ``"rigid"``, ``"similarity"`` or ``"affine"``.
        cross_check: keep the pairs that are each other's nearest, instead of the ratio test.
        ratio: Lowe's ratio of nearest to second-nearest distance, in (0, 1].
        inlier_pixels: how far from the transform a match may lie and agree, positive.

    Returns:
        The alignment; ``score`` is the number of matches that agree. Where fewer than
        :data:`LEAST_MATCHES` do, nothing was found, and ``failure`` says why.

    Raises:
        TypeError: not arrays of real numbers.
        ValueError: bad images or masks, or an argument outside its range.

    Example:
        >>> image = np.random.default_rng(0).normal(size=(16, 16)).repeat(8, 0).repeat(8, 1)
        >>> found = register(image, np.stack([np.rot90(image)] * 3))
        >>> bool(np.allclose(found.moving_to_fixed @ [0, 0, 1], [0, 127, 1], atol=0.1))
        True

    Source:
        Lowe 2004, doi 10.1023/B:VISI.0000029664.99615.94; OpenCV's implementation.
    """
    fixed, moving = (
        check_array(name, image).mean(0, keepdims=True)
        for name, image in (("fixed", fixed), ("moving", moving))
    )
    fixed, moving, fixed_mask, moving_mask = checked(fixed, moving, fixed_mask, moving_mask)
    if model not in LEAST_MATCHES:
        raise ValueError(f"model: expected one of {', '.join(LEAST_MATCHES)}, got {model!r}.")
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio: expected a value in (0, 1], got {ratio}.")
    if not inlier_pixels > 0:
        raise ValueError(f"inlier_pixels: expected a positive number, got {inlier_pixels}.")
    fixed_points, fixed_words = _keypoints(fixed[0], fixed_mask)
    moving_points, moving_words = _keypoints(moving[0], moving_mask)
    least = LEAST_MATCHES[model]
    if min(len(fixed_points), len(moving_points)) < least:
        return not_found(
            f"Fewer than {least} SIFT keypoints: {len(fixed_points)} in the fixed image, "
            f"{len(moving_points)} in the moving one."
        )
    pairs = _matches(moving_words, fixed_words, None if cross_check else ratio)
    if len(pairs) < least:
        return not_found(f"Expected {least} SIFT matches or more, got {len(pairs)}.")
    source, target = moving_points[pairs[:, 0]], fixed_points[pairs[:, 1]]
    matrix, agree = _agreed(source, target, model, inlier_pixels)
    if agree < least:
        return not_found(f"Expected {least} SIFT matches that agree, got {agree}.")
    return Alignment(matrix, float(agree))


def _keypoints(image: Array, mask: ArrayMask | None) -> tuple[Points, Array]:
    """Where they are (n, 2), and their descriptors (n, 128)."""
    import cv2  # a heavy optional dependency, only of this method

    # Without the precise upscaling all keypoints lie a quarter of a pixel off, towards larger
    # rows and columns: half a pixel between two images that are half a turn apart.
    sift = cv2.SIFT_create(enable_precise_upscale=True)  # type: ignore[attr-defined]  # old stubs
    low, high = np.percentile(image, [0.5, 99.5])
    grey = (255 * np.clip((image - low) / max(high - low, 1e-12), 0, 1)).astype(np.uint8)
    area = None if mask is None else mask.astype(np.uint8)
    keypoints, descriptors = sift.detectAndCompute(grey, area)
    # OpenCV tells (x, y) with pixel centres at whole numbers: (column, row).
    places = np.array([k.pt[::-1] for k in keypoints], dtype=np.float64).reshape(-1, 2)
    return places, descriptors


def _matches(moving_words: Array, fixed_words: Array, ratio: float | None) -> Pairs:
    """Index pairs (n, 2) of moving and fixed keypoints that look alike; mutual without ratio."""
    import cv2

    if ratio is None:
        mutual = cv2.BFMatcher(crossCheck=True).match(moving_words, fixed_words)
        pairs = [(m.queryIdx, m.trainIdx) for m in mutual]
    else:
        nearest = cv2.BFMatcher().knnMatch(moving_words, fixed_words, k=2)
        pairs = [(m.queryIdx, m.trainIdx) for m, n in nearest if m.distance < ratio * n.distance]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _agreed(
    source: Points, target: Points, model: Model, inlier_pixels: float
) -> tuple[Matrix, int]:
    """The transform on which most matches agree, and how many do."""
    import cv2

    cv2.setRNGSeed(0)  # RANSAC is to give one answer
    estimate = cv2.estimateAffine2D if model == "affine" else cv2.estimateAffinePartial2D
    _, inliers = estimate(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=inlier_pixels, maxIters=10000
    )
    kept = np.zeros(len(source), bool) if inliers is None else inliers.ravel().astype(bool)
    if kept.sum() < LEAST_MATCHES[model]:
        return np.eye(3), int(kept.sum())
    fit = {"rigid": fit_rigid, "similarity": fit_similarity, "affine": fit_affine}[model]
    matrix = fit(source[kept], target[kept])
    # RANSAC allows any scale; matches that agree on another one do not agree on a rigid map.
    gaps = np.linalg.norm(transform_points(matrix, source) - target, axis=1)
    return matrix, int((gaps <= inlier_pixels).sum())


def fit_rigid(source: Array, target: Array) -> Matrix:
    """The rotation and translation that take points nearest to others, by least squares.

    Args:
        source: shape (n, 2), as (row, column).
        target: shape (n, 2).

    Returns:
        The 3 x 3 matrix from source to target.

    Example:
        >>> from equicomir.geometry import rigid, transform_points
        >>> points = np.array([[0.0, 0.0], [4.0, 1.0], [2.0, 7.0]])
        >>> truth = rigid(40, (3, -2))
        >>> bool(np.allclose(fit_rigid(points, transform_points(truth, points)), truth))
        True

    Source:
        Umeyama 1991, doi 10.1109/34.88573, equations 40 to 42, with the scale kept at one.
    """
    return _umeyama(source, target, scaled=False)


def fit_similarity(source: Array, target: Array) -> Matrix:
    """The rotation, enlargement and translation that take points nearest to others.

    Args:
        source: shape (n, 2), as (row, column), not all the same.
        target: shape (n, 2).

    Returns:
        The 3 x 3 matrix from source to target, by least squares.

    Example:
        >>> from equicomir.transforms.linear import similarity
        >>> points = np.array([[0.0, 0.0], [4.0, 1.0], [2.0, 7.0]])
        >>> truth = similarity(40, 1.3, (3, -2))
        >>> bool(np.allclose(fit_similarity(points, transform_points(truth, points)), truth))
        True

    Source:
        Umeyama 1991, doi 10.1109/34.88573, equations 40 to 42.
    """
    return _umeyama(source, target, scaled=True)


def fit_affine(source: Array, target: Array) -> Matrix:
    """The affine map that takes points nearest to others, by least squares.

    Args:
        source: shape (n, 2), as (row, column), not all on a line.
        target: shape (n, 2).

    Returns:
        The 3 x 3 matrix from source to target.

    Example:
        >>> from equicomir.transforms.linear import affine
        >>> points = np.array([[0.0, 0.0], [4.0, 1.0], [2.0, 7.0]])
        >>> truth = affine([[1.1, 0.2], [0.0, 0.9]], (3, -2))
        >>> bool(np.allclose(fit_affine(points, transform_points(truth, points)), truth))
        True
    """
    homogeneous = np.column_stack([source, np.ones(len(source))])
    matrix = np.eye(3)
    matrix[:2] = np.linalg.lstsq(homogeneous, target, rcond=None)[0].T
    return matrix


def _umeyama(source: Array, target: Array, *, scaled: bool) -> Matrix:
    source_mean, target_mean = source.mean(0), target.mean(0)
    u, stretch, vt = np.linalg.svd((target - target_mean).T @ (source - source_mean))
    signs = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    linear = u @ np.diag(signs) @ vt
    if scaled:
        linear = linear * (stretch @ signs) / ((source - source_mean) ** 2).sum()
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, target_mean - linear @ source_mean
    return matrix
