"""Who is compared: every method with its packages, and whether it can run here.

A method that is not installed, or that cannot run on this machine, is a line of the table too.
"""

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import peer_methods
import peer_originals
import torch
from packaging.requirements import Requirement

from equicomir.registration import elastix, features, information
from equicomir.registration.alignment import Alignment
from equicomir.representations import EncoderSettings
from equicomir.shapes import Array
from equicomir.training.settings import TrainingSettings

OURS = "steerable"  # whose seconds the others' are divided by


@dataclass(frozen=True)
class Peer:
    """One method.

    Attributes:
        name: of the line of the table, and of the option.
        words: what it is, for the table.
        register: of grey images; None where representations are searched, or nothing is moved.
        learned: the encoder and how it is trained, where there is one.
        module: what must be there to be imported.
        packages: their names; their requirements are counted with them.
        installed_by: what to type where it is missing.
        slow: registers fewer pairs.
        own_path: option of the command line that says where its code is.
    """

    name: str
    words: str
    register: Callable[..., Alignment] | None = None
    learned: tuple[EncoderSettings, TrainingSettings] | None = None
    module: str = "equicomir"
    packages: tuple[str, ...] = ("equicomir", "escnn")
    installed_by: str = ""
    slow: bool = False
    own_path: str = ""


_BASELINES = 'pip install "equicomir[baselines]"'
_PEERS = 'pip install "equicomir[peers]"'
_TEST = 'pip install "equicomir[test]"'
_QUARTERS = TrainingSettings(turns=4, high_pass_cutoff=None)  # as CoMIR was published
_itk = partial(Peer, module="SimpleITK", packages=("SimpleITK",), installed_by=_TEST)
_ants = partial(Peer, module="ants", packages=("antspyx",), installed_by=_PEERS)
_zcmir = partial(Peer, module="zcmir", packages=("zcmir",), installed_by=_PEERS, slow=True)

PEERS = (
    Peer("identity", "nothing moved", packages=()),
    Peer(
        "sift",
        "SIFT and RANSAC, OpenCV",
        features.register,
        module="cv2",
        packages=("opencv-python-headless",),
        installed_by=_BASELINES,
    ),
    Peer(
        "elastix",
        "elastix, Mattes mutual information, 12 starts",
        elastix.register,
        module="itk",
        packages=("itk-elastix",),
        installed_by=_BASELINES,
        slow=True,
    ),
    _itk("simpleitk", "SimpleITK, Mattes mutual information", peer_methods.simpleitk),
    _itk("simpleitk_12", "the same, 12 starts", partial(peer_methods.simpleitk, starts=12)),
    _ants("ants", 'ANTs, "Rigid", Mattes mutual information', peer_methods.ants),
    _ants("ants_12", "the same, 12 starts", partial(peer_methods.ants, starts=12), slow=True),
    _zcmir("zcmir", "zcmir, as its README says", peer_methods.zcmir),
    _zcmir(
        "zcmir_affine",
        "the same, asked for an affine map",
        partial(peer_methods.zcmir, model="affine"),
    ),
    Peer(
        "globalign",
        "CMIF, its authors' code",
        peer_originals.globalign,
        module="globalign",
        packages=("torchvision", "scikit-learn"),
        installed_by="--globalign, [clone](https://github.com/MIDA-group/globalign)",
        slow=True,
        own_path="globalign",
    ),
    Peer("cmif", "CMIF, equicomir: mutual information of all displacements", information.register),
    Peer(
        "squared_loss",
        "squared-loss information of all displacements, equicomir",
        partial(information.register, measure="squared_loss"),
    ),
    Peer(
        "alpha_amd",
        "alpha-AMD, its authors' code, 12 starts",
        peer_originals.alpha_amd,
        module="register",
        packages=("scipy",),
        installed_by="--py-alpha-amd, [clone](https://github.com/MIDA-group/py_alpha_amd_release)",
        slow=True,
        own_path="py_alpha_amd",
    ),
    Peer(
        "plain",
        "plain encoder, pairs turned by any angle; search",
        learned=(EncoderSettings(family="plain"), TrainingSettings()),
    ),
    Peer(
        "tiramisu",
        "CoMIR: Tiramisu, quarter turns; search",
        learned=(EncoderSettings(family="tiramisu"), _QUARTERS),
    ),
    Peer(
        OURS,
        "steerable encoder, the default; search",
        learned=(EncoderSettings(family="steerable"), TrainingSettings()),
    ),
)
BY_NAME = {peer.name: peer for peer in PEERS}


def grey(modality: str, images: torch.Tensor) -> torch.Tensor:
    """The means of the channels: what a method of raw images is given."""
    return images.mean(1, keepdim=True)


def lacking(peer: Peer) -> str:
    """Empty, or why it cannot be asked at all: the package is not there.

    Example:
        >>> lacking(Peer("a", "", module="no_such_module", installed_by="pip install a"))
        'not installed (pip install a)'
    """
    there = importlib.util.find_spec(peer.module) is not None
    return "" if there else f"not installed ({peer.installed_by})"


def does_not_run(peer: Peer, width: int) -> str:
    """Empty, or what it raises at an easy pair: no GPU, a version that it cannot work with, ...

    Also the first call, which loads and builds what later ones find ready, and is timed nowhere.
    """
    if peer.register is None:
        return ""
    try:
        peer.register(*easy_pair(width))
    except Exception as error:  # whatever it is, it is said in the table
        said = re.sub(r"(?<!\w)/\S*/", "", " ".join(str(error).split()))  # no folder of a machine
        return f"does not run here ({type(error).__name__}: {said[:160]})"
    return ""


def easy_pair(width: int) -> tuple[Array, Array]:
    """One smooth texture twice, as fixed and as moving image, (1, width, width)."""
    generator, total = torch.Generator().manual_seed(0), torch.zeros(1, 1, width, width)
    for share in (4, 8, 20):
        cells = max(3, width // share)
        noise = torch.randn(1, 1, cells, cells, generator=generator)
        total = total + torch.nn.functional.interpolate(noise, (width, width), mode="bicubic")
    # Positive, as images are: some packages begin from centres of mass.
    image: Array = total[0].double().exp().numpy()
    return image, image.copy()


def set_up(peer: Peer, folder: Path | None = None) -> dict[str, Any]:
    """What it takes to have it: packages, versions, and MiB on disk with all that they require.

    Args:
        peer: installed.
        folder: of code that is no package.
    """
    counted = set[str]()
    for name in peer.packages:
        counted |= _required(name)
    files = sum(_bytes_of(name) for name in counted)
    if folder is not None:
        files += sum(f.stat().st_size for f in folder.rglob("*.py"))
    versions = [f"{name} {version}" for name in peer.packages if (version := _version(name))]
    return {"packages": versions, "distributions": len(counted), "mib": round(files / 2**20)}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _required(name: str) -> set[str]:
    """A distribution and all that it requires, as far as it is installed."""
    found, asked = set[str](), [name]
    while asked:
        one = asked.pop().lower().replace("_", "-")
        if one in found or not _version(one):
            continue
        found.add(one)
        for line in metadata.requires(one) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                asked.append(needed.name)
    return found


def _bytes_of(name: str) -> int:
    files: Sequence[metadata.PackagePath] = metadata.files(name) or ()
    located = (Path(str(file.locate())) for file in files)
    return sum(path.stat().st_size for path in located if path.is_file())
