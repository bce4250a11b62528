"""Public data sets of image pairs: where they are, what they are, and how to get them here.

A result on a set that others can fetch is one that others can check. Nothing is downloaded unless
:func:`fetch` is called; what cannot be downloaded is put in place by hand, where its message says.

Of the Zenodo sets, files and checksums are read from the publisher's own record when they are
fetched (Zenodo publishes MD5 sums), so that none is copied here and none can be outdated. What
could not be read from a publisher's text is said to be so, where it stands.
"""

import fnmatch
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch

from equicomir.images import published_pairs as pairs
from equicomir.images import published_readers as readers
from equicomir.images.downloads import check_inside, resume, unpack, unpacked


@dataclass(frozen=True)
class PublishedFile:
    """One file as published.

    Attributes:
        name: where it is put, relative to the set's folder, with ``/``.
        url: its address.
        checksum: ``"md5:..."`` or ``"sha256:..."`` as published, or None where none is.
    """

    name: str
    url: str
    checksum: str | None = None


@dataclass(frozen=True)
class Published:
    """A public data set.

    Attributes:
        name: of its folder in the cache.
        doi: the address that stays.
        record: address of the publisher's list of files with MD5 sums, or None: ``files`` is it.
        files: the files, where no record lists them.
        licence: as stated by the publisher, or where it is stated.
        citation: of the article that describes it.
        modalities: as the readers name them.
        folds: the published groups of test images, by subset, one entry a fold; empty: none.
        layout: what lies where, in one sentence.
        readers: functions that list its pairs from the folder that :func:`fetch` returns.
    """

    name: str
    doi: str
    record: str | None
    files: tuple[PublishedFile, ...]
    licence: str
    citation: str
    modalities: tuple[str, ...]
    folds: dict[str, tuple[frozenset[str], ...]]
    layout: str
    readers: tuple[Callable[..., Any], ...]


_LU_ARTICLE = (
    "Lu, Öfverstedt, Lindblad, Sladoje: Is image-to-image translation the panacea for multimodal "
    "image registration? A comparative study. PLOS ONE 17(11), 2022, "
    "doi 10.1371/journal.pone.0276196"
)

#: Moved pairs at four levels of displacement, from three sources. The record also lists metadata
#: of a fourth, radiological set (volumes), which the readers here leave alone.
LU = Published(
    name="lu",
    doi="10.5281/zenodo.5557568",
    record="https://zenodo.org/api/records/5557568",
    files=(),
    licence="CC BY 4.0",
    citation=_LU_ARTICLE,
    modalities=("A", "B"),
    folds=pairs.LU_FOLDS,
    layout=(
        "{Zurich,Balvan}_patches/fold{1,2,3}/patch_tlevel{1,2,3,4}/ and "
        "Eliceiri_patches/patch_tlevel{1,2,3,4}/ hold info_test.csv and {A,B}/test/NAME_{R,T}.png "
        "(.tif for Eliceiri), R the reference patch and T the transformed one; A is near infrared "
        "(Zurich), fluorescence (Balvan) or second harmonic (Eliceiri), B is blue, green, red "
        "(Zurich), quantitative phase (Balvan) or bright field (Eliceiri)."
    ),
    readers=(pairs.moved_pairs, pairs.reference_scenes),
)

#: The set CoMIR was trained on. Top folder and archive names could not be verified: the readers
#: look for the part's folder, whose name is CoMIR's own (train-biodata.ipynb), at any depth.
COMIR = Published(
    name="comir",
    doi="10.5281/zenodo.3874362",
    record="https://zenodo.org/api/records/3874362",
    files=(),
    licence="as stated by the record at doi.org/10.5281/zenodo.3874362 (not verified here)",
    citation=(
        "Pielawski, Wetzer, Öfverstedt, Lu, Wählby, Lindblad, Sladoje: CoMIR: Contrastive "
        "multimodal image representation for registration. NeurIPS 2020, arXiv 2006.06325"
    ),
    modalities=("SHG", "BF"),
    folds={},
    layout=(
        "TrainSet/NAME_{SHG,BF}.tif and Validation1Set/NAME_{SHG,BF}.tif are aligned pairs of "
        "second harmonic and bright field; TestSet/{R,T}_NAME_{SHG,BF}.tif are moved ones."
    ),
    readers=(readers.comir_scenes,),
)

