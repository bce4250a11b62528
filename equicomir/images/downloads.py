"""Downloads that go on where they broke off, and archives that cannot write elsewhere.

The public sets have gigabytes, and a network that holds that long is luck: what came is kept, and
asked for no more.
"""

import lzma
import shutil
import tarfile
import time
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.error import HTTPError
from urllib.request import Request, urlopen

# What damage, passwords and rare compressions raise, besides ValueError.
_UNPACKING = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
)
_ENDINGS = (".tar.bz2", ".tar.gz", ".tar.xz", ".tar", ".tgz", ".zip")


def resume(url: str, path: Path, *, attempts: int = 3, pause_seconds: float = 1.0) -> None:
    """Download a file, going on after what is already there, however often it breaks off.

    Args:
        url: its address, http or https.
        path: the file; what it holds is taken as the beginning of the download.
        attempts: how many times in a row may bring nothing new.
        pause_seconds: before trying again.

    Raises:
        ConnectionError: the server refuses or cannot be reached; what came is kept.
        ValueError: another kind of address.

    Example:
        >>> resume("ftp://127.0.0.1/a.zip", Path("a.zip"))
        Traceback (most recent call last):
        ValueError: url: expected an address with https://, got ftp://127.0.0.1/a.zip.
    """
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"url: expected an address with https://, got {url}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    fruitless = 0
    while True:
        before = path.stat().st_size if path.exists() else 0
        try:
            if _receive(url, path, before):
                return
            reason = "the connection broke off"
        except HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code in (401, 403, 404, 410):  # asking again changes nothing
                raise ConnectionError(reason) from error
        except (OSError, HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        after = path.stat().st_size if path.exists() else 0
        fruitless = 0 if after > before else fruitless + 1
        if fruitless >= attempts:
            raise ConnectionError(reason)
        time.sleep(pause_seconds)


def _receive(url: str, path: Path, have: int) -> bool:
    """One request for what is missing; whether the file is now complete."""
    headers = {"User-Agent": "equicomir"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urlopen(Request(url, headers=headers), timeout=60)
    except HTTPError as error:
        if error.code != 416:
            raise
        # Nothing lies after what is there: it is all, or was never the beginning of this file.
        if error.headers.get("Content-Range", "") == f"bytes */{have}":
            return True
        path.unlink()
        return False
    with answer:
        goes_on = answer.status == 206
        if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            path.unlink()
            return False
        received = 0
        with path.open("ab" if goes_on else "wb") as file:  # no ranges: all comes again
            while chunk := answer.read(2**20):
                received += file.write(chunk)
        expected = answer.headers.get("Content-Length")
        return expected is None or received == int(expected)


def unpacked(path: Path) -> Path | None:
    """The folder beside an archive that it is unpacked into, or None for another file.

    Args:
        path: of the file, which need not exist.

    Returns:
        The folder, named as the archive without its ending (.zip, .tar, .tar.gz, ...).

    Example:
        >>> unpacked(Path("cache/cells.tar.gz")).name, unpacked(Path("cache/brain.nii.gz"))
        ('cells', None)
    """
    for ending in _ENDINGS:
        if path.name.lower().endswith(ending):
            return path.with_name(path.name[: -len(ending)])
    return None


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into a new folder; all of it, or nothing.

    Args:
        archive: the file.
        folder: made by this; nothing is written outside it.

    Raises:
        ValueError: the archive is damaged, or a name in it points outside the folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(folder / "cells.zip", "w") as zipped:
        ...     zipped.writestr("A/cell_1.txt", "round")
        >>> unpack(folder / "cells.zip", folder / "cells")
        >>> (folder / "cells/A/cell_1.txt").read_text()
        'round'
    """
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as zipped:
                for name in zipped.namelist():
                    check_inside(archive, name)
                zipped.extractall(partial)
        else:
            with tarfile.open(archive) as tarred:
                for name in tarred.getnames():
                    check_inside(archive, name)
                tarred.extractall(partial, filter="data")
    except _UNPACKING as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise ValueError(
            f"{archive}: expected an archive that can be unpacked, got: {reason}; delete it, then "
            f"fetch again."
        ) from error
    partial.rename(folder)


def check_inside(where: object, name: str) -> None:
    """Refuse a relative file name that leads out of its folder.

    Args:
        where: what holds the name, for the message.
        name: with slashes, of either kind, between folders.

    Raises:
        ValueError: it is absolute, names a drive, or goes up.

    Example:
        >>> check_inside("a.zip", "../b")
        Traceback (most recent call last):
        ValueError: a.zip: expected names inside its folder, got ../b; do not use this file.
    """
    posix, windows = PurePosixPath(name.replace("\\", "/")), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or ".." in posix.parts:
        raise ValueError(
            f"{where}: expected names inside its folder, got {name}; do not use this file."
        )
