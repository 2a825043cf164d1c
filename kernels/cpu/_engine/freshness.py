"""Machine code that Numba keeps on disk is used only while no kernel file has changed.

Numba compares the file of the outermost function alone, and a function contains those that it calls: after an update
of a checkout that touches a file of inner functions, old machine code would go on giving old results.
"""

import hashlib
from pathlib import Path

from numba.core import caching

from . import kept


def digest(folder):
    """A number of what all Python files in and below a folder are called and contain, str."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        text = path.read_bytes()
        found.update(f"{path.relative_to(folder)} {len(text)} ".encode() + text)
    return found.hexdigest()


def watch_over(package):
    """Let what is cached of the functions in a package be fresh only as long as its digest is the same.

    package : path of its ``__init__.py``
    """
    folder = Path(package).absolute().parent
    implementation = getattr(caching, "CacheImpl", None) or caching._CacheImpl  # its name in some versions
    stamp, others = digest(folder), list(implementation._locator_classes)
    kept.STAMPS.add(stamp)
    caching.IndexDataCacheFile = kept.CheckedFile  # which is like it for files of others

    class Locator:
        """Says to Numba where code is kept: where it would be anyway, with another stamp; or None for other files."""

        @classmethod
        def from_function(cls, function, file):
            if not Path(file).absolute().is_relative_to(folder):
                return None
            found = (kind.from_function(function, file) for kind in (*others, kept.TemporaryLocator))
            locator = next((each for each in found if each is not None), None)
            if locator is not None:
                locator.get_source_stamp = lambda: stamp
            return locator

    implementation._locator_classes.insert(0, Locator)
