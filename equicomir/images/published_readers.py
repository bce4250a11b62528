"""Readers of the public sets: which file belongs to which scene, and how one is read.

A reader lists paths, and leaves the pixels to those who need them: the largest set has ten thousand
pairs. Folders are looked for at any depth below the one given, since archives and people wrap them
differently.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from equicomir.images.files import read_image
from equicomir.images.listing import SceneFiles
from equicomir.images.nifti import Volume, read_nifti
from equicomir.images.pairs import Scene
from equicomir.shapes import Array

MS_MODALITIES = ("T1", "T2", "FLAIR")
MS_ENDING = "_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz"


def below(folder: Path, name: str) -> Path:
    """The one file or folder of that name, at any depth.

    Args:
        folder: where to look.
        name: one or more names with ``/``.

    Returns:
        Its path.

    Raises:
        ValueError: there is none, or more than one.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "wrapped/images_tif").mkdir(parents=True)
        >>> below(folder, "images_tif").relative_to(folder).as_posix()
        'wrapped/images_tif'
    """
    found = sorted(p for p in folder.rglob(name) if "__MACOSX" not in p.parts)
    if len(found) != 1:
        came = ", ".join(map(str, found)) or "none"
        raise ValueError(f"{folder}: expected one {name} in it, found {came}; fetch the set again.")
    return found[0]


def comir_scenes(folder: Path, part: str = "TrainSet") -> tuple[SceneFiles, ...]:
    """Aligned pairs of second harmonic (SHG) and bright field (BF) of CoMIR's biomedical set.

    Args:
        folder: that holds the parts, at any depth.
        part: ``"TrainSet"`` or ``"Validation1Set"``.

    Returns:
        Scenes by name, sorted.

    Raises:
        ValueError: the part or a partner is missing.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "TrainSet").mkdir()
        >>> for name in ("1B_A1_SHG.tif", "1B_A1_BF.tif"):
        ...     (folder / "TrainSet" / name).touch()
        >>> comir_scenes(folder)[0].files["BF"].name
        '1B_A1_BF.tif'

    Source:
        Pielawski, Wetzer et al., arXiv 2006.06325; data set, doi 10.5281/zenodo.3874362.
    """
    return paired_by_ending(below(folder, part), {"SHG": "_SHG.tif", "BF": "_BF.tif"})


def paired_by_ending(folder: Path, endings: dict[str, str]) -> tuple[SceneFiles, ...]:
    """Scenes of a folder whose file names differ between modalities by their endings alone.

    Args:
        folder: of the images.
        endings: of the file names, one a modality, e.g. ``{"SHG": "_SHG.tif", "BF": "_BF.tif"}``.

    Returns:
        Scenes by name, sorted; the name is what stands before the ending.

    Raises:
        ValueError: there are none, or a partner is missing: it is named.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("1B_A1_SHG.tif", "1B_A1_BF.tif"):
        ...     (folder / name).touch()
        >>> [scene.name for scene in paired_by_ending(folder, {"SHG": "_SHG.tif", "BF": "_BF.tif"})]
        ['1B_A1']
    """
    names = {
        path.name.removesuffix(ending)
        for ending in endings.values()
        for path in folder.glob(f"*{ending}")
        if not path.name.startswith(".")
    }
    if not names:
        raise ValueError(f"{folder}: expected files *{', *'.join(endings.values())}, found none.")
    return tuple(_scene(folder, name, endings) for name in sorted(names))


def _scene(folder: Path, name: str, endings: dict[str, str]) -> SceneFiles:
    files = {modality: folder / f"{name}{ending}" for modality, ending in endings.items()}
    for path in files.values():
        if not path.is_file():
            raise ValueError(f"{path}: expected a partner of {name}, found none.")
    return SceneFiles(name, files)


def zurich_files(folder: Path, groups: Iterable[str] | None = None) -> tuple[Path, ...]:
    """The images of the Zurich set, for :func:`read_zurich`.

    Args:
        folder: that holds ``images_tif``, at any depth.
        groups: which, such as ``{"zh1", "zh2"}``; all 20 if None. Lu's folds are groups:
            ``LU_FOLDS["Zurich"][0]`` is tested in fold 1.

    Returns:
        One path an image, by number.

    Raises:
        ValueError: an image is missing, or there is none of that name.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "images_tif").mkdir()
        >>> (folder / "images_tif/zh7.tif").touch()
        >>> [path.name for path in zurich_files(folder, {"zh7"})]
        ['zh7.tif']

    Source:
        Volpi and Ferrari, CVPR Workshops 2015; data set, doi 10.5281/zenodo.5914759.
    """
    all_groups = [f"zh{number}" for number in range(1, 21)]
    wanted = set(all_groups if groups is None else groups)
    unknown = sorted(wanted - set(all_groups))
    if unknown:
        raise ValueError(f"groups: expected zh1 to zh20, got {unknown[0]}.")
    images = below(folder, "images_tif")
    paths = tuple(images / f"{group}.tif" for group in all_groups if group in wanted)
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path}: expected an image of the set, found none; fetch it again.")
    return paths


def read_zurich(path: Path) -> Scene:
    """One image of the Zurich set as an aligned pair: three visible channels, near infrared.

    Args:
        path: from :func:`zurich_files`.

    Returns:
        The scene, modalities ``"BGR"`` (3 channels) and ``"NIR"`` (1), in the file's units.

    Raises:
        ValueError: the file has not four channels, or cannot be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "zh1.npy"
        >>> np.save(path, np.arange(24).reshape(2, 3, 4))
        >>> read_zurich(path).images["NIR"].tolist()
        [[[3.0, 7.0, 11.0], [15.0, 19.0, 23.0]]]
    """
    image = read_image(path)
    if len(image) != 4:
        raise ValueError(f"{path}: expected four channels, got {len(image)}.")
    return Scene(path.stem, {"BGR": image[:3].clone(), "NIR": image[3:].clone()})


def ms_scenes(folder: Path) -> tuple[SceneFiles, ...]:
    """The aligned volumes T1, T2 and FLAIR of each patient of the open MS set.

    Args:
        folder: that holds ``patient01`` and the others, or some of them, directly.

    Returns:
        One a patient, for :func:`axial_slices`.

    Raises:
        ValueError: there is no patient, or one of its volumes is missing.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "patient07").mkdir()
        >>> for modality in MS_MODALITIES:
        ...     (folder / "patient07" / f"{modality}{MS_ENDING}").touch()
        >>> [scene.name for scene in ms_scenes(folder)]
        ['patient07']

    Source:
        Lesjak et al., doi 10.1007/s12021-017-9348-7; in MNI space from the GitHub repository
        muschellij2/open_ms_data.
    """
    patients = sorted(path for path in folder.glob("patient[0-9][0-9]") if path.is_dir())
    if not patients:
        raise ValueError(f"{folder}: expected folders patient01 to patient30, found none.")
    scenes = []
    for patient in patients:
        files = {m: patient / f"{m}{MS_ENDING}" for m in MS_MODALITIES}
        for path in files.values():
            if not path.is_file():
                raise ValueError(f"{path}: expected a volume of {patient.name}, found none.")
        scenes.append(SceneFiles(patient.name, files))
    return tuple(scenes)


def axial_slices(scene: SceneFiles, *, every: int = 1) -> list[Scene]:
    """Aligned axial slices of a patient, one channel a modality, from the feet to the head.

    Args:
        scene: NIfTI volumes on one grid, one a modality.
        every: take one slice in so many; slices without any difference in them are left out.

    Returns:
        Scenes named by patient and slice, each image (1, rows, columns): the first row is the
        patient's front, the first column the patient's right (as radiologists look at it).
        Pixels are as the volume's voxels; those of the open MS set are squares of 1 mm.

    Raises:
        ValueError: a volume cannot be read, lies aslant, or the volumes are not on one grid.
    """
    if every < 1:
        raise ValueError(f"every: expected 1 or more, got {every}.")
    volumes = {modality: read_nifti(path) for modality, path in scene.files.items()}
    first_path, first = next(iter(scene.files.values())), next(iter(volumes.values()))
    upright = {}
    for modality, volume in volumes.items():
        path = scene.files[modality]
        same = volume.values.shape == first.values.shape
        if not (same and np.allclose(volume.to_millimetres, first.to_millimetres, atol=1e-2)):
            raise ValueError(f"{path}: expected the grid of {first_path.name}, got another.")
        upright[modality] = _upright(path, volume)
    slices = []
    for index in range(0, len(next(iter(upright.values()))), every):
        images = {m: torch.from_numpy(v[index][None].copy()) for m, v in upright.items()}
        if all(image.min() < image.max() for image in images.values()):
            slices.append(Scene(f"{scene.name}_slice{index:03}", images))
    return slices


def _upright(path: Path, volume: Volume) -> Array:
    """The volume as (feet to head, front to back, right to left)."""
    axes, signs = _orientation(path, volume)
    turned = volume.values.transpose(axes[2], axes[1], axes[0])
    # Coordinates grow towards head, front and right: only the first is wanted so.
    steps = (signs[2], -signs[1], -signs[0])
    return turned[tuple(slice(None, None, step) for step in steps)]


def _orientation(path: Path, volume: Volume) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """For right, front and head: the voxel axis along it, and whether it grows that way."""
    linear = volume.to_millimetres[:3, :3]
    directions = linear / np.linalg.norm(linear, axis=0)
    axes = np.abs(directions).argmax(axis=1)
    along = directions[np.arange(3), axes]
    if sorted(axes) != [0, 1, 2] or np.abs(along).min() < 0.9:
        raise ValueError(f"{path}: expected voxels along the body's axes, got a slanted grid.")
    return tuple(map(int, axes)), tuple(int(np.sign(step)) for step in along)
