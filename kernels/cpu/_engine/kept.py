"""Files of compiled code: damaged ones are compiled anew, and a temporary folder serves where no other can be written.

Numba takes what a file of the cache contains as it stands: a damaged one ends the fit, or the process.
"""

import atexit
import hashlib
import io
import os
import pickle
import shutil
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from numba.core import caching

_CHECKSUM = 16  # bytes, at the end of every file
STAMPS = set()  # of the packages that ``freshness`` watches over


class TemporaryLocator(caching.UserWideCacheLocator):
    """Where no folder for compiled code can be written: a temporary one, for this process alone."""

    def __init__(self, function, file):
        self._py_file, self._lineno = file, function.__code__.co_firstlineno
        self._cache_path = str(Path(_temporary_folder()) / self.get_suitable_cache_subpath(file))


@cache
def _temporary_folder():
    folder, owner = tempfile.mkdtemp(prefix="csrl_core-"), os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))
    _say(
        f"no folder for compiled kernels can be written, so they are compiled for this process alone, in {folder}; "
        f"NUMBA_CACHE_DIR=FOLDER keeps them"
    )
    return folder


def _say(text):
    print(f"csrl_core: {text}", file=sys.stderr, flush=True)


class CheckedFile(caching.IndexDataCacheFile):
    """Files of compiled code with a checksum. Of the packages that are watched over a damaged one is removed, and a
    folder that cannot be written is said; files of others are as Numba has them.
    """

    @property
    def _watched(self):
        return self._source_stamp in STAMPS

    def load(self, key):
        """The entry of a key, or None: then it is compiled."""
        if not self._watched:
            return super().load(key)
        try:
            return super().load(key)
        except OSError:  # a folder of somebody else
            return None

    def save(self, key, data):
        """Save an entry; if that cannot be done, what was compiled serves this process."""
        if not self._watched:
            super().save(key, data)
            return
        try:
            super().save(key, data)
        except OSError as error:
            _say_unkept(self._cache_path, error.strerror)

    def _dump(self, obj):
        data = super()._dump(obj)
        return data + _checksum(data) if self._watched else data

    def _load_index(self):
        if not self._watched:
            return super()._load_index()
        try:
            content = Path(self._index_path).read_bytes()
        except FileNotFoundError:
            return {}
        try:
            stream = io.BytesIO(content)
            if pickle.load(stream) != self._version:
                return {}
            stamp, overloads = _whole(stream.read())
        except Exception:  # whatever a pickle that is none may raise
            self._discard(self._index_path)
            return {}
        return overloads if stamp == self._source_stamp else {}

    def _load_data(self, name):
        if not self._watched:
            return super()._load_data(name)
        path = self._data_path(name)
        content = Path(path).read_bytes()
        try:
            return _whole(content)
        except Exception:
            self._discard(path)
            return None

    def _discard(self, path):
        with suppress(OSError):
            Path(path).unlink()


def _checksum(data):
    return hashlib.blake2b(data, digest_size=_CHECKSUM).digest()


def _whole(content):
    """The object of a pickle and its checksum."""
    data = content[:-_CHECKSUM]
    if _checksum(data) != content[-_CHECKSUM:]:
        raise ValueError("it is damaged")
    return pickle.loads(data)


@cache
def _say_unkept(folder, reason):
    _say(f"compiled kernels cannot be kept in {folder} ({reason}); they are compiled anew in every process")
