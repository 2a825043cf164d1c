"""Cases of the ``vae`` kernels: every reconstruction, shared targets and noise, saturated logits, no rows."""

import numpy as np

from csrl_core.contract.cases import Case, Kernel
from csrl_core.reference import vae as reference

ARGUMENTS = {
    "A": ("(m, d)", "float", "the decoder's output"),
    "heads": ("(m, 2h)", "float", "means, then log-variances"),
    "noise": ("(q, h)", "float", "ε, row i's is that of i mod q"),
    "target": ("(q, d)", "float", "what is to be reconstructed, row i's is that of i mod q"),
    "weights": ("(m,)", "float", "of rows"),
    "output": ("", "int", "BERNOULLI, GAUSSIAN or MSE"),
    "variance": ("", "float64", "σ² of Gaussian output"),
    "reg": ("", "float64", "β"),
    "G": ("(m, h)", "float", "gradient with respect to the codes"),
}
FUNCTIONS = [
    Kernel(reference.reparameterise, "(m, h) float", "elementwise", "element"),
    Kernel(reference.losses, "(m,) float", "sum", "sample"),
    Kernel(reference.output_gradient, "(m, d) float", "elementwise", "element"),
    Kernel(reference.heads_gradient, "(m, 2h) float", "elementwise", "element"),
    Kernel(reference.log_weights, "(m,) float", "sum", "sample"),
]
CONSTANTS = ("BERNOULLI", "GAUSSIAN", "MSE", "OUTPUTS")

# m, q, d, h
SIZES = {
    "one row": (1, 1, 5, 1),
    "three clusters": (63, 21, 17, 3),
    "rows of their own": (50, 50, 33, 2),
    "one sample under four clusters": (4, 1, 9, 2),
    "one feature": (12, 4, 1, 1),
    "images": (90, 30, 784, 2),
    "many rows": (2002, 1001, 13, 5),
    "no rows": (0, 0, 5, 2),
}
VARIANCE, REG = 0.3, 2.0


def problem(m, q, d, h, dtype, binary=False):
    """The arrays of a case, by name; ``logits`` is a more than 80 from 0 in places."""
    random = np.random.default_rng([m, q, d, h])
    arrays = {
        "A": 2 * random.normal(size=(m, d)),
        "heads": random.normal(size=(m, 2 * h)),
        "noise": random.normal(size=(q, h)),
        "target": random.integers(0, 2, (q, d)) if binary else random.uniform(size=(q, d)),
        "weights": random.uniform(0.5, 2, m) * (random.uniform(size=m) < 0.8),
        "G": random.normal(size=(m, h)),
    }
    return {name: array.astype(dtype) for name, array in arrays.items()}


BUILD = {
    "reparameterise": lambda a, output: [a["heads"], a["noise"]],
    "losses": lambda a, output: [a["A"], a["heads"], a["target"], output, VARIANCE, REG],
    "output_gradient": lambda a, output: [a["A"], a["target"], a["weights"], output, VARIANCE],
    "heads_gradient": lambda a, output: [a["G"], a["heads"], a["noise"], a["weights"], REG],
    "log_weights": lambda a, output: [a["A"], a["heads"], a["noise"], a["target"], output, VARIANCE],
}


def _case(function, name, size, output=reference.BERNOULLI, change=lambda arrays: arrays, **options):
    return Case("vae", function, name, lambda dtype: BUILD[function](change(problem(*size, dtype, **options)), output))


def _strided(arrays):
    """The same numbers in memory that is not contiguous, or in Fortran order."""
    return {
        name: np.repeat(array, 2, axis=0)[::2] if name in ("A", "heads", "weights") else np.asfortranarray(array)
        for name, array in arrays.items()
    }


def _saturated(arrays):
    """Logits far from 0, and deviations near 0 and large."""
    arrays["A"] = 40 * arrays["A"]
    arrays["heads"] = 3 * arrays["heads"]
    return arrays


OF_OUTPUT = ("losses", "output_gradient", "log_weights")
CASES = [_case(function, name, size) for function in BUILD for name, size in SIZES.items()]
CASES += [
    _case(function, f"{word}, {name}", SIZES[name], code)
    for function in OF_OUTPUT
    for word, code in reference.OUTPUTS.items()
    if code != reference.BERNOULLI
    for name in ("three clusters", "images", "no rows")
]
CASES += [
    case
    for function in BUILD
    for case in (
        _case(function, "not contiguous", SIZES["three clusters"], change=_strided),
        _case(function, "saturated", SIZES["three clusters"], change=_saturated),
    )
]
CASES += [_case(function, "binary", SIZES["three clusters"], binary=True) for function in OF_OUTPUT]
