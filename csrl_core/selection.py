"""Choice of the number of clusters and of the latent width, by likelihood and without classes.

    selection = select(X, n_clusters=range(1, 8), latent=(1, 2))
    selection.best.n_clusters, selection.estimator.labels_

There are two criteria. "bic" fits every candidate to all data and penalises its number m of parameters:
BIC = −2 Σ_i log p(x_i) + m log n (Schwarz 1978). "held-out" is the mean log-likelihood of samples that were not used in
the fit, in shuffled folds. Likelihoods can be compared between candidates. Losses cannot: they fall with every cluster
and every dimension. scikit-learn's own searches work as well with ``assignment="likelihood"``, since `score` is then
the mean log-likelihood; `negative_bic` is a ``scoring`` for them.
"""

from dataclasses import astuple, dataclass

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold
from sklearn.utils.validation import check_array

from csrl_core.experiments.runs import columns, write_csv

CRITERIA = ("bic", "held-out")


def free_parameters(n_clusters, n_features, latent):
    """Degrees of freedom of a mixture of probabilistic PCA: means, covariances and proportions.

    k (d + d h − h (h − 1)/2 + 1) + k − 1 (Tipping & Bishop 1999, section 3.3). Rotating a basis changes no density.

    returns int
    """
    k, d, h = n_clusters, n_features, latent
    return k * (d + d * h - h * (h - 1) // 2 + 1) + k - 1


def bic(estimator, X):
    """−2 Σ_i log p(x_i) + m log n of a fitted estimator that assigns by likelihood; the lower, the better.

    X : (n, d); returns float
    """
    if not hasattr(estimator, "gaussians") and getattr(estimator, "assignment", None) != "likelihood":
        raise ValueError(
            f"bic needs an estimator with assignment='likelihood', got {_assignment(estimator)}: a loss is not a "
            f"likelihood"
        )
    scores = np.asarray(estimator.score_samples(X), dtype=np.float64)
    h = estimator.gaussians().covariance.shape[1]
    m = free_parameters(estimator.n_clusters, estimator.n_features_in_, h)
    return float(-2 * scores.sum() + m * np.log(len(scores)))


def negative_bic(estimator, X, y=None):
    """−`bic`, the larger, the better: a ``scoring`` for scikit-learn's searches, on the training data themselves.

    ``GridSearchCV(estimator, grid, scoring=negative_bic, cv=[(rows, rows)])`` with ``rows = np.arange(len(X))``.
    """
    return -bic(estimator, X)


@dataclass(frozen=True)
class Candidate:
    """One number of clusters and latent width.

    value : the criterion, larger is better: −BIC/n or the mean held-out log-likelihood
    error : its standard error over folds, NaN for BIC
    log_likelihood : mean over the training samples; parameters : degrees of freedom of the density
    """

    n_clusters: int
    latent: int
    value: float
    error: float
    log_likelihood: float
    parameters: int


@dataclass(frozen=True)
class Selection:
    """All candidates in order, the best one, and its estimator, fitted to all data."""

    criterion: str
    candidates: list
    best: Candidate
    estimator: object

    def write(self, path):
        """Write a CSV file with a row for each candidate."""
        names = ["criterion", *columns(Candidate), "best"]
        rows = [(self.criterion, *astuple(c), int(c is self.best)) for c in self.candidates]
        write_csv(path, names, rows, digits=8, nan="nan")

    def plot(self, ax=None):
        """Plot the criterion over the number of clusters, with a line for each latent width.

        ax : Axes, optional; returns Axes
        """
        from csrl_core import plotting

        ax = plotting.new_figure(6.4, 4.2).add_subplot() if ax is None else ax
        widths = sorted({candidate.latent for candidate in self.candidates})
        for number, h in enumerate(widths):
            row = [candidate for candidate in self.candidates if candidate.latent == h]
            colour, marker = plotting.COLOURS[number % 8], plotting.MARKERS[number % 8]
            errors = None if np.isnan(row[0].error) else [c.error for c in row]
            ks = [c.n_clusters for c in row]
            ax.errorbar(ks, [c.value for c in row], errors, color=colour, marker=marker, capsize=3, label=f"{h}")
        best = self.best
        ring = {"markersize": 15, "markerfacecolor": "none", "color": "black", "linestyle": "none"}
        ax.plot(best.n_clusters, best.value, "o", zorder=4, label="best", **ring)
        ax.set_xticks(sorted({candidate.n_clusters for candidate in self.candidates}))
        ax.set_xlabel("clusters")
        criterion = "−BIC per sample" if self.criterion == "bic" else "held-out log-likelihood per sample"
        ax.set_ylabel(f"{criterion}; larger is better")
        ax.set_title(f"Best: {best.n_clusters} clusters, latent width {best.latent}")
        ax.legend(title="latent width", frameon=False, markerscale=0.6)
        ax.grid(color="0.92")
        return ax


def default_estimator(random_state=None):
    """A linear autoencoder with the exact solver and ten restarts from k-means; it needs no learning rate."""
    from csrl_core.estimators.autoencoder import TensorizedAutoencoder

    return TensorizedAutoencoder(
        assignment="likelihood", solver="exact", reg=0.0, n_init=10, init="k-means", random_state=random_state
    )


def select(
    X,
    *,
    n_clusters=range(1, 9),
    latent=(1,),
    criterion="bic",
    folds=5,
    estimator=None,
    random_state=None,
    done=None,
):
    """Fit every candidate and choose the best.

    Parameters
    ----------
    X : array-like (n, d)
    n_clusters, latent : int or iterable of int; every combination is a candidate
    criterion : {"bic", "held-out"}
    folds : int
        Number of random folds for "held-out"; each sample is left out once.
    estimator : TensorizedAutoencoder, optional
        With ``assignment="likelihood"``, or "auto" if that is by likelihood for several clusters; then candidates of
        one cluster get a likelihood too. ``n_clusters`` and ``hidden`` are replaced. Default: `default_estimator`.
    random_state : int or None
        For the folds and the default estimator.
    done : callable, optional
        ``done(count, total)`` is called after each candidate.

    Returns
    -------
    Selection

    Raises
    ------
    ValueError
        An argument is not valid, or a candidate is too large for the data.
    """
    X = check_array(X, dtype=[np.float64, np.float32])
    n_clusters, latent = _numbers(n_clusters, "n_clusters"), _numbers(latent, "latent")
    estimator = default_estimator(random_state) if estimator is None else clone(estimator)
    _check(X, n_clusters, latent, criterion, folds, estimator)
    estimator.set_params(assignment="likelihood")  # "auto" as well: one cluster alone would be fitted by loss
    grid = [(k, h) for h in latent for k in n_clusters]
    candidates, fitted = [], {}
    for count, (k, h) in enumerate(grid, 1):
        model = clone(estimator).set_params(n_clusters=k, hidden=(h,))
        if criterion == "bic":
            model.fit(X)
            value, error, likelihood = -bic(model, X) / len(X), float("nan"), model.score(X)
            fitted[k, h] = model
        else:
            value, error, likelihood = _held_out(model, X, folds, random_state)
        candidates.append(Candidate(k, h, value, error, likelihood, free_parameters(k, X.shape[1], h)))
        if done is not None:
            done(count, len(grid))
    best = max(candidates, key=lambda candidate: candidate.value)
    chosen = fitted.get((best.n_clusters, best.latent))
    if chosen is None:
        chosen = clone(estimator).set_params(n_clusters=best.n_clusters, hidden=(best.latent,)).fit(X)
    return Selection(criterion, candidates, best, chosen)


def _check(X, n_clusters, latent, criterion, folds, estimator):
    """Refuse candidates that cannot be fitted or compared. n_clusters, latent : in ascending order."""
    if criterion not in CRITERIA:
        raise ValueError(f"criterion={criterion!r} is unknown; expected one of {', '.join(map(repr, CRITERIA))}")
    if latent[-1] >= X.shape[1]:
        raise ValueError(f"latent={latent[-1]} is not below the {X.shape[1]} features of X, as a likelihood needs")
    if criterion == "held-out" and not 2 <= folds <= len(X):
        raise ValueError(f"folds={folds!r}; expected 2 to n_samples={len(X)}")
    fewest = len(X) - -(-len(X) // folds) if criterion == "held-out" else len(X)
    if n_clusters[-1] > fewest:
        raise ValueError(f"n_clusters={n_clusters[-1]} is more than the {fewest} samples that a candidate is fitted to")
    if "hidden" not in estimator.get_params():
        raise ValueError(f"estimator is a {type(estimator).__name__}; expected a TensorizedAutoencoder")
    for name, expected in (("architecture", "dense"), ("encoder", None)):
        if (value := getattr(estimator, name, expected)) != expected:
            raise ValueError(f"estimator has {name}={value!r}; expected {expected!r}: widths are those of dense layers")
    several = clone(estimator).set_params(n_clusters=2, hidden=(latent[-1],))
    if not hasattr(several, "gaussians"):
        raise ValueError(
            f"estimator has {_assignment(several)}; expected 'likelihood': losses of different numbers of clusters "
            f"cannot be compared"
        )


def _assignment(estimator):
    """What an estimator that does not assign by likelihood has as ``assignment``, for messages."""
    assignment = getattr(estimator, "assignment", None)
    if assignment != "auto":
        return f"assignment={assignment!r}"
    names = [name for name in ("n_clusters", "output_activation", "hidden") if hasattr(estimator, name)]
    return f"assignment='auto', which is by loss with {', '.join(f'{n}={getattr(estimator, n)!r}' for n in names)}"


def _held_out(model, X, folds, random_state):
    """(mean held-out log-likelihood, its standard error over folds, mean log-likelihood of the training parts)."""
    held_out, training, sizes = [], [], []
    for train, test in KFold(folds, shuffle=True, random_state=random_state).split(X):
        fold = clone(model).fit(X[train])
        held_out.append(fold.score(X[test]))
        training.append(fold.score(X[train]))
        sizes.append(len(test))
    error = np.std(held_out, ddof=1) / np.sqrt(folds)
    return float(np.average(held_out, weights=sizes)), float(error), float(np.mean(training))


def _numbers(values, name):
    """Distinct positive ints in ascending order."""
    values = sorted({values} if isinstance(values, (int, np.integer)) else set(values))
    if not values or any(isinstance(v, bool) or not isinstance(v, (int, np.integer)) or v < 1 for v in values):
        raise ValueError(f"{name}={values!r}; expected one or more ints of at least 1")
    return [int(value) for value in values]
