"""Files of the library's own: written whole or not at all, and sealed, so that damage is seen.

A file with one digit changed is a file still, of another number. So what is written here as JSON
carries the SHA-256 of its content as its entry ``"sha256"``. One without it is read as it is: an
older one, or a person's own. One whose content is another is refused; whoever changed it on
purpose takes the entry out.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SEAL = "sha256"
#: Bytes of one JSON file: above it memory would be in danger, as Python needs twenty times that.
MOST = 2**26
_CHANGED = (
    "another content than its sha256 was made of; restore it, or take the entry sha256 out if you "
    "changed it yourself"
)


def write_whole(path: Path | str, content: bytes) -> None:
    """Write a file, whole or not at all: beside its place, forced to the disk, then renamed.

    Args:
        path: of the file; one that is there stands until the new one is whole.
        content: all of it.

    Raises:
        OSError: it cannot be written, or the disk is full; what was there still is.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a"
        >>> write_whole(path, b"all of it")
        >>> path.read_bytes()
        b'all of it'
    """
    write_together({Path(path): content})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: none takes its place before all are whole on the disk.

    Raises:
        OSError: one cannot be written, or the disk is full; what was there still is.
    """
    unfinished = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in files}
    try:
        for path, content in files.items():
            with unfinished[path].open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, beside in unfinished.items():
            os.replace(beside, path)
    finally:
        for beside in unfinished.values():
            with contextlib.suppress(OSError):  # the first error is the one to tell
                beside.unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """Remove what killed processes had begun of a file, of which no other process writes now."""
    for unfinished in path.parent.glob(f".{path.name}.*"):
        unfinished.unlink(missing_ok=True)


def digest(content: Mapping[str, Any]) -> str:
    """The SHA-256 of JSON values, however they are ordered and laid out.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> digest({"a": 1, "b": (2.0,)}) == digest({"b": [2.0], "a": 1})
        True
    """
    told = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values with their seal as the last entry.

    Example:
        >>> list(sealed({"a": 1}))
        ['a', 'sha256']
    """
    # As JSON gives it back: lists for tuples, and texts for names that are numbers.
    plain = json.loads(json.dumps({k: v for k, v in content.items() if k != SEAL}))
    return {**plain, SEAL: digest(plain)}


def unsealed(text: str | bytes) -> dict[str, Any]:
    """What sealed JSON holds, without its seal.

    Args:
        text: one mapping as JSON, sealed or not.

    Returns:
        Its content.

    Raises:
        ValueError: no JSON, another kind of value, a name twice, or another content than was
            sealed: half a sentence, without the name of the file.

    Example:
        >>> unsealed(json.dumps(sealed({"a": 1})))
        {'a': 1}
        >>> unsealed(json.dumps(sealed({"a": 1})).replace(": 1,", ": 2,"))
        Traceback (most recent call last):
        ValueError: another content than its sha256 was made of; restore it, or take the entry \
sha256 out if you changed it yourself
    """
    try:
        content = json.loads(text, object_pairs_hook=_each_once)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError(f"{type(content).__name__} in place of names and values")
    last = next(reversed(content), None)
    told = content.pop(SEAL, None)
    if told is not None:
        if told != digest(content):
            raise ValueError(_CHANGED)
    elif last is not None and isinstance(content[last], str) and len(content[last]) == 64:
        rest = {name: value for name, value in content.items() if name != last}
        if content[last] == digest(rest):  # the name of the seal is what was damaged
            raise ValueError(f"its sha256 under the name {last!r}; restore it")
    return content


def write_sealed(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write JSON that a person can read, sealed, whole or not at all.

    Args:
        path: of the file.
        content: JSON values.

    Raises:
        OSError: it cannot be written; what was there still is.
        TypeError, ValueError: something is no JSON value.
    """
    write_whole(path, as_json(content))


def as_json(content: Mapping[str, Any]) -> bytes:
    """What :func:`write_sealed` writes."""
    return (json.dumps(sealed(content), indent=2) + "\n").encode()


def read_sealed(path: Path | str) -> dict[str, Any]:
    """Read JSON, sealed or not.

    Raises:
        OSError: there is no such file.
        ValueError: as :func:`unsealed`, or it is too large.
    """
    with Path(path).open("rb") as file:
        text = file.read(MOST + 1)
    if len(text) > MOST:
        raise ValueError(f"more than {MOST} bytes")
    return unsealed(text.decode("utf-8"))


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} twice")
    return found
