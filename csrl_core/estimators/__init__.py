"""The estimators: one class a file, found by walking this folder; `base` holds what all share.

A new file with a public subclass of `BaseClusterSpecific` is importable from ``csrl_core``, is saved and loaded, and
is a ``--model`` of ``csrl fit``, whose options are its arguments.
"""

import inspect
import re
from functools import cache
from importlib import import_module
from pathlib import Path

_CLASS = re.compile(r"^class ([A-Z]\w*)\([^)]*\bBaseClusterSpecific\b", re.MULTILINE)


@cache
def homes():
    """Class name → file name of every estimator, without importing any: a dict.

    Raises
    ------
    ImportError
        Two files have a class of the same name.
    """
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        for name in _CLASS.findall(path.read_text(encoding="utf-8")):
            if name in found:
                raise ImportError(
                    f"csrl_core/estimators/{path.name} defines the estimator {name}, which {found[name]}.py beside it "
                    f"defines too; give it another name"
                )
            found[name] = path.stem
    return found


def get(name):
    """The estimator class of that name; KeyError where there is none."""
    return getattr(import_module(f"csrl_core.estimators.{homes()[name]}"), name)


def ready():
    """The estimators that can be made without arguments, and why files of others cannot be imported.

    Returns
    -------
    found : dict of file name → class
    faults : dict of file name → str
    """
    found, faults = {}, {}
    for name, file in homes().items():
        try:
            kind = get(name)
        except Exception as error:  # whatever is wrong with one file, the others can be used
            faults[file] = f"csrl_core/estimators/{file}.py cannot be imported: {type(error).__name__}: {error}"
            continue
        required = [each for each in inspect.signature(kind).parameters.values() if each.default is each.empty]
        if required or inspect.isabstract(kind):
            continue
        if file in found:
            faults[file] = f"csrl_core/estimators/{file}.py has two estimators, {found[file].__name__} and {name}"
        found[file] = kind
    return {file: kind for file, kind in found.items() if file not in faults}, faults
