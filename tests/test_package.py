"""What the wheel holds: all of the package and nothing beside it."""

import configparser
from pathlib import Path

from setuptools import find_packages

ROOT = Path(__file__).parent.parent


def settings():
    read = configparser.ConfigParser(interpolation=None)
    read.read(ROOT / "setup.cfg")
    return read


def test_every_file_that_is_no_code_is_named_as_data():
    """A file that is not would be there in the checkout, and missing where it was installed."""
    named = settings()["options.package_data"]["equicomir"].replace(",", " ").split()
    there = (p for p in (ROOT / "equicomir").rglob("*") if p.is_file() and p.suffix != ".py")
    kept = (p.relative_to(ROOT / "equicomir") for p in there if "__pycache__" not in p.parts)
    assert sorted(map(str, kept)) == sorted(named)


def test_every_folder_of_code_is_a_package_and_no_other_is():
    include = settings()["options.packages.find"]["include"].split()
    folders = {p.parent for p in (ROOT / "equicomir").rglob("*.py")}
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(find_packages(str(ROOT), include=include)) == packages


def test_extras_that_are_said_to_be_installed_are_there():
    extras = settings()["options.extras_require"]
    for path in ("README.md", "equicomir/registering.py", "equicomir/encoders/export.py"):
        told = (ROOT / path).read_text().split('"equicomir[')[1:]
        assert told
        assert {one.partition("]")[0] for one in told} <= set(extras)
