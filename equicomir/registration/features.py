"""SIFT keypoints, ratio test and RANSAC: the classical feature-based method."""

import numpy as np

from equicomir.registration.alignment import Alignment, checked
from equicomir.shapes import Array, ArrayMask, Matrix


def register(
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    ratio: float = 0.8,
    inlier_pixels: float = 3.0,
) -> Alignment:
    """Match SIFT keypoints and fit a rigid transform to those that agree.

    Args:
        fixed: (height, width) or (channels, height, width); the mean of the channels is used.
        moving: likewise.
        fixed_mask: boolean (height, width): keypoints outside are not used.
        moving_mask: likewise.
        ratio: Lowe's ratio of nearest to second-nearest distance.
        inlier_pixels: RANSAC's threshold, in pixels.

    Returns:
        The alignment; ``score`` is the number of inliers.

    Raises:
        ValueError: bad input, or fewer than three matches agree.

    Source:
        Lowe 2004, doi 10.1023/B:VISI.0000029664.99615.94; OpenCV's implementation.
    """
    import cv2  # a heavy optional dependency, only of this method

    fixed, moving, fixed_mask, moving_mask = checked(fixed, moving, fixed_mask, moving_mask)
    sift = cv2.SIFT_create()  # type: ignore[attr-defined]  # its stubs lag behind
    found = []
    for image, mask in ((fixed.mean(0), fixed_mask), (moving.mean(0), moving_mask)):
        low, high = np.percentile(image, [0.5, 99.5])
        grey = (255 * np.clip((image - low) / max(high - low, 1e-12), 0, 1)).astype(np.uint8)
        area = None if mask is None else mask.astype(np.uint8)
        keypoints, descriptors = sift.detectAndCompute(grey, area)
        # OpenCV tells (x, y) with pixel centres at whole numbers: (column, row).
        places = np.array([k.pt[::-1] for k in keypoints], dtype=np.float64).reshape(-1, 2)
        found.append((places, descriptors))
    (fixed_points, fixed_words), (moving_points, moving_words) = found
    if fixed_words is None or moving_words is None or len(fixed_words) < 2:
        raise ValueError("fixed, moving: expected SIFT keypoints in both images, found none.")
    nearest = cv2.BFMatcher().knnMatch(moving_words, fixed_words, k=2)
    pairs = [(m.queryIdx, m.trainIdx) for m, n in nearest if m.distance < ratio * n.distance]
    if len(pairs) < 3:
        raise ValueError(f"fixed, moving: expected three SIFT matches or more, got {len(pairs)}.")
    source = moving_points[[query for query, _ in pairs]]
    target = fixed_points[[train for _, train in pairs]]
    cv2.setRNGSeed(0)
    _, inliers = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=inlier_pixels
    )
    kept = np.zeros(len(pairs), bool) if inliers is None else inliers.ravel().astype(bool)
    if kept.sum() < 3:
        raise ValueError("fixed, moving: expected three SIFT matches that agree, got fewer.")
    return Alignment(fit_rigid(source[kept], target[kept]), float(kept.sum()))


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
    source_mean, target_mean = source.mean(0), target.mean(0)
    u, _, vt = np.linalg.svd((target - target_mean).T @ (source - source_mean))
    linear = u @ np.diag([1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, target_mean - linear @ source_mean
    return matrix
