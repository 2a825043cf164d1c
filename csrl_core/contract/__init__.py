"""The contract between backends: stem → functions, arguments, units, what agreement means.

Every backend has these functions with these arguments in this order. Kernels are functions of arrays
and keep no state; what they change in place is marked. What is summed over samples comes back as a sum.

Stems are found, not listed: every file in `csrl_core.contract.cases` is one. `csrl_core.contract.entries` says what
shapes, dtypes and tolerances mean.

    print(describe("assign"))
"""

from csrl_core.contract import cases
from csrl_core.contract.entries import TOLERANCES, UNITS, WELL_POSED, Argument, Function, Tolerance

__all__ = [
    "BATCH_FUNCTIONS",
    "CONSTANTS",
    "CONTRACT",
    "HOST_ARGUMENTS",
    "STEMS",
    "TOLERANCES",
    "UNITS",
    "WELL_POSED",
    "Argument",
    "Function",
    "Tolerance",
    "describe",
    "functions",
]

STEMS = cases.stems()

# (stem, function) → Function
CONTRACT = {
    (stem, entry.name): entry
    for stem in STEMS
    for kernel in cases.load(stem).FUNCTIONS
    for entry in [kernel.entry(stem, getattr(cases.load(stem), "ARGUMENTS", {}))]
}

# Arrays that stay on the host on every backend: Python reads them to know what to do.
HOST_ARGUMENTS = tuple(dict.fromkeys(a.name for entry in CONTRACT.values() for a in entry.leaves if a.on_host))

# What couples the samples of a batch and so does not add up.
BATCH_FUNCTIONS = tuple(key for key, entry in CONTRACT.items() if entry.unit == "batch")

# Codes and tables that every backend must share.
CONSTANTS = {stem: getattr(cases.load(stem), "CONSTANTS", ()) for stem in STEMS}


def functions(stem):
    """The functions of one stem, in the contract's order."""
    if stem not in STEMS:
        raise ValueError(f"stem={stem!r} is unknown; expected one of {', '.join(STEMS)}")
    return [entry for entry in CONTRACT.values() if entry.stem == stem]


def describe(stem):
    """The contract of one stem as text."""
    lines = []
    for entry in functions(stem):
        lines += [f"{stem}.{entry.name}({', '.join(entry.signature)})"]
        for argument in entry.arguments:
            lines += [_line("    ", argument), *(_line("      ", field) for field in argument.fields)]
        lines += [f"    returns         {entry.returns}; agreement: {entry.tolerance}; unit: {entry.unit}", ""]
    return "\n".join(lines)


def _line(indent, argument):
    a, changed = argument, ", changed in place" if argument.in_place else ""
    return f"{indent + a.name:<20}{f'{a.shape} {a.dtype}'.strip():<26}{a.meaning}{changed}"
