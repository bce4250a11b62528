"""The sets on which experiments are run, and what is known of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from equicomir.evaluation import units
from equicomir.evaluation.displacements import TestPair
from equicomir.images.intensities import Curve
from equicomir.images.pairs import Scene
from equicomir.images.sources import Parts, embedded, read_parts


@dataclass(frozen=True)
class DataSet:
    """Where an experiment is run, and what is known of it.

    Attributes:
        name: of its folder, and of its committed lists of test pairs.
        modalities: fixed first, moving second, and a third where there is one to learn from.
        widths: of the test patches, in pixels.
        truth_pixels: how far, about, the truth of a pair is off, least and most over the field.
        unit: what is independent in its test part: ``"scenes"``, ``"blocks"`` or ``"runs"``.
        masks: name of the folder of masks, if there is one.
        curves: how intensities are scaled, one a modality or one for all.
        least_content: share of a test patch that is not background, where a list is drawn.
    """

    name: str
    modalities: tuple[str, ...]
    widths: tuple[int, ...]
    unit: Literal["scenes", "blocks", "runs"]
    masks: str | None = None
    curves: tuple[Curve, ...] = ("linear",)
    truth_pixels: tuple[float, float] = (0.0, 0.0)
    least_content: float = 0.0

    def read(self, data: Path | None, modalities: tuple[str, ...] | None = None) -> Parts:
        """Its parts from the folder of all sets; the embedded picture if None.

        Args:
            data: the folder.
            modalities: those to read, of its own; its first two if None.

        Returns:
            Training, validation and test part.

        Raises:
            ValueError: the folder has no such set.
        """
        modalities = modalities or self.modalities[:2]
        if data is None:
            return embedded(modalities)
        return read_parts(data / self.name, modalities, masks=self.masks)

    def units_of(self, pairs: Sequence[TestPair]) -> list[str]:
        """The independent unit of each pair."""
        of: dict[str, units.Units] = {
            "scenes": units.scenes,
            "blocks": units.blocks,
            "runs": units.runs,
        }
        return of[self.unit](pairs)

    @property
    def compared_widths(self) -> tuple[int, ...]:
        """Those at which 2 % of the width is at least twice the truth's least error."""
        return tuple(width for width in self.widths if 0.02 * width >= 2 * self.truth_pixels[0])

    @property
    def on_the_truth(self) -> str:
        """What the error of the truth means for a comparison, for a reader; or nothing."""
        least, greatest = self.truth_pixels
        edge = [w for w in self.compared_widths if 0.02 * w < 2 * greatest]
        if not edge:
            return ""
        near = ", ".join(f"{0.02 * w:.2f} px at {w}" for w in edge)
        return (
            f"{self.name}: the truth is off by {least:g} to {greatest:g} px, and success by 2 % of "
            f"the width ({near} px) ought to be twice that: read it as the edge of what can be told"
        )

    @property
    def within(self) -> str:
        """How far its results reach, for a reader."""
        return {"scenes": "", "blocks": "within this field", "runs": "within this patient"}[
            self.unit
        ]


#: One colour picture, two stains: what an experiment is tried on where there are no data.
EMBEDDED = DataSet("immunohistochemistry", ("haematoxylin", "dab", "eosin"), (96,), "blocks")

#: How far the truth of the three sets whose modalities are not one instrument's may be off.
_PIXELS = (1.0, 1.5)

#: The sets of the protocol, at the widths at which not every pair is registered.
SETS = (
    DataSet(
        "motor_neurons",
        ("phase_contrast", "nfh", "map2"),
        (128,),
        "blocks",
        truth_pixels=_PIXELS,
    ),
    DataSet(
        "tissue_core",
        ("bright_field", "second_harmonic"),
        (128,),
        "blocks",
        masks="valid",
        truth_pixels=_PIXELS,
    ),
    DataSet(
        "brain_mri",
        ("T1", "T2", "FLAIR"),
        (64, 48),
        "runs",
        truth_pixels=(0.0, 0.25),
        least_content=0.9,
    ),
    DataSet(
        "fly_cells",
        ("channel_d", "channel_r", "channel_f"),
        (128,),
        "blocks",
        truth_pixels=_PIXELS,
    ),
)


def lacking(scenes: Sequence[Scene], modality: str, share: float) -> list[Scene]:
    """Scenes of which a share lacks one modality.

    Args:
        scenes: all with all.
        modality: which some lose.
        share: of the scenes, evenly spread, but for the first; of a single scene, which is cut in
            two, of its rows, the last. In [0, 1).

    Returns:
        At least one scene that has all, first.

    Example:
        >>> import torch
        >>> one = Scene("a", {"T1": torch.rand(1, 8, 8), "T2": torch.rand(1, 8, 8)})
        >>> [(list(s.images), s.size) for s in lacking([one], "T2", 0.25)]
        [(['T1', 'T2'], (6, 8)), (['T1'], (2, 8))]
    """
    if share == 0:
        return list(scenes)
    if len(scenes) == 1:
        height = scenes[0].size[0]
        cut = round((1 - share) * height)
        scenes, lost = [_rows(scenes[0], 0, cut), _rows(scenes[0], cut, height)], {1}
    else:
        lost = {n for n in range(1, len(scenes)) if int(n * share) > int((n - 1) * share)}
    return [
        replace(scene, images={m: x for m, x in scene.images.items() if m != modality})
        if number in lost
        else scene
        for number, scene in enumerate(scenes)
    ]


def _rows(scene: Scene, first: int, past: int) -> Scene:
    images = {modality: scene.window(modality, (first, past)) for modality in scene.images}
    mask = None if scene.mask is None else scene.mask[first:past]
    return replace(scene, name=f"{scene.name}, rows {first} on", images=images, mask=mask)
