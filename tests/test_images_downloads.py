"""Downloads and archives, without a network: a server on this machine that behaves badly."""

import hashlib
import io
import json
import re
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equicomir.images import downloads, published
from equicomir.images.downloads import check_inside, resume, unpack, unpacked
from equicomir.images.published import LU, OPEN_MS, PublishedFile, fetch


class Server:
    """Serves bytes by path: with ranges or without, broken off after so many bytes, or refusing."""

    def __init__(self):
        self.files, self.ranges, self.breaks_after, self.refuses = {}, True, None, None
        self.asked, self.lies = [], False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        if self.refuses or request.path not in self.files:
            request.send_error(self.refuses or 404)
            return
        content, start = self.files[request.path], 0
        if wanted and self.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(content):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(content)}")
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            start += 3 * self.lies
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            request.send_response(200)
        rest = content[start:]
        request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        request.wfile.write(rest if self.breaks_after is None else rest[: self.breaks_after])
        request.close_connection = True

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def kept_server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Every test has a cache of its own, and waits for nobody."""
    monkeypatch.setenv("EQUICOMIR_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)
    return tmp_path / "cache"


def noise(seed, size):
    return np.random.default_rng(seed).bytes(size)


def one_sentence(error):
    """A message of one sentence: it ends as one, and holds no second."""
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert not re.search(r"\w\w\. [A-Z]", message)
    return message


@given(st.data())
def test_a_resumed_download_is_the_file_however_it_breaks(kept_server, tmp_path_factory, data):
    size = data.draw(st.integers(1, 5000))
    content = noise(size, size)
    kept_server.files["/a"] = content
    kept_server.ranges = data.draw(st.booleans())
    have = data.draw(st.integers(0, size))
    # Without ranges each answer begins anew, so that only a whole one can end.
    kept_server.breaks_after = (
        data.draw(st.none() | st.integers(-(-size // 20), size)) if kept_server.ranges else None
    )
    path = tmp_path_factory.mktemp("resumed") / "a.part"
    path.write_bytes(content[:have])
    resume(kept_server.url + "a", path, pause_seconds=0)
    assert path.read_bytes() == content


def test_only_what_is_missing_is_asked_for(server, tmp_path):
    server.files["/a"], server.breaks_after = noise(1, 1000), 400
    resume(server.url + "a", tmp_path / "a", pause_seconds=0)
    assert [wanted for _, wanted in server.asked] == [None, "bytes=400-", "bytes=800-"]


def test_planted_fault_appending_what_begins_anew_is_seen(server, tmp_path, monkeypatch):
    """The equality above is no empty one: a downloader that appends blindly fails it."""
    server.files["/a"], server.ranges = noise(1, 1000), False
    path = tmp_path / "a"
    path.write_bytes(server.files["/a"][:300])
    proper = type(path).open
    with monkeypatch.context() as planted:
        planted.setattr(type(path), "open", lambda self, *_: proper(self, "ab"))
        resume(server.url + "a", path, pause_seconds=0)
    assert path.read_bytes() != server.files["/a"]


def test_a_range_from_elsewhere_is_not_believed(server, tmp_path):
    server.files["/a"], server.lies = noise(2, 500), True
    (tmp_path / "a").write_bytes(server.files["/a"][:100])
    resume(server.url + "a", tmp_path / "a", pause_seconds=0)
    assert (tmp_path / "a").read_bytes() == server.files["/a"]


def test_a_whole_file_is_known_as_whole(server, tmp_path):
    server.files["/a"] = noise(3, 500)
    (tmp_path / "a").write_bytes(server.files["/a"])
    resume(server.url + "a", tmp_path / "a", pause_seconds=0)
    assert (tmp_path / "a").read_bytes() == server.files["/a"]
    assert server.asked == [("/a", "bytes=500-")]


def test_more_than_the_file_is_thrown_away(server, tmp_path):
    server.files["/a"] = noise(3, 500)
    (tmp_path / "a").write_bytes(noise(4, 600))
    resume(server.url + "a", tmp_path / "a", pause_seconds=0)
    assert (tmp_path / "a").read_bytes() == server.files["/a"]


@pytest.mark.parametrize(("refuses", "asked"), [(404, 1), (403, 1), (503, 3)])
def test_a_refusal_ends_and_keeps_what_came(server, tmp_path, refuses, asked):
    server.refuses = refuses
    (tmp_path / "a").write_bytes(b"beginning")
    with pytest.raises(ConnectionError, match=f"HTTP {refuses}"):
        resume(server.url + "a", tmp_path / "a", pause_seconds=0)
    assert (tmp_path / "a").read_bytes() == b"beginning"
    assert len(server.asked) == asked


def test_a_server_that_never_gets_on_ends(server, tmp_path):
    server.files["/a"], server.ranges, server.breaks_after = noise(5, 500), False, 100
    with pytest.raises(ConnectionError, match="broke off"):
        resume(server.url + "a", tmp_path / "a", pause_seconds=0)


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def tarred(members, links=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
        for name, to in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, to
            file.addfile(entry)
    return buffer.getvalue()


@pytest.mark.parametrize(("ending", "pack"), [(".zip", zipped), (".tar.gz", tarred)])
def test_archives_are_unpacked_whole(tmp_path, ending, pack):
    members = {"top/A/a.png": noise(1, 50), "top/b.csv": b"1,2"}
    archive = tmp_path / f"cells{ending}"
    archive.write_bytes(pack(members))
    unpack(archive, unpacked(archive))
    for name, content in members.items():
        assert (tmp_path / "cells" / name).read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells", archive.name]


OUTSIDE = ("../outside", "A/../../outside", "/tmp/outside", "..\\outside", "C:\\outside")


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(("ending", "pack"), [(".zip", zipped), (".tar", tarred)])
def test_archives_that_point_outside_are_refused(tmp_path, name, ending, pack):
    archive = tmp_path / "inner" / f"cells{ending}"
    archive.parent.mkdir()
    archive.write_bytes(pack({"inside": b"1", name: b"2"}))
    with pytest.raises(ValueError, match="inside its folder") as error:
        unpack(archive, unpacked(archive))
    assert str(archive) in one_sentence(error)
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", archive.name]


def test_a_link_out_of_the_archive_is_refused(tmp_path):
    archive = tmp_path / "cells.tar.gz"
    archive.write_bytes(tarred({"a": b"1"}, links=[("b", "../../outside")]))
    with pytest.raises(ValueError, match="expected an archive") as error:
        unpack(archive, unpacked(archive))
    one_sentence(error)
    assert not unpacked(archive).exists()


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_a_damaged_archive_is_named_and_leaves_nothing(tmp_path, ending):
    archive = tmp_path / f"cells{ending}"
    archive.write_bytes((zipped if ending == ".zip" else tarred)({"a": noise(1, 5000)})[:2000])
    with pytest.raises(ValueError, match="delete it") as error:
        unpack(archive, unpacked(archive))
    assert str(archive) in one_sentence(error)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == [archive.name]


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_damage_inside_a_zip_leaves_nothing_half_unpacked(tmp_path, kind):
    archive = tmp_path / "cells.zip"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as file:
        file.writestr("first", b"whole")
        file.writestr("second", bytes(range(256)) * 20)
    raw = bytearray(buffer.getvalue())
    at = raw.index(b"second") + len("second") + (9 if kind == zipfile.ZIP_LZMA else 0)
    raw[at : at + 20] = b"\xff" * 20
    archive.write_bytes(raw)
    with pytest.raises(ValueError, match="delete it") as error:
        unpack(archive, unpacked(archive))
    one_sentence(error)
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


def test_a_zip_with_a_password_is_told(tmp_path):
    archive = tmp_path / "cells.zip"
    raw = bytearray(zipped({"a": b"secret"}))
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(mark) + flags] |= 1
    archive.write_bytes(raw)
    with pytest.raises(ValueError, match="password"):
        unpack(archive, unpacked(archive))


def test_names_inside_are_no_offence():
    for name in ("a", "a/b..c", "a/...", "..a/b"):
        check_inside("x.zip", name)


def made_up(server, files, name="cells", wrong=False, with_kind=True):
    """A set as Zenodo publishes it: a record that lists files with MD5 sums."""
    entries = []
    for key, content in files.items():
        server.files[f"/files/{key}"] = content
        md5 = hashlib.md5(b"other" if wrong else content).hexdigest()
        entries.append(
            {
                "key": key,
                "checksum": f"md5:{md5}" if with_kind else md5,
                "links": {"self": f"{server.url}files/{key}"},
            }
        )
    server.files["/record"] = json.dumps({"files": entries}).encode()
    return replace(LU, name=name, record=server.url + "record")


def test_the_variable_moves_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("EQUICOMIR_DATA", str(tmp_path / "elsewhere"))
    assert published.cache_folder() == tmp_path / "elsewhere"
    monkeypatch.setenv("EQUICOMIR_DATA", "~/data")
    assert "~" not in str(published.cache_folder())
    usual = Path(pooch.os_cache("equicomir"))
    monkeypatch.setenv("EQUICOMIR_DATA", "")
    assert published.cache_folder() == usual
    monkeypatch.delenv("EQUICOMIR_DATA")
    assert published.cache_folder() == usual


@pytest.mark.parametrize("with_kind", [True, False])
def test_a_set_is_fetched_unpacked_and_not_fetched_again(server, cache, with_kind):
    archive = zipped({"Zurich_patches/a.txt": b"here"})
    cells = made_up(server, {"Zurich_patches.zip": archive, "x.csv": b"1"}, with_kind=with_kind)
    server.breaks_after = 60
    folder = fetch(cells)
    assert folder == cache / "cells"
    assert (folder / "Zurich_patches/Zurich_patches/a.txt").read_bytes() == b"here"
    assert (folder / "x.csv").read_bytes() == b"1"
    assert not list(folder.rglob("*.part"))
    asked = len(server.asked)
    server.refuses = 503  # nobody is asked again
    assert fetch(cells) == folder
    assert len(server.asked) == asked


def test_only_what_matches_is_fetched(server):
    cells = made_up(server, {"one.csv": b"1", "two.csv": b"2"})
    assert sorted(p.name for p in fetch(cells, matching="t*").glob("*.csv")) == ["two.csv"]
    with pytest.raises(ValueError, match=r"matching: expected .* one\.csv") as error:
        fetch(cells, matching="three*")
    one_sentence(error)


def test_a_download_goes_on_where_an_earlier_call_broke_off(server, cache):
    content = noise(6, 3000)
    cells = made_up(server, {"a.bin": content})
    cells_folder = cache / "cells"
    cells_folder.mkdir(parents=True)
    (cells_folder / "a.bin.part").write_bytes(content[:1234])
    fetch(cells)
    assert (cells_folder / "a.bin").read_bytes() == content
    assert ("/files/a.bin", "bytes=1234-") in server.asked


def test_a_wrong_checksum_names_both_and_keeps_nothing(server, cache):
    cells = made_up(server, {"a.bin": b"content"}, wrong=True)
    with pytest.raises(ValueError, match="checksum") as error:
        fetch(cells)
    message = one_sentence(error)
    assert f"md5:{hashlib.md5(b'other').hexdigest()}" in message
    assert f"md5:{hashlib.md5(b'content').hexdigest()}" in message
    assert not list((cache / "cells").glob("a.bin*"))


def test_a_wrong_file_put_by_hand_is_named_and_kept(server, cache):
    sha256 = hashlib.sha256(b"right").hexdigest()
    file = PublishedFile("a.bin", server.url + "a.bin", f"sha256:{sha256.upper()}")
    cells = replace(LU, name="cells", record=None, files=(file,))
    (cache / "cells").mkdir(parents=True)
    (cache / "cells/a.bin").write_bytes(b"wrong")
    with pytest.raises(ValueError, match="checksum") as error:
        fetch(cells)
    message = one_sentence(error)
    assert str(cache / "cells/a.bin") in message
    assert hashlib.sha256(b"wrong").hexdigest() in message
    (cache / "cells/a.bin").write_bytes(b"right")
    assert fetch(cells) == cache / "cells"
    assert server.asked == []


def offline(name="cells"):
    """A set at a port where nobody listens."""
    return replace(LU, name=name, record="http://127.0.0.1:9/record")


def test_without_a_network_the_sentence_says_what_to_put_where(cache):
    with pytest.raises(ValueError, match="by hand") as error:
        fetch(offline())
    message = one_sentence(error)
    assert "https://doi.org/10.5281/zenodo.5557568" in message
    assert str(cache / "cells") in message
    (cache / "cells/Zurich_patches.zip").write_bytes(zipped({"a.txt": b"1"}))
    assert (fetch(offline()) / "Zurich_patches/a.txt").is_file()
    (cache / "cells/Zurich_patches.zip").unlink()  # what was unpacked is enough
    assert (fetch(offline(), matching="Zurich*") / "Zurich_patches/a.txt").is_file()


def test_without_a_network_a_single_file_is_named_with_its_place(cache):
    file = PublishedFile("patient01/T1.nii.gz", "http://127.0.0.1:9/T1.nii.gz")
    cells = replace(OPEN_MS, name="cells", files=(file,))
    with pytest.raises(ValueError, match="by hand") as error:
        fetch(cells)
    message = one_sentence(error)
    assert file.url in message
    assert str(cache / "cells/patient01/T1.nii.gz") in message
    (cache / "cells/patient01/T1.nii.gz").write_bytes(b"by hand")
    assert fetch(cells) == cache / "cells"


@pytest.mark.parametrize("content", [b"<html>", b"{}", b'{"files": [{"key": 1}]}', b"[]", b"\xff"])
def test_a_record_that_is_none_is_told_and_not_kept(server, cache, content):
    server.files["/record"] = content
    with pytest.raises(ValueError, match="expected a Zenodo record") as error:
        fetch(replace(LU, name="cells", record=server.url + "record"))
    one_sentence(error)
    assert not (cache / "cells/record.json").exists()


def test_a_record_cannot_place_files_elsewhere(server, cache):
    cells = made_up(server, {"../outside.txt": b"1"})
    with pytest.raises(ValueError, match="inside its folder"):
        fetch(cells)
    assert not (cache / "outside.txt").exists()


def test_a_cache_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EQUICOMIR_DATA", str(tmp_path / "file"))
    with pytest.raises(ValueError, match="EQUICOMIR_DATA") as error:
        fetch(offline())
    one_sentence(error)
