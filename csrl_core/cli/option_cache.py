"""What was found of the models' options, kept in the user's cache, so that a command line is read at once.

The estimators' imports take seconds, reading this milliseconds. It is valid as long as no file that it was found in has
changed, and it holds plain values only.
"""

import contextlib
import hashlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from csrl_core import estimators
from csrl_core._version import __version__
from csrl_core.cli.values import Values

_NUMBERS = {"int": int, "float": float, None: None}


def _path():
    """The file in the user's folder for caches; one for all, so that nothing piles up."""
    folder = os.environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else Path.home() / ".cache") / "csrl_core" / "options.json"


def _state():
    """A digest of names, sizes and times of the files in which options are found."""
    folders = Path(estimators.__file__).parent, Path(__file__).parent
    files = [path for folder in folders for path in sorted(folder.glob("*.py"))]
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((__version__, sys.version, str(folders[0]), stats)).encode()).hexdigest()


def read():
    """(arguments, takes, faults) as `csrl_core.cli.options.known` has them; None if they must be found anew."""
    from csrl_core.cli.options import Argument

    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
        if found["state"] != _state():
            return None
        arguments = {
            model: {name: Argument(_values(v), _default(default), text) for name, (v, default, text) in own.items()}
            for model, own in found["arguments"].items()
        }
        return arguments, {model: set(names) for model, names in found["takes"].items()}, {}
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
    ):  # there is none, or it is damaged
        return None


def write(arguments, takes, faults):
    """Keep what was found, if there is a place for it."""
    plain = {
        model: {name: (_plain(each.values), each.default, each.text) for name, each in own.items()}
        for model, own in arguments.items()
    }
    with contextlib.suppress(OSError, TypeError, RuntimeError):  # no home, no place, or a default that JSON has not
        path = _path()
        part = path.with_name(f"{path.name}.{os.getpid()}")
        text = json.dumps({"state": _state(), "arguments": plain, "takes": {m: sorted(t) for m, t in takes.items()}})
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)


def _plain(values):
    number = None if values.number is None else values.number.__name__
    return asdict(values) | {"number": number, "choices": sorted(values.choices)}


def _values(plain):
    return Values(**plain | {"number": _NUMBERS[plain["number"]], "choices": frozenset(plain["choices"])})


def _default(value):
    return tuple(value) if isinstance(value, list) else value
