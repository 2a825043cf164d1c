"""The runs of `fig2` in a table: means and standard errors, rates chosen, the authors' figures beside.

An experiment is what the authors did: a few runs at each rate, and of the rates the best by the mean.
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from csrl_core.experiments.authors import NO_FIGURE, authors_figures, authors_runs
from csrl_core.experiments.fig2 import COUNTERPARTS, MIXTURES, TENSORIZED
from csrl_core.experiments.runs import grouped, mean, mean_and_error

SUBSETS = 20_000  # of a cell's runs: all of them up to here, else so many at random
LOW, HIGH = 0.05, 0.95
EITHER = "either start"


@dataclass(frozen=True)
class Summary:
    """Mean and standard error over repetitions, at one rate or at the chosen one, and the authors' figure.

    panel : "clustering" (ARI), "de-noising" (error), "de-noising, clusters of training" (error_assigned), "parameters"
    chosen_by : "" for a row of one rate; "objective": the rate of the best final objective; "measure": the rate
    with the best mean of what is measured, as the authors choose
    experiments : as the authors', of the papers' version: subsets of the runs, as many in each as theirs is the mean of
    low, median, high : quantiles .05, .5 and .95 of experiments' means
    reaching : share of experiments whose mean is theirs, to the digits printed, or better
    within : the same less a standard error: theirs where it was recorded, else the experiment's own
    rank : theirs among the experiments: share of them that is worse, and half of those equal to the digits printed;
    uniform between 0 and 1 if theirs is one more experiment of ours
    """

    version: str
    panel: str
    data: str
    model: str
    learning_rate: str
    chosen_by: str
    mean: float
    standard_error: float
    repetitions: int
    theirs: float
    their_standard_error: float
    experiments: int
    low: float
    median: float
    high: float
    reaching: float
    within: float
    rank: float
    seconds: float


def summarise(runs):
    """`Summary` rows of `Run`s.

    One rate for all repetitions, that with the best mean; but by the objective ours takes the best rate of every
    repetition, as one more restart would be chosen. A model that was run from several starts has besides rows of
    "either start", which is then chosen with the rate.
    """
    theirs, starts = authors_figures(), {}
    for run in runs:
        starts.setdefault((run.version, run.data, COUNTERPARTS[run.model]), []).append(run)
    rows = [row for group in grouped(runs, "version", "data", "model").values() for row in _of_model(group, theirs)]
    for (_, _, model), group in starts.items():
        if len({run.model for run in group}) > 1:
            rows += [row for row in _of_model(group, theirs, f"{model} {EITHER}") if row.chosen_by]
    return rows


# What is measured, whether more of it is better, and the objective that a rate is chosen by.
_PANELS = {
    "clustering": ("ARI", 1.0, lambda run: run.score),
    "de-noising": ("error", -1.0, lambda run: -run.denoising_loss),
    "de-noising, clusters of training": ("error_assigned", -1.0, lambda run: -run.denoising_loss),
}


def _of_model(group, theirs, name=None):
    """The rows of one model on one data set; with a name, those of several models with the same counterpart."""
    version, data, model = group[0].version, group[0].data, name or group[0].model
    settings = list(dict.fromkeys((run.model, run.learning_rate) for run in group))
    at = [{run.repetition: run for run in group if (run.model, run.learning_rate) == own} for own in settings]
    repetitions = sorted(set.intersection(*(set(own) for own in at)))
    table = [[own[i] for i in repetitions] for own in at]  # (settings, repetitions)
    places = range(len(repetitions))
    size, counterpart = authors_runs(data), COUNTERPARTS[group[0].model]
    experiments = subsets(len(places), size) if version == "papers" else np.empty((0, size), dtype=int)
    rows = []
    for panel, (measure, sign, objective) in _PANELS.items():
        values = np.array([[getattr(run, measure) for run in own] for own in table])
        objectives = np.array([[objective(run) for run in own] for own in table])
        listed = [("", rate, [number]) for number, (_, rate) in enumerate(settings)]
        for how, rate, among in [*listed, *((how, None, range(len(settings))) for how in ("objective", "measure"))]:
            merit = (sign * values if how == "measure" else objectives)[among]
            each = version == "ours" and how == "objective"
            chosen = np.full(len(places), np.array(among)[best(merit if each else merit.mean(axis=1))])
            taken = [table[r][i] for i, r in enumerate(chosen)]
            own = values[chosen, places]
            figure = theirs.get((panel.partition(",")[0], data, counterpart, rate), NO_FIGURE)
            shown = sorted({f"{run.learning_rate:g}" for run in taken if run.learning_rate is not None})
            rows.append(
                Summary(
                    *(version, panel, data, model, " ".join(shown), how, *mean_and_error(own), len(own)),
                    *(figure.value, figure.standard_error, len(experiments)),
                    *compared(*experiment_means(values[among], merit, experiments), figure, sign),
                    mean(taken, "seconds"),
                )
            )
    sizes = [run.parameters for run in group if run.parameters] or [0]
    nan = float("nan")
    row = Summary(
        version, "parameters", data, model, "", "", float(np.mean(sizes)), nan, len(group), nan, nan, 0, *[nan] * 7
    )
    return [*rows, row]


def best(merits):
    """The index of the greatest value along the first axis; what is not finite (a rate that diverged) is the worst."""
    return np.where(np.isfinite(merits), merits, -np.inf).argmax(axis=0)


def subsets(n, size):
    """Subsets of n places, all or `SUBSETS` random ones, (e, size) int; none where n is less than size."""
    if comb(n, size) <= SUBSETS:
        return np.array(list(combinations(range(n), size)), dtype=int).reshape(-1, size)
    return np.random.default_rng(0).permuted(np.tile(np.arange(n), (SUBSETS, 1)), axis=1)[:, :size]


def experiment_means(values, merit, experiments):
    """Each experiment's mean, at the rate with the best mean merit, and the standard error of its runs.

    values, merit : (rates, n) float; experiments : (e, size) int, places in n
    returns (mean (e,), standard error (e,))
    """
    chosen = best(merit[:, experiments].mean(axis=2))
    own = values[chosen[:, None], experiments]
    return own.mean(axis=1), own.std(axis=1, ddof=1) / np.sqrt(experiments.shape[1])


def compared(means, errors, figure, sign):
    """(low, median, high, reaching, within, rank) of a `Summary`, NaN without experiments or without a figure.

    means, errors : (e,) float, experiments' means and standard errors; sign : 1.0 where more is better, −1.0 where less
    """
    nan = float("nan")
    if not len(means):
        return (nan,) * 6
    low, median, high = (float(v) for v in np.quantile(means, (LOW, 0.5, HIGH)))
    if np.isnan(figure.value):
        return low, median, high, nan, nan, nan
    # Half a unit of the last digit printed: their mean may be that much worse than it reads.
    lead = sign * (means - figure.value) + figure.rounding
    allowed = errors if np.isnan(figure.standard_error) else figure.standard_error
    reaching = np.mean(lead >= 0)
    rank = 1 - reaching + np.mean((lead >= 0) & (lead <= 2 * figure.rounding)) / 2
    return low, median, high, float(reaching), float(np.mean(lead + allowed >= 0)), float(rank)


def uniformity(rows):
    """Whether the ranks of the authors' figures are those of further experiments: Kolmogorov–Smirnov.

    A rank with equals is spread evenly over them, which is the randomised rank's expectation (Czado, Gneiting, Held,
    *Predictive model assessment for count data*, Biometrics 2009): the p-value is then too large rather than too small.

    rows : list of `Summary` with figures, taken as independent
    returns (distance, p-value)
    """
    from scipy.stats import kstwo

    worse = np.array([1 - row.reaching for row in rows])
    equal = np.array([2 * (row.rank - 1 + row.reaching) for row in rows])
    single = equal < 1e-9  # no equals, to rounding
    at = np.concatenate([worse, worse + equal])[:, None]
    spread = np.clip((at - worse) / np.where(single, 1.0, equal), 0, 1)
    shares = [np.where(single, reached, spread).mean(axis=1) for reached in (at >= worse, at > worse)]
    distance = max(float(np.abs(share - at[:, 0]).max()) for share in shares)
    return distance, float(kstwo.sf(distance, len(rows)))


def lines(rows):
    """The chosen rows as text: means, the authors' in brackets, for the papers' version statistics of experiments."""
    for version in dict.fromkeys(row.version for row in rows):
        papers = version == "papers"
        for panel in _PANELS:
            yield f"{version}, {panel}, chosen by the objective; in brackets the authors'"
            if papers:
                yield f"{'':<68}{'experiments, rate by the objective':<49}rate by what is measured"
            own = {}
            for row in rows:
                if (row.version, row.panel) == (version, panel) and row.chosen_by:
                    own.setdefault((row.data, row.model), {})[row.chosen_by] = row
            for (data, model), by in own.items():
                row = by["objective"]
                theirs = "" if np.isnan(row.theirs) else f" [{row.theirs:.4g}]"
                text = f"  {data:<14}{model:<{18 if papers else 32}}{row.mean:.4g} ± {row.standard_error:.2g}{theirs}"
                if papers:
                    yield f"{text:<65}{_experiments_of(row)}{_experiments_of(by['measure'])}".rstrip()
                else:
                    yield text + (f", rate {row.learning_rate}" if row.learning_rate else "")
            yield from _ranks(list(own.items())) if papers else ()
    if any(row.experiments for row in rows):
        yield (
            "experiments: means of as many runs as the authors', subsets of ours, at the rate that is best on them: "
            "quantiles .05, .5, .95; the share of them with theirs or better, and with theirs less a standard error: "
            "the authors', or else the experiment's own; the rank of theirs among them, 1 if all of ours are worse"
        )


def _ranks(cells):
    """A line on the ranks of the models that are trained as the authors train them, if any.

    cells : list of ((data, model), {how the rate was chosen: Summary})
    """
    ranked = {key: by for key, by in cells if key[1] in TENSORIZED and not np.isnan(by["measure"].rank)}
    of_mixtures = [by for (data, _), by in ranked.items() if data in MIXTURES]
    others = [by for (data, _), by in ranked.items() if data not in MIXTURES]
    tests = []
    for name, group in (("mixtures", of_mixtures), ("other sets", others), ("all", list(ranked.values()))):
        if group:
            p = [uniformity([by[how] for by in group])[1] for how in ("objective", "measure")]
            tests.append(f"{len(group)} of {name} p = {p[0]:.2g} and {p[1]:.2g}")
    if tests:
        models = ", ".join(TENSORIZED)
        yield f"  ranks of {models} as uniform ones, Kolmogorov–Smirnov, rates as above: {'; '.join(tests)}"


def _experiments_of(row):
    """Columns of `lines`."""
    if not row.experiments:
        return ""
    shares = "" if np.isnan(row.reaching) else f"{row.reaching:>7.0%}{row.within:>6.0%}{row.rank:>6.2f}"
    return f"{row.low:>9.3g}{row.median:>9.3g}{row.high:>9.3g}{shares:<22}"