#: The images behind Lu's Zurich patches. The order of channels is that of Lu's scripts and of the
#: publisher's own viewer, which stretches channels 1 to 3 together and 4 apart; the publisher's
#: page only names them, "NIR-R-G-B". Pictures that look wrong would say that it is the order.
ZURICH = Published(
    name="zurich",
    doi="10.5281/zenodo.5914759",
    record="https://zenodo.org/api/records/5914759",
    files=(),
    licence="as stated by the record at doi.org/10.5281/zenodo.5914759 (not verified here)",
    citation=(
        "Volpi, Ferrari: Semantic segmentation of urban scenes by learning local class "
        "interactions. CVPR Workshops (EarthVision), 2015"
    ),
    modalities=("BGR", "NIR"),
    folds={"Zurich": pairs.LU_FOLDS["Zurich"]},
    layout="images_tif/zh{1..20}.tif have the channels blue, green, red and near infrared.",
    readers=(readers.zurich_files, readers.read_zurich),
)

# A commit at which all 30 patients' MNI folders were listed, so that the files never change.
_OPEN_MS = (
    "https://raw.githubusercontent.com/muschellij2/open_ms_data/"
    "ab6737647be9665e5448d18be2d715e0a89f7170/cross_sectional/MNI/"
)

#: Brains in MNI space at 1 mm, skull-stripped. No checksums are published. The names were read
#: from the repository's listing for patients 07, 19 and 26 and are the same pattern elsewhere.
OPEN_MS = Published(
    name="open_ms",
    doi="10.1007/s12021-017-9348-7",
    record=None,
    files=tuple(
        PublishedFile(name, _OPEN_MS + name)
        for patient in range(1, 31)
        for modality in readers.MS_MODALITIES
        for name in [f"patient{patient:02}/{modality}{readers.MS_ENDING}"]
    ),
    licence="CC BY (version not stated)",
    citation=(
        "Lesjak et al.: A novel public MR image dataset of multiple sclerosis patients with lesion "
        "segmentations based on multi-rater consensus. Neuroinformatics, 2017, "
        "doi 10.1007/s12021-017-9348-7"
    ),
    modalities=readers.MS_MODALITIES,
    folds={},
    layout="patient{01..30}/{T1,T2,FLAIR}_..._regtoMNI.nii.gz are aligned NIfTI-1 volumes.",
    readers=(readers.ms_scenes, readers.axial_slices),
)

#: All sets, by name.
PUBLISHED = {published.name: published for published in (LU, COMIR, ZURICH, OPEN_MS)}


def cache_folder() -> Path:
    """Where public data are kept: the environment variable EQUICOMIR_DATA, else the cache.

    Returns:
        The folder, which need not exist yet.

    Example:
        >>> import os
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, EQUICOMIR_DATA="/data/public"):
        ...     cache_folder().as_posix()
        '/data/public'
    """
    moved = os.environ.get("EQUICOMIR_DATA")
    return Path(moved).expanduser() if moved else Path(pooch.os_cache("equicomir"))


