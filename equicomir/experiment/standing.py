"""Which runs stand in the records, whichever version of the library wrote them.

A run is known by its settings. When the library learns a new setting, what was run before has its
default, which therefore must mean what was done before: else every published run would be run
again for a setting that it never used.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from equicomir.evaluation import records
from equicomir.evaluation.records import Record
from equicomir.experiment.plan import Registration
from equicomir.images.augmentation import Augmentation
from equicomir.losses.weighted import Penalties
from equicomir.representations import EncoderSettings
from equicomir.training.settings import TrainingSettings

_KINDS = {
    "encoder": EncoderSettings,
    "training": TrainingSettings,
    "registration": Registration,
    "augmentation": Augmentation,
    "penalties": Penalties,
}


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run with the defaults of those that it does not name.

    Example:
        >>> old = {"width": 64, "training": {"seed": 1}}
        >>> completed(old)["training"] == asdict(TrainingSettings(seed=1))
        True
    """
    found = dict(settings)
    for name, kind in _KINDS.items():
        if found.get(name) is not None:
            found[name] = completed({**asdict(kind()), **found[name]})
    return found


def standing(path: Path, *, data: str | None = None) -> dict[str, Record]:
    """The runs of a file of records by the key that their settings have today.

    Args:
        path: need not exist yet.
        data: in place of every run's fingerprint of the data, to find runs without the data.

    Returns:
        Records, by key.

    Raises:
        ValueError: the file is damaged.
    """
    found = {}
    for record in records.done(path).values():
        settings = completed(record["settings"])
        if data is not None:
            settings["data"] = data
        found[records.run_key(settings)] = record
    return found
