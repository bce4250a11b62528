"""What made a number or a model: enough to make it again, and no name of a person or machine."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    names = ("equicomir", "torch", "escnn", "numpy", "scipy", "scikit-image")
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in names
    }


def machine() -> dict[str, Any]:
    """What decides the times: cores, processor, threads and accelerator; not which machine."""
    model = platform.processor()
    with suppress(OSError), Path("/proc/cpuinfo").open() as file:  # Linux alone says more there
        named = (line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
        model = next(named, model)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cores": os.cpu_count(),
        "processor": model or platform.machine(),
        "torch_threads": torch.get_num_threads(),
        "gpu": gpu,
    }


def command() -> list[str]:
    """The command as it was called, without the folder of the program."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def commit() -> str | None:
    """The commit of the library's own checkout, with ``+`` where files were changed since.

    Returns:
        None where the library is no checkout, though it may lie in one of something else, as
        installed packages do; or git is not there.
    """

    def git(*words: str) -> str:
        run = ["git", *words]
        here = Path(__file__).parent
        done = subprocess.run(run, cwd=here, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
