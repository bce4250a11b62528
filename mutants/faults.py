"""Faults that people make in such code, by name.

Each is a text that stands once in a file of the package, and what is written in its place.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A fault made by hand.

    Attributes:
        name: what is wrong.
        file: in the package.
        old: what stands there, once.
        new: what stands there with the fault.
    """

    name: str
    file: str
    old: str
    new: str


FAULTS = (
    Fault(
        "sign of an angle", "geometry.py", "[[cos, -sin], [sin, cos]]", "[[cos, sin], [-sin, cos]]"
    ),
    Fault(
        "sign of an angle of a batch",
        "geometry.py",
        "radians = degrees * (math.pi / 180)",
        "radians = degrees * (-math.pi / 180)",
    ),
    Fault(
        "sign of the measured turn",
        "evaluation/equivariance.py",
        "return torch.rot90(images, round(degrees / 90), (2, 3))",
        "return torch.rot90(images, -round(degrees / 90), (2, 3))",
    ),
    Fault(
        "transposed axes", "geometry.py", ".flip(-1)  # grid_sample asks", "  # grid_sample asks"
    ),
    Fault(
        "transposed matrix for points",
        "geometry.py",
        "points @ matrix[:2, :2].T +",
        "points @ matrix[:2, :2] +",
    ),
    Fault(
        "half a pixel: the centre",
        "geometry.py",
        "return (height - 1) / 2, (width - 1) / 2",
        "return height / 2, width / 2",
    ),
    Fault("half a pixel: the grid", "geometry.py", "align_corners=True", "align_corners=False"),
    Fault(
        "half a pixel: the disk",
        "filters.py",
        "torch.arange(size, dtype=torch.float64) - (size - 1) / 2",
        "torch.arange(size, dtype=torch.float64) - size / 2",
    ),
    Fault(
        "wrong parity: an odd kernel goes down on even sizes",
        "encoders/unet.py",
        '("even", "average"): (1, 1),',
        '("even", "average"): (1, 1, 1),',
    ),
    Fault(
        "wrong parity: an even kernel goes down on odd sizes",
        "encoders/unet.py",
        '("odd", "average"): (1, 1, 1),',
        '("odd", "average"): (1, 1),',
    ),
    Fault(
        "kernel not zero-sum",
        "responses.py",
        "return 1 - torch.exp2(-((f / cutoff) ** 2))",
        "return 1 - 0.99 * torch.exp2(-((f / cutoff) ** 2))",
    ),
    Fault(
        "missing temperature",
        "losses/contrastive.py",
        "scores = _finite(similarity(every, every, mask)) / temperature",
        "scores = _finite(similarity(every, every, mask))",
    ),
    Fault(
        "missing temperature of added negatives",
        "losses/contrastive.py",
        "of_more = _finite(similarity(every, more, mask)) / temperature",
        "of_more = _finite(similarity(every, more, mask))",
    ),
    Fault(
        "positives among the negatives",
        "losses/contrastive.py",
        "scores.masked_fill(same_scene, -torch.inf).flatten(2)",
        "scores.flatten(2)",
    ),
    Fault(
        "the anchor itself among the positives",
        "losses/contrastive.py",
        "return losses[~own].mean()",
        "return losses.mean()",
    ),
    Fault(
        "dropped inverse rotation",
        "losses/rotated_pairs.py",
        'turned = warp(every, matrices, outside="border")',
        "turned = every",
    ),
    Fault(
        "turned once more in place of back",
        "losses/rotated_pairs.py",
        "matrices = rotations(degrees.flatten().to(every), *every.shape[-2:])",
        "matrices = rotations(-degrees.flatten().to(every), *every.shape[-2:])",
    ),
    Fault(
        "mask ignored by the loss",
        "losses/similarity.py",
        "return torch.where(mask.to(x.device), x, 0).flatten(1), inside * images.shape[1]",
        "return x.flatten(1), inside * images.shape[1]",
    ),
    Fault(
        "mean over the whole image in place of the mask",
        "losses/similarity.py",
        "x, 0).flatten(1), inside * images.shape[1]",
        "x, 0).flatten(1), x[0].numel()",
    ),
    Fault(
        "mask ignored by registration",
        "registration/overlap.py",
        "uncovered: ArrayMask = covered[0].numpy() == 0",
        "uncovered: ArrayMask = covered[0].numpy() >= 0",
    ),
    Fault(
        "basis not averaged over the group",
        "encoders/fields.py",
        "return total / len(list(_grid_elements(group)))",
        "return sampled",
    ),
    Fault(
        "basis not normalised",
        "encoders/fields.py",
        "column[nth] = math.sqrt(size)",
        "column[nth] = 1.0",
    ),
    Fault(
        "fibre not turned with the kernel",
        "encoders/fields.py",
        '"xo,boikl,yi->bxykl", out_matrix, moved, in_matrix',
        '"xo,boikl,yi->bxykl", out_matrix, sampled, in_matrix',
    ),
    Fault(
        "statistics over patches in place of scenes",
        "evaluation/units.py",
        "return [pair.scene for pair in pairs]",
        "return [str(place) for place, _ in enumerate(pairs)]",
    ),
    Fault(
        "statistics blind to the seeds",
        "evaluation/statistics.py",
        "    if variance == 0:\n",
        "    if variance >= 0:\n",
    ),
    Fault(
        "error of the centre in place of the corners",
        "evaluation/alignment.py",
        "points = corners(width, width)",
        "points = corners(width, width).mean(0, keepdims=True)",
    ),
    Fault(
        "failed pairs left out of the rate",
        "evaluation/alignment.py",
        "n, z = len(outcomes), 1.959964",
        "n, z = max(1, sum(not o.failure for o in outcomes)), 1.959964",
    ),
    Fault(
        "means of the whole images in a masked correlation",
        "registration/search.py",
        "cross = sums[1] - (f * m).sum(0) / overlap",
        "cross = sums[1]",
    ),
    Fault(
        "equivariance judged without taking the mean away",
        "properties.py",
        "spread = (expected - expected.mean()).norm()",
        "spread = expected.norm()",
    ),
    Fault(
        "a property that is always met",
        "properties.py",
        "return relative_error(of_turned, quarter_turn(straight, case.quarter_turns))",
        "return relative_error(straight, straight)",
    ),
)
