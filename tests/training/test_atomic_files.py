"""Atomic writing: permissions, links, and temporary files of killed writers."""

import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from csrl_core.training import atomic_files
from csrl_core.training.atomic_files import write_atomically

KILLED = """
import os, signal
from csrl_core.training.atomic_files import write_atomically
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
write_atomically({path!r}, b"half")
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_temporary_files_of_killed_writers_are_removed(tmp_path):
    path = tmp_path / "mo[de]l"
    for _ in range(2):
        process = subprocess.run([sys.executable, "-c", KILLED.format(path=str(path))], check=False)
        assert process.returncode == -signal.SIGKILL
    left = [name for name in names(tmp_path) if name.endswith(".part")]
    assert len(left) == 2
    for other in (".mo[de]l.part", ".mo[de]l.123.part", ".other.0123456789abcdef.part"):
        (tmp_path / other).write_bytes(b"another file")
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == [".mo[de]l.123.part", ".mo[de]l.part", ".other.0123456789abcdef.part", "mo[de]l"]


def test_a_file_that_is_being_written_is_left_alone(tmp_path):
    path = tmp_path / "model"
    with atomic_files.replacing(path) as file:
        file.write(b"first")
        write_atomically(path, b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["model"]


def test_a_writer_whose_file_was_removed_creates_another(tmp_path, monkeypatch):
    path, lock, taken = tmp_path / "model", atomic_files._lock, []

    def late(descriptor, wait):
        if wait and not taken:  # another writer removes the file between this writer's open and its lock
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        return lock(descriptor, wait)

    monkeypatch.setattr(atomic_files, "_lock", late)
    write_atomically(path, b"whole")
    assert len(taken) == 1
    assert path.read_bytes() == b"whole"


def test_many_writers_at_once_leave_one_whole_file(tmp_path):
    path, errors = tmp_path / "model", []

    def write(byte):
        try:
            for _ in range(25):
                write_atomically(path, bytes([byte]) * 1000)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(byte,)) for byte in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(set(path.read_bytes())) == 1
    assert path.stat().st_size == 1000
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_umask_is_obeyed_and_never_set(tmp_path, monkeypatch, mask):
    before = os.umask(mask)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "umask", None)  # to read it one must set it, for all threads
            write_atomically(tmp_path / "model", b"")
        assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o666 & ~mask
    finally:
        os.umask(before)


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "model").write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to("store/model")
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "store" / "model").read_bytes() == b"new"
    (tmp_path / "store" / "model").unlink()
    write_atomically(link, b"first")
    assert (tmp_path / "store" / "model").read_bytes() == b"first"
    assert names(tmp_path) == ["link", "store"]
    assert names(tmp_path / "store") == ["model"]


def test_a_pipe_stays_a_pipe_and_a_folder_a_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe is no ordinary file"):
        write_atomically(tmp_path / "pipe", b"")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder is no ordinary file"):
        write_atomically(tmp_path / "folder", b"")
    assert names(tmp_path) == ["folder", "pipe"]


def test_the_folder_is_synced_after_the_renaming(tmp_path, monkeypatch):
    synced = []

    def fsync(descriptor):
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), (tmp_path / "model").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(tmp_path / "model", b"")
    assert synced == [(False, False), (True, True)]
