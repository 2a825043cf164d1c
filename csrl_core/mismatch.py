"""Objective function mismatch: whether two objectives of one model pull its parameters the same way.

    cosine       ⟨g, h⟩ / (‖g‖ ‖h‖) of the gradients g, h of two objectives with respect to parameters that both have:
                 −1 conflict, 0 nothing in common, 1 agreement; NaN where a gradient is 0
    regression   least-squares line y_t = a + b x_t of the change y of one objective on the change x of the other from
                 step to step: slope b, its confidence interval, and the correlation

Sources: Trosten, Løkse, Jenssen, Kampffmeyer, Leveraging tensor kernels to reduce objective function mismatch in deep
clustering, arXiv 2001.07026, whose code has the cosine. Its abstract announces a regression; the form above is ours.

Where both objectives differentiate through the same quantity, the assignments of a clustering for instance, part of the
agreement is built in. The gradient of one objective with that quantity held constant tells how much, see
`DeepDivergenceClustering.objective_gradients`.

    g = mismatch.gradient(one, X)                      # of fitted estimators: named arrays
    h = mismatch.gradient(other, X, params=one.params_)
    mismatch.cosine(g, h, parameters="encoder.")
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.training.parameters import Layout

__all__ = ["Regression", "cosine", "gradient", "pairs", "regression"]


class Regression(NamedTuple):
    """A least-squares line; what cannot be computed is NaN.

    slope : b, in units of y per unit of x; low, high : ends of its confidence interval
    correlation : of x and y, −1 … 1; changes : int, how many (x, y) there were
    """

    slope: float
    low: float
    high: float
    correlation: float
    changes: int


def cosine(one, other, parameters=None):
    """⟨g, h⟩ / (‖g‖ ‖h‖) of two gradients, a float from −1 to 1, computed in float64.

    Parameters
    ----------
    one, other : array of any shape, or dict of name → array
        Gradients with respect to the same parameters; of two dicts those with names that both have count.
    parameters : str or tuple of str, optional
        Beginnings of names: other parameters do not count. For dicts.

    Returns
    -------
    float, NaN if a gradient is 0 or not finite

    Raises
    ------
    ValueError
        One is a dict and the other is not, no names are left, or shapes differ.
    """
    one, other = _flat(one, other, parameters)
    # Divided by the largest entry first, so that squares neither overflow nor vanish.
    scales = [np.abs(vector).max(initial=0.0) for vector in (one, other)]
    if not all(0 < scale < np.inf for scale in scales):
        return float("nan")
    one, other = one / scales[0], other / scales[1]
    return float(np.clip(one @ other / np.sqrt((one @ one) * (other @ other)), -1, 1))


def pairs(gradients, parameters=None):
    """The cosine of every two of some gradients: dict of (name, name) → float, in order.

    gradients : dict of an objective's name → gradient, as `cosine` takes it; parameters : as of `cosine`
    """
    names = list(gradients)
    return {
        (one, other): cosine(gradients[one], gradients[other], parameters)
        for number, one in enumerate(names)
        for other in names[number + 1 :]
    }


def regression(objective, companion, confidence=0.95):
    """The line of the changes of an objective on those of its companion, step by step.

    Parameters
    ----------
    objective, companion : array-like (t,)
        Their values in successive steps; a step with a value that is not finite is left out.
    confidence : float between 0 and 1
        Of the interval b ± q s/√Σ(x − x̄)², with s² = Σ residuals²/(m − 2) of m changes and Student's quantile q of
        m − 2 degrees of freedom. It takes changes as independent; two that follow each other share a value.

    Returns
    -------
    Regression, NaN with fewer than two different changes of the companion, its interval with fewer than three changes

    Raises
    ------
    ValueError
        The two have different lengths, or confidence is not between 0 and 1.
    """
    values = [np.asarray(as_numpy(array), np.float64) for array in (objective, companion)]
    if values[0].ndim != 1 or values[0].shape != values[1].shape:
        raise ValueError(
            f"objective has shape {values[0].shape} and companion {values[1].shape}; expected one value a step of both"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r}; expected a number between 0 and 1")
    kept = np.isfinite(values[0]) & np.isfinite(values[1])
    y, x = (np.diff(array[kept]) for array in values)
    m, nan = len(x), float("nan")
    if m < 2:
        return Regression(nan, nan, nan, nan, m)
    x, y = x - x.mean(), y - y.mean()
    xx, xy, yy = float(x @ x), float(x @ y), float(y @ y)
    if xx == 0:
        return Regression(nan, nan, nan, nan, m)
    slope = xy / xx
    correlation = float(np.clip(xy / np.sqrt(xx * yy), -1, 1)) if yy > 0 else nan
    half = nan
    if m > 2:
        from scipy.special import stdtrit  # the quantile, as of scipy.stats, whose import takes far longer

        residuals = y - slope * x
        half = float(stdtrit(m - 2, (1 + confidence) / 2) * np.sqrt(residuals @ residuals / (m - 2) / xx))
    return Regression(slope, slope - half, slope + half, correlation, m)


def gradient(estimator, X, *arguments, **options):
    """The gradient of a fitted estimator's objective: dict of a parameter's name → array, cluster axis first.

    estimator : any of the project; X, arguments, options : as its ``value_and_gradient`` takes them, labels for
    instance, and ``params``, at which the gradient is taken
    """
    _, flat = estimator.value_and_gradient(X, *arguments, **options)
    return Layout({name: array.shape for name, array in estimator.named_parameters().items()}).views(flat)


def _flat(one, other, parameters):
    """Both gradients as vectors (p,) float64 on the host, of the same parameters."""
    named = [isinstance(each, Mapping) for each in (one, other)]
    if named[0] != named[1]:
        raise ValueError("one gradient has names and the other has not; expected two dicts, or two arrays")
    if not named[0]:
        if parameters is not None:
            raise ValueError(f"parameters={parameters!r} chooses by name; expected gradients as dicts of named arrays")
        one, other = {"": one}, {"": other}
    chosen = () if parameters is None else (parameters,) if isinstance(parameters, str) else tuple(parameters)
    names = [name for name in one if name in other and (parameters is None or name.startswith(chosen))]
    if not names:
        raise ValueError(
            f"the gradients have no parameters in common{f' that begin with {chosen}' if chosen else ''}: one has "
            f"{', '.join(one)}, the other {', '.join(other)}"
        )
    parts = [[np.asarray(as_numpy(each[name]), np.float64) for name in names] for each in (one, other)]
    for name, own, others in zip(names, *parts):
        if own.shape != others.shape:
            what = f"of {name!r} " if name else ""
            raise ValueError(f"the gradients {what}have shapes {own.shape} and {others.shape}; expected the same")
    return [np.concatenate([part.ravel() for part in each]) for each in parts]
