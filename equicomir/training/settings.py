"""What a training run is told: one value, one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from equicomir.images.augmentation import Augmentation
from equicomir.images.intensities import Curve


@dataclass(frozen=True)
class TrainingSettings:
    """How representations are learned.

    Attributes:
        seed: of weights, places and angles.
        minutes: wall time to spend when ``steps`` is None; the number of steps is then fixed
            once, from the measured time of the first ones, and recorded.
        steps: number of optimiser steps, or None to derive it from ``minutes``.
        patch_size: height and width of the patches, in pixels; a valid size of the encoder.
        batch: pairs a step; all others of a batch are a pair's negatives.
        scenes_at_once: from how many scenes the patches of a batch are taken; None for any.
        learning_rate: the peak of the one-cycle schedule of Adam.
        temperature: of InfoNCE.
        turns: turn every image of a pair by its own angle (rotated pairs): None for any angle, N
            for multiples of 360 / N degrees (4 is CoMIR's constraint, 1 no turn).
        high_pass_cutoff: in cycles per pixel: compare representations without what varies more
            slowly, so that scenes must be told apart by their detail; None compares them as
            they are.
        curves: how intensities are scaled, one of :data:`equicomir.images.intensities.Curve` a
            modality, in their order; one alone is for all.
        augmentation: what is varied beside the turns of each image; nothing if None.
        workers: processes that cut patches ahead, which pays where a GPU would wait for them;
            they do not change the weights.
    """

    seed: int = 0
    minutes: float = 5.0
    steps: int | None = None
    patch_size: int = 96
    batch: int = 12
    scenes_at_once: int | None = None
    learning_rate: float = 3e-3
    temperature: float = 0.5
    turns: int | None = None
    high_pass_cutoff: float | None = 0.05
    curves: tuple[Curve, ...] = ("linear",)
    augmentation: Augmentation | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible values.

        Raises:
            ValueError: naming the value.
        """
        if self.batch < 2:
            raise ValueError(f"batch: expected at least 2 pairs (negatives), got {self.batch}.")
        for name in ("minutes", "learning_rate", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}.")
        for name in ("steps", "scenes_at_once", "turns"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}.")
        if self.workers < 0:
            raise ValueError(f"workers: expected 0 or more, got {self.workers}.")
        for curve in self.curves or ("none",):
            if curve not in get_args(Curve):
                raise ValueError(f"curves: expected one of {get_args(Curve)}, got {curve!r}.")


def training_settings(values: Mapping[str, Any]) -> TrainingSettings:
    """Settings from what a JSON file holds of them; what is not there has its default.

    Raises:
        ValueError: an unknown name or an impossible value.

    Example:
        >>> from dataclasses import asdict
        >>> settings = TrainingSettings(curves=("log",), augmentation=Augmentation(mirror=True))
        >>> training_settings(asdict(settings)) == settings
        True
    """
    try:
        known = dict(values)
        if known.get("augmentation") is not None:
            known["augmentation"] = Augmentation(**known["augmentation"])
        if "curves" in known:
            known["curves"] = tuple(known["curves"])
        return TrainingSettings(**known)
    except TypeError as error:
        raise ValueError(f"settings: expected those of training, got: {error}.") from error