def fetch(published: Published, *, matching: str = "*") -> Path:
    """Download a data set, or go on where that broke off; what is there is not downloaded again.

    Args:
        published: one of :data:`PUBLISHED`.
        matching: which files, as a pattern with ``*``, e.g. ``"Zurich*"`` or ``"patient07/*"``.

    Returns:
        The set's folder, for its readers; archives are unpacked in it.

    Raises:
        ValueError: no file matches, a checksum is wrong, an archive is damaged or would write
            outside the folder, or the network refuses: then what to download by hand, from
            where, and where to put it, for the next call to find it.

    Example:
        What was put in place by hand is found, and nothing is downloaded.

        >>> import tempfile
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, EQUICOMIR_DATA=tempfile.mkdtemp()):
        ...     by_hand = cache_folder() / "open_ms" / OPEN_MS.files[0].name
        ...     by_hand.parent.mkdir(parents=True)
        ...     by_hand.touch()
        ...     fetch(OPEN_MS, matching=OPEN_MS.files[0].name) == cache_folder() / "open_ms"
        True
    """
    folder = cache_folder() / published.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{folder}: expected a folder that can be made, got: {error.strerror}; set "
            f"EQUICOMIR_DATA to another."
        ) from error
    files = published.files or _listed(published, folder)
    wanted = [file for file in files if fnmatch.fnmatchcase(file.name, matching)]
    if not wanted:
        names = ", ".join(file.name for file in files[:5])
        raise ValueError(f"matching: expected a pattern of files such as {names}, got {matching}.")
    for file in wanted:
        check_inside(published.name, file.name)
        target = folder / file.name
        content = unpacked(target)
        if content is not None and content.is_dir():
            continue
        _obtain(file, target)
        if content is not None:
            unpack(target, content)
    return folder


def _listed(published: Published, folder: Path) -> tuple[PublishedFile, ...]:
    """The files of the publisher's record, which is kept beside them; else those put by hand."""
    assert published.record is not None
    kept = folder / "record.json"
    if not kept.is_file():
        fresh = folder / "record.json.part"
        fresh.unlink(missing_ok=True)
        try:
            resume(published.record, fresh)
        except ConnectionError as error:
            own = {".part", ".json"}
            found = sorted(path for path in folder.iterdir() if path.suffix not in own)
            if found:  # without the record nobody can say whether they are all, or right
                names = [path.name + ".zip" * path.is_dir() for path in found]  # unpacked by hand
                return tuple(PublishedFile(name, published.record) for name in names)
            raise ValueError(
                f"{published.record}: expected the list of files, got: {error}; download the "
                f"files of https://doi.org/{published.doi} by hand, put them into {folder}, then "
                f"fetch again."
            ) from error
        fresh.replace(kept)
    try:
        return tuple(
            PublishedFile(entry["key"], entry["links"]["self"], _with_kind(entry["checksum"]))
            for entry in json.loads(kept.read_text())["files"]
        )
    except (ValueError, KeyError, TypeError) as error:
        kept.unlink()
        raise ValueError(
            f"{published.record}: expected a Zenodo record with its files, got something else; "
            f"download the files of https://doi.org/{published.doi} by hand, put them into "
            f"{folder}, then fetch again without a network."
        ) from error


def _with_kind(checksum: str) -> str:
    return checksum if ":" in checksum else f"md5:{checksum}"


def _obtain(file: PublishedFile, target: Path) -> None:
    """Make sure that one file is there, and is the one published."""
    if target.is_file():
        came = _wrong(target, file.checksum)
        if came is not None:
            raise ValueError(
                f"{target}: expected the checksum {file.checksum}, got {came}; delete it, then "
                f"fetch again."
            )
        return
    partial = target.with_name(target.name + ".part")

    def go_on(url: str, output: str, _: object) -> None:
        resume(url, partial)
        came = _wrong(partial, file.checksum)
        if came is not None:
            partial.unlink()
            raise ValueError(
                f"{url}: expected the checksum {file.checksum}, got {came}; what came was "
                f"deleted, fetch again."
            )
        shutil.move(partial, output)

    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        pooch.retrieve(file.url, file.checksum, target.name, target.parent, downloader=go_on)
    except ConnectionError as error:
        raise ValueError(
            f"{file.url}: expected to download it, got: {error}; download it by hand, put it at "
            f"{target}, then fetch again."
        ) from error


def _wrong(path: Path, checksum: str | None) -> str | None:
    """The checksum that came, if it is not the one expected."""
    if checksum is None:
        return None
    kind, _, expected = checksum.partition(":")
    with path.open("rb") as file:
        came = hashlib.file_digest(file, kind).hexdigest()
    return None if came == expected.lower() else f"{kind}:{came}"
