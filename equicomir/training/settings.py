"""What a training run is told: one value, one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from equicomir.filters import HighPass
from equicomir.images.augmentation import Augmentation
from equicomir.images.intensities import Curve
from equicomir.losses.weighted import Penalties
from equicomir.training.schedule import Schedule

#: Those of :mod:`equicomir.losses.similarity` that have nothing to learn.
Similarity = Literal["negative_mse", "gaussian", "negative_l1", "cosine", "correlation", "angular"]

#: How numbers are computed, as Lightning Fabric names it.
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

#: What does not change the weights: a run may go on with other values of these.
INDIFFERENT = ("workers", "checkpoint_seconds", "minutes")


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
        high_pass_family: which high-pass, one of :data:`HighPass`.
        unfiltered: share, in [0, 1], of the loss that compares the representations as they are,
            beside the one that compares what the high-pass leaves.
        coarse_first: share, in [0, 1], of the steps that at the beginning compare the
            representations as they are, before the high-pass is set before the similarity.
        similarity: of two representations, one of :data:`Similarity`.
        shift_pixels: representations shifted by so many pixels are negatives too
            (:func:`equicomir.losses.hard_negatives.shifted_around`); 0 for none.
        penalties: weights of what is added to the loss; nothing if None.
        curves: how intensities are scaled, one of :data:`equicomir.images.intensities.Curve` a
            modality, in their order; one alone is for all.
        augmentation: what is varied beside the turns of each image; nothing if None.
        schedule: of the learning rate, :data:`equicomir.training.schedule.Schedule`.
        warm_up: steps up to the peak, of ``"cosine"``.
        clip: greatest norm of the gradient; None clips nothing.
        average: decay a step of the exponential moving average of the weights, which then are
            the model's, such as 0.99; 0 takes the last weights.
        precision: one of :data:`Precision`; the mixed ones are for GPUs. On a CPU shorter types
            have been seen 30 times slower, and ``"16-mixed"`` is not there.
        validations: how often the model is asked how well it registers; the best is kept.
        patience: validations without a better one after which the run ends; None never.
        workers: processes that cut patches ahead, which pays where a GPU would wait for them;
            they do not change the weights.
        checkpoint_seconds: between two checkpoints, where the run has a folder.
    """

    seed: int = 0
    minutes: float = 5.0
    steps: int | None = None
    patch_size: int = 64
    batch: int = 24
    scenes_at_once: int | None = None
    learning_rate: float = 3e-3
    temperature: float = 0.5
    turns: int | None = None
    high_pass_cutoff: float | None = 0.05
    high_pass_family: HighPass = "gaussian"
    unfiltered: float = 0.0
    coarse_first: float = 0.0
    similarity: Similarity = "negative_mse"
    shift_pixels: int = 0
    penalties: Penalties | None = None
    curves: tuple[Curve, ...] = ("linear",)
    augmentation: Augmentation | None = None
    schedule: Schedule = "one_cycle"
    warm_up: int = 0
    clip: float | None = None
    average: float = 0.0
    precision: Precision = "32-true"
    validations: int = 0
    patience: int | None = None
    workers: int = 0
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Refuse impossible values.

        Raises:
            ValueError: naming the value.
        """
        if self.batch < 2:
            raise ValueError(f"batch: expected at least 2 pairs (negatives), got {self.batch}.")
        for name in ("minutes", "learning_rate", "temperature", "checkpoint_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}.")
        for name in ("steps", "scenes_at_once", "turns", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}.")
        for name in ("workers", "warm_up", "validations", "shift_pixels"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}.")
        if not 0 <= self.average < 1:
            raise ValueError(f"average: expected a decay in [0, 1), got {self.average}.")
        for name in ("unfiltered", "coarse_first"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share in [0, 1], got {getattr(self, name)}.")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip: expected a positive norm or None, got {self.clip}.")
        for name, values, known in (
            ("curves", self.curves or ("none",), get_args(Curve)),
            ("schedule", (self.schedule,), get_args(Schedule)),
            ("high_pass_family", (self.high_pass_family,), get_args(HighPass)),
            ("similarity", (self.similarity,), get_args(Similarity)),
            ("precision", (self.precision,), get_args(Precision)),
        ):
            for value in values:
                if value not in known:
                    raise ValueError(f"{name}: expected one of {known}, got {value!r}.")
        for name, value, needs, there in (
            ("warm_up", self.warm_up, 'schedule="cosine"', self.schedule == "cosine"),
            ("patience", self.patience, "validations above 0", self.validations > 0),
            ("unfiltered", self.unfiltered, "a high_pass_cutoff", self.high_pass_cutoff),
            ("coarse_first", self.coarse_first, "a high_pass_cutoff", self.high_pass_cutoff),
        ):
            if value and not there:
                raise ValueError(
                    f"{name}: expected {needs} with it, without which it changes nothing, got "
                    f"{value} alone."
                )


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
        if known.get("penalties") is not None:
            known["penalties"] = Penalties(**known["penalties"])
        if "curves" in known:
            known["curves"] = tuple(known["curves"])
        return TrainingSettings(**known)
    except TypeError as error:
        raise ValueError(f"settings: expected those of training, got: {error}.") from error
