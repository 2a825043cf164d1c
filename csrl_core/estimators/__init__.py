"""The estimators, one class in each file; their base classes are in `base` and `batch`.

Estimators are found by searching this folder. A new file with a public subclass of one of these needs no other
edit: the class can be imported from ``csrl_core``, saved and loaded, and ``csrl fit --model`` has it, with its
arguments as options.
"""

import inspect
import re
from functools import cache
from importlib import import_module
from pathlib import Path

_FIELD = re.compile(r"^    (\w+): ", re.MULTILINE)
_CLASS = re.compile(r"^class ((?!Base)[A-Z]\w*)\([^)]*\b(?:BaseClusterSpecific|BaseBatchModel)\b", re.MULTILINE)


@cache
def homes():
    """Dict of class name → file name (without ending) of all estimators, without importing them.

    Raises
    ------
    ImportError
        Two files have a class of the same name.
    """
    files = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        for name in _CLASS.findall(path.read_text(encoding="utf-8")):
            if name in files:
                raise ImportError(
                    f"csrl_core/estimators/{path.name} defines the estimator {name}, which {files[name]}.py in the "
                    f"same folder defines too; give it another name"
                )
            files[name] = path.stem
    return files


@cache
def field_names():
    """Names of all annotated fields in the files of this folder, without importing them: all arguments, and others."""
    files = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("[!_]*.py"))]
    return {name for text in files for name in _FIELD.findall(text)}


def get(name):
    """The estimator class of that name.

    Raises
    ------
    KeyError
        There is no such class.
    """
    return getattr(import_module(f"csrl_core.estimators.{homes()[name]}"), name)


def ready():
    """The estimator classes that need no argument, and messages about files that cannot be used.

    Returns
    -------
    classes : dict of file name → class
    faults : dict of file name → str
    """
    classes, faults = {}, {}
    for name, file in homes().items():
        try:
            cls = get(name)
        except Exception as error:  # any error in one file must not stop the others
            faults[file] = f"csrl_core/estimators/{file}.py cannot be imported: {type(error).__name__}: {error}"
            continue
        required = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
        if required or inspect.isabstract(cls):
            continue
        if file in classes:
            faults[file] = f"csrl_core/estimators/{file}.py has two estimators, {classes[file].__name__} and {name}"
        classes[file] = cls
    return {file: cls for file, cls in classes.items() if file not in faults}, faults
