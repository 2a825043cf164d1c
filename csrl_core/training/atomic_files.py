"""Writing files so that they are complete at any time: beside their destination, then renamed."""

import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

try:
    import fcntl
except ImportError:  # not a POSIX system: a dead writer cannot be told from a live one, so no file is removed
    fcntl = None


@contextmanager
def replacing(path):
    """A binary file that replaces ``path`` once it is complete; if writing fails, the old file stays.

    A symbolic link is followed. Temporary files that killed writers of the same file left behind are removed.

    Raises
    ------
    OSError
        The folder cannot be written or is full, or ``path`` is a folder, a device, a pipe or a socket.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no ordinary file; give the path of an ordinary file")
    descriptor, temporary = _create(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _remove_leftovers(path)
    _sync_folder(path.parent)


def write_atomically(path, data):
    """Write bytes to ``path``; at any time either the old or the new file is there, complete."""
    with replacing(path) as file:
        file.write(data)


def _create(path):
    """Create a locked file beside ``path``; returns (descriptor, its path). The lock ends with the process."""
    while True:
        temporary = path.with_name(f".{path.name}.{token_hex(8)}.part")
        # With the usual permissions: the system applies the umask, which a thread cannot read without setting it.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        if _lock(descriptor, wait=True) is None or _is_at(descriptor, temporary):
            return descriptor, temporary
        os.close(descriptor)  # another writer removed it before it was locked, as the file of a dead writer


def _lock(descriptor, wait):
    """Lock the file; returns whether it is locked now, None where the system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(descriptor, path):
    """Whether ``path`` still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _remove_leftovers(path):
    """Remove temporary files of dead writers of ``path``: those that no process has locked."""
    name = re.compile(re.escape(f".{path.name}.") + "[0-9a-f]{16}" + re.escape(".part"))
    with suppress(OSError):
        for entry in [entry for entry in path.parent.iterdir() if name.fullmatch(entry.name)]:
            with suppress(OSError):
                descriptor = os.open(entry, os.O_RDWR)
                try:
                    if _lock(descriptor, wait=False):
                        entry.unlink()
                finally:
                    os.close(descriptor)


def _sync_folder(folder):
    """Write the folder's new entry to disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
