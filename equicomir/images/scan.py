"""A look at every file before training: what is there, and what would spoil it, by name."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from equicomir.images.files import ImageFile, open_image
from equicomir.images.listing import SceneFiles
from equicomir.shapes import Image, Mask

#: Sets that take more bytes as floats stay on disk, unless asked otherwise.
IN_MEMORY = 2**30

_AT_ONCE = 2**24  # values read at once: larger images are scanned by bands of rows


@dataclass
class Scan:
    """What a scan found.

    Attributes:
        lines: what a person reads.
        problems: one sentence a file, in the order found; empty if all is well.
        float_bytes: memory that all images take as float32.
        undefined: (part, name) of the scenes in which a file leaves pixels undefined.
    """

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    float_bytes: int = 0
    undefined: set[tuple[str, str]] = field(default_factory=set)

    def refuse(self) -> None:
        """Raise if there is a problem.

        Raises:
            ValueError: the first problem, with the number of others and what they are about.
        """
        if not self.problems:
            return
        first, others = self.problems[0], self.problems[1:]
        if not others:
            raise ValueError(first)
        about = ", ".join(Path(problem.split(": ")[0]).name for problem in others[:5])
        more = f"{len(others)} more problem{'s'[: len(others) > 1]}"
        raise ValueError(f"{first.rstrip('.')} (and {more}: {about}).")


@dataclass(frozen=True)
class _Looked:
    """One file, looked through."""

    file: ImageFile
    low: float
    high: float
    undefined: int
    content: bytes


def scan(scenes: Sequence[SceneFiles]) -> Scan:
    """Open and look through every file of some scenes, of all parts at once.

    Refused are: scenes of other modalities than the first, a missing or unreadable or truncated
    file, another size than its partner's, another number of channels than that of the modality, a
    constant image, one without a single finite value, an empty mask, the same picture in two
    parts, and a group on both sides of a split.

    Args:
        scenes: as listed.

    Returns:
        What was found; nothing is raised here.

    Example:
        >>> print(scan([]).problems[0])
        scenes: expected at least one, got none.
    """
    found = Scan()
    if not scenes:
        found.problems.append("scenes: expected at least one, got none.")
        return found
    modalities = list(scenes[0].files)
    looked: dict[str, list[tuple[SceneFiles, _Looked]]] = {modality: [] for modality in modalities}
    for scene in scenes:
        if list(scene.files) != modalities:
            found.problems.append(
                f"scene {scene.name}: expected the modalities {modalities}, got "
                f"{list(scene.files)}."
            )
            continue
        first: _Looked | None = None
        for modality, path in scene.files.items():
            try:
                one = _look(path)
            except ValueError as error:
                found.problems.append(str(error))
                continue
            first = first or one
            looked[modality].append((scene, one))
            found.float_bytes += 4 * int(np.prod(one.file.shape))
            if one.undefined:
                found.undefined.add((scene.part, scene.name))
            reference = looked[modality][0][1].file
            found.problems += _problems(one, first.file, reference)
        if scene.mask is not None and first is not None:
            found.problems += _mask_problems(scene.mask, first.file)
    found.problems += _shared(looked) + _divided(scenes)
    found.lines = _lines(scenes, looked, found)
    return found


def bands(file: ImageFile) -> Iterator[tuple[slice, Image, Mask]]:
    """An image from top to bottom in parts that fit into memory: (rows, pixels, defined)."""
    channels, height, width = file.shape
    at_once = max(1, _AT_ONCE // (channels * width))
    for top in range(0, height, at_once):
        bottom = min(top + at_once, height)
        yield slice(top, bottom), *file.read_masked(rows=(top, bottom))


def _look(path: Path) -> _Looked:
    """Read one file through."""
    file = open_image(path)
    low, high, undefined = np.inf, -np.inf, 0
    content = hashlib.blake2b(repr(file.shape).encode(), digest_size=16)
    for _, pixels, defined in bands(file):
        content.update(np.ascontiguousarray(pixels.numpy()).data)
        if not bool(defined.all()):
            undefined += int((~defined).sum())
            pixels = pixels[:, defined]
        if pixels.numel():
            low, high = min(low, float(pixels.min())), max(high, float(pixels.max()))
    return _Looked(file, low, high, undefined, content.digest())


def _problems(one: _Looked, first: ImageFile, reference: ImageFile) -> list[str]:
    """What is wrong with one file, beside its scene's first and its modality's first."""
    path, shape = one.file.path, one.file.shape
    if shape[1:] != first.shape[1:]:
        expected, came = ("{} x {}".format(*s[1:]) for s in (first.shape, shape))
        return [f"{path}: expected {expected} pixels like its partner, got {came}."]
    if one.low > one.high:
        return [f"{path}: expected finite values, got an image without a single one."]
    if one.low == one.high:
        return [f"{path}: expected an image with content, got a constant one."]
    if shape[0] != reference.shape[0]:
        return [
            f"{path}: expected {reference.shape[0]} channels as in {reference.path.name}, got "
            f"{shape[0]}."
        ]
    return []


def _mask_problems(path: Path, first: ImageFile) -> list[str]:
    """What is wrong with a mask."""
    try:
        mask = open_image(path)
        inside = any(bool((pixels != 0).any()) for _, pixels, _ in bands(mask))
    except ValueError as error:
        return [str(error)]
    if mask.shape[1:] != first.shape[1:]:
        expected, came = ("{} x {}".format(*s[1:]) for s in (first.shape, mask.shape))
        return [f"{path}: expected {expected} pixels like its scene, got {came}."]
    if not inside:
        return [f"{path}: expected a mask with pixels that are not zero, got an empty one."]
    return []


def _shared(looked: dict[str, list[tuple[SceneFiles, _Looked]]]) -> list[str]:
    """Pictures that stand in two parts: what is learned from would be tested on."""
    problems = []
    for every in looked.values():
        seen: dict[bytes, tuple[SceneFiles, _Looked]] = {}
        for scene, one in every:
            before, its = seen.setdefault(one.content, (scene, one))
            if before.part != scene.part:
                problems.append(
                    f"{one.file.path}: expected other pictures in {scene.part or 'no part'} than "
                    f"in {before.part or 'no part'}, got the content of {its.file.path}."
                )
    return problems


def _divided(scenes: Sequence[SceneFiles]) -> list[str]:
    """Groups on both sides of a split."""
    problems, parts = [], dict[str, SceneFiles]()
    for scene in scenes:
        before = parts.setdefault(scene.group, scene)
        if scene.group and before.part != scene.part:
            problems.append(
                f"group {scene.group}: expected in one part, got {before.name} in "
                f"{before.part or 'no part'} and {scene.name} in {scene.part or 'no part'}."
            )
    return problems


def _lines(
    scenes: Sequence[SceneFiles],
    looked: dict[str, list[tuple[SceneFiles, _Looked]]],
    found: Scan,
) -> list[str]:
    """What a person reads of a scan."""
    groups = len({scene.group for scene in scenes} - {""})
    grouped = f" in {groups} groups" if groups else ""
    parts = [scene.part for scene in scenes]
    counts = ", ".join(f"{parts.count(p)} {p}" for p in dict.fromkeys(parts) if p)
    masked = sum(scene.mask is not None for scene in scenes)
    lines = [f"{len(scenes)} scenes{grouped}" + (f" ({counts})" if counts else "")]
    if masked:
        lines.append(f"{masked} with a mask")
    for modality, every in looked.items():
        if not every:
            continue
        files = [one.file for _, one in every]
        sizes = sorted({file.shape[1:] for file in files})
        shown = "{} x {}".format(*sizes[0])
        if len(sizes) > 1:
            shown += " to {} x {}".format(*sizes[-1])
        kinds = "/".join(sorted({f"{file.kind} {file.dtype}" for file in files}))
        low, high = min(one.low for _, one in every), max(one.high for _, one in every)
        channels = files[0].shape[0]
        lines.append(
            f"{modality}: {len(files)} files, {kinds}, {channels} channel{'s'[: channels > 1]}, "
            f"{shown} pixels, values {low:g} to {high:g}"
        )
        pixel = {file.pixel_size_micrometres for file in files} - {None}
        lines += ["  pixels of {:g} x {:g} micrometres".format(*size or ()) for size in pixel]
        lines += [f"  {note}" for note in sorted({n for file in files for n in file.notes})]
    whole = {one.file.kind for every in looked.values() for _, one in every} & {"PNG", "JPEG"}
    if whole and found.float_bytes > IN_MEMORY:
        lines.append(
            f"{'/'.join(sorted(whole))} is unpacked whole for every patch of a set this large: "
            "save it as TIFF, or keep it in memory with in_memory=True"
        )
    if found.undefined:
        lines.append(f"{len(found.undefined)} with undefined pixels, which are left out")
    return lines
