"""What made a number: the library's own commit, and nobody else's."""

import re
import subprocess
from pathlib import Path

from equicomir import provenance

ROOT = Path(__file__).parent.parent


def git(folder, *words):
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def test_the_commit_of_a_checkout_that_holds_the_installed_package_is_not_ours(
    tmp_path, monkeypatch
):
    """A virtual environment lies in a checkout of the user's own, as it often does."""
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "--message", "their own work")
    package = tmp_path / ".venv" / "equicomir"
    package.mkdir(parents=True)
    (package / "provenance.py").touch()
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert provenance.commit() is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "the library itself")
    assert re.fullmatch("[0-9a-f]{40}", provenance.commit())
    (package / "provenance.py").write_text("# changed")
    assert provenance.commit().endswith("+")


def test_escnn_is_one_version_wherever_it_is_named():
    """It is installed by a line of its own, so no resolver keeps the places together."""
    places = ("README.md", "Makefile", "equicomir/encoders/fields.py")
    told = {version for p in places for version in re.findall(r"escnn==([\d.]*\d)", text(p))}
    assert len(told) == 1
    assert told == {provenance.versions()["escnn"]}


def text(place):
    return (ROOT / place).read_text()
