"""Settings of a run on disk: one JSON file that a person can write, and that a model already is.

The ``settings.json`` of a model is such a file too, so that what was learned once can be learned
again on other images. Reading is strict: a name or a type that does not fit is named, because a
setting that is silently not heard is a wrong experiment. A file that was written here is sealed
(:mod:`equicomir.sealed`): whoever changes it by hand takes its entry ``sha256`` out.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from equicomir.representations import EncoderSettings
from equicomir.sealed import read_sealed, write_sealed
from equicomir.training.settings import TrainingSettings

#: What a settings file holds, as the ``settings.json`` of a model calls it.
_PARTS: Mapping[str, type] = {"training": TrainingSettings, "encoders": EncoderSettings}
_OF_A_MODEL = "scalings"  # by which its file is told, and what else it notes is left alone


def write_settings(path: Path, training: TrainingSettings, encoders: EncoderSettings) -> None:
    """Write all settings of a run as JSON, those that are as by default too.

    Args:
        path: of the file; one that is there is replaced.
        training: of the run.
        encoders: of every encoder.

    Raises:
        OSError: the file cannot be written.
    """
    write_sealed(path, {"training": asdict(training), "encoders": asdict(encoders)})


def read_settings(path: Path) -> tuple[TrainingSettings, EncoderSettings]:
    """Read settings from JSON; what the file does not name has its default.

    Args:
        path: of a file with the parts ``"training"`` and ``"encoders"``, such as
            :func:`write_settings` writes, or of a model's ``settings.json``.

    Returns:
        The settings of training and of the encoders.

    Raises:
        ValueError: the file is missing or damaged, or holds a name, type or value that is no
            setting: the file and the name are in the message.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "settings.json"
        >>> write_settings(path, TrainingSettings(batch=8), EncoderSettings(widths=(2, 4)))
        >>> read_settings(path) == (TrainingSettings(batch=8), EncoderSettings(widths=(2, 4)))
        True
    """
    try:
        whole = read_sealed(path)
        unknown = sorted(set(whole) - set(_PARTS))
        if unknown and _OF_A_MODEL not in whole:
            raise ValueError(f"{unknown[0]!r}, which is none of its parts {', '.join(_PARTS)}")
        training, encoders = (
            _typed(name, kind, whole.get(name, {})) for name, kind in _PARTS.items()
        )
        return training, encoders
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{path}: expected settings as JSON, got: {reason}.") from error


def _typed(name: str, hint: Any, value: Any) -> Any:
    """A JSON value as the type of a setting; only what JSON cannot say is converted."""
    if isinstance(hint, type) and is_dataclass(hint):
        if not isinstance(value, dict):
            raise ValueError(f"{name}: expected names and values, got {value!r}")
        hints, known = get_type_hints(hint), [f.name for f in fields(hint)]
        for inner in value:
            if inner not in known:
                raise ValueError(f"{name}: expected settings of {', '.join(known)}, got {inner!r}")
        return hint(**{inner: _typed(inner, hints[inner], v) for inner, v in value.items()})
    if get_origin(hint) in (Union, UnionType):
        if value is None and NoneType in get_args(hint):
            return None
        (inside,) = (kind for kind in get_args(hint) if kind is not NoneType)
        return _typed(name, inside, value)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{name}: expected a list, got {value!r}")
        return tuple(_typed(name, get_args(hint)[0], entry) for entry in value)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            choices = ", ".join(map(repr, get_args(hint)))
            raise ValueError(f"{name}: expected one of {choices}, got {value!r}")
        return value
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"{name}: expected {_WORDS[hint]}, got {value!r}")
    return value


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
