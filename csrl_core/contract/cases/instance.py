"""Cases of the ``instance`` kernels: banks of several blocks, small temperatures, weights of zero, a background."""

import numpy as np

from csrl_core.contract.cases import Case, Kernel
from csrl_core.reference import instance as reference

ARGUMENTS = {
    "Z": ("(b, D)", "float", "embeddings of unit norm"),
    "index": ("(b,)", "int64", "the batch's places in the bank"),
    "bank": ("(n, D)", "float", "the memory bank, rows of unit norm"),
    "weights": ("(n,)", "float", "of all samples"),
    "temperature": ("", "float64", "τ"),
    "background": ("(n, e)", "float", "of all samples, rows of unit norm; no columns for none"),
    "background_temperature": ("", "float64", "τ_b"),
    "momentum": ("", "float64", "of the bank"),
}
FUNCTIONS = [
    Kernel(reference.discrimination, "losses (b,), gradient (b, D) float", "sum", "sample"),
    Kernel(
        reference.decorrelation,
        "float, gradient (b, D) float",
        "sum",
        "batch",
        arguments={
            "weights": ("(b,)", "float", "of the batch"),
            "temperature": ("", "float64", "τ₂"),
            "background": ("(b, e)", "float", "of the batch; no columns for none"),
        },
    ),
    Kernel(reference.update_bank, "nothing", "elementwise", "sample", changes="bank"),
]

# n, b, D, e
SIZES = {
    "one sample": (2, 1, 3, 0),
    "two dimensions": (9, 4, 2, 0),
    "odd": (37, 11, 5, 3),
    "one block": (1024, 16, 7, 0),
    "several blocks": (2500, 33, 16, 4),
    "several shares": (17000, 5, 3, 2),
    "wide": (150, 40, 130, 20),
    "one dimension": (20, 7, 1, 1),
    "no samples": (12, 0, 4, 2),
}


def unit(array):
    """Rows of unit norm."""
    return array / np.sqrt((array**2).sum(axis=1, keepdims=True))


def problem(n, b, D, e, dtype, weighted=True):
    """The arrays of a case, by name."""
    random = np.random.default_rng([n, b, D, e])
    weights = random.uniform(0.5, 2, n) * (random.uniform(size=n) < 0.9) if weighted else np.ones(n)
    arrays = {
        "Z": unit(random.normal(size=(b, D))),
        "bank": unit(random.normal(size=(n, D))),
        "weights": weights,
        "background": unit(random.normal(size=(n, e))) if e else np.empty((n, 0)),
    }
    weights[0] = 1  # at least one
    return {name: array.astype(dtype) for name, array in arrays.items()} | {"index": random.permutation(n)[:b]}


def _discrimination(a, temperature=1.0, background_temperature=0.5):
    return [a["Z"], a["index"], a["bank"], a["weights"], temperature, a["background"], background_temperature]


def _decorrelation(a, temperature=2.0):
    return [a["Z"], a["weights"][a["index"]], temperature, a["background"][a["index"]]]


def _update(a, momentum=0.5):
    return [a["bank"], a["index"], a["Z"], momentum]


BUILD = {"discrimination": _discrimination, "decorrelation": _decorrelation, "update_bank": _update}


def _case(function, name, size, change=lambda arrays: arrays, weighted=True, **options):
    build = BUILD[function]
    return Case(
        *("instance", function, name),
        lambda dtype: build(change(problem(*SIZES[size], dtype, weighted)), **options),
    )


def _strided(arrays):
    """The same numbers in memory that is not contiguous, or in Fortran order."""
    gaps = ("Z", "weights", "index")
    return {n: np.repeat(a, 2, axis=0)[::2] if n in gaps else np.asfortranarray(a) for n, a in arrays.items()}


def _alone(arrays):
    """Weights of zero but for one sample."""
    arrays["weights"][1:] = 0
    return arrays


def _flat(arrays):
    """A column of zeros, of which no norm can be made."""
    arrays["Z"][:, 0] = 0
    return arrays


CASES = [_case(function, size, size) for function in BUILD for size in SIZES]
CASES += [
    _case("discrimination", "without weights", "several blocks", weighted=False),
    _case("discrimination", "sharp", "several blocks", temperature=0.02, background_temperature=0.05),
    _case("discrimination", "flat", "odd", temperature=50.0),
    _case("discrimination", "one sample with weight", "several blocks", change=_alone),
    _case("decorrelation", "sharp", "odd", temperature=0.3),
    _case("decorrelation", "a column of zeros", "odd", change=_flat),
    _case("update_bank", "new alone", "odd", momentum=0.0),
    _case("update_bank", "mostly old", "odd", momentum=0.99),
]
CASES += [_case(function, "not contiguous", "odd", change=_strided) for function in BUILD]
