"""What the runs of `csrl_core.reproduce` say: means and standard errors, rates chosen, the authors' figures beside.

An experiment is what the authors did: some runs on one draw, at each rate, and of the rates the best by the mean.
"""

import csv
import io
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from math import comb

import numpy as np

from csrl_core.persistence import write_atomically
from csrl_core.reproduce_authors import NO_FIGURE, RUNS, authors_figures, their_runs

SUBSETS = 20_000  # of a set's runs: all of them up to here, else so many at random


@dataclass(frozen=True)
class Summary:
    """Mean and standard error over repetitions, at one rate or at the chosen one, and the authors' figure.

    panel : "clustering" (ARI), "de-noising" (error), "de-noising, clusters of training" (error_assigned), "parameters"
    chosen_by : "" for a row of one rate; "objective": the rate of the best final objective; "measure": the rate
    with the best mean of what is measured, as the authors choose
    standard_error : runs that share a draw are not independent: of the means of draws where there are several
    experiments : as the authors', of the papers' version: one a draw, or many subsets of the runs on the only set
    low, median, high : of experiments' means: lowest and highest of draws, quantiles .05 and .95 of subsets
    reaching : share of experiments whose mean is theirs, to the digits printed, or better
    within : the same less a standard error: theirs where it was recorded, else the experiment's own
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
    seconds: float


def summarise(runs):
    """`Summary` rows of `Run`s.

    Papers' version: on every draw the rate with the best mean. Ours: in every repetition the rate with the best
    objective, as one more restart would be chosen, and by the measure one rate for all.
    """
    theirs, groups = authors_figures(), {}
    for run in runs:
        groups.setdefault((run.version, run.data, run.model), []).append(run)
    return [row for group in groups.values() for row in _summarise_model(group, theirs)]


# What is measured, whether more of it is better, and the objective that a rate is chosen by.
_PANELS = {
    "clustering": ("ARI", 1.0, lambda run: run.score),
    "de-noising": ("error", -1.0, lambda run: -run.denoising_loss),
    "de-noising, clusters of training": ("error_assigned", -1.0, lambda run: -run.denoising_loss),
}


def _summarise_model(group, theirs):
    """The rows of one model on one data set."""
    version, data, model = group[0].version, group[0].data, group[0].model
    rates = list(dict.fromkeys(run.learning_rate for run in group))
    at = [{run.repetition: run for run in group if run.learning_rate == rate} for rate in rates]
    repetitions = sorted(set.intersection(*(set(own) for own in at)))
    table = [[own[i] for i in repetitions] for own in at]  # (rates, repetitions)
    places = range(len(repetitions))
    draws = [run.draw for run in table[0]]
    drawn = [[i for i in places if draws[i] == draw] for draw in dict.fromkeys(draws)]
    each = [[i] for i in places]
    if version == "papers":
        choices = {"": drawn, "objective": drawn, "measure": drawn}
        experiments, ends = _places(drawn, their_runs(data))
    else:
        choices = {"": each, "objective": each, "measure": [list(places)]}
        experiments, ends = np.empty((0, RUNS), dtype=int), ()
    rows = []
    for panel, (measure, sign, objective) in _PANELS.items():
        values = np.array([[getattr(run, measure) for run in own] for own in table])
        objectives = np.array([[objective(run) for run in own] for own in table])
        listed = [("", rate, [number]) for number, rate in enumerate(rates)]
        for how, rate, among in [*listed, *((how, None, range(len(rates))) for how in ("objective", "measure"))]:
            merit = (sign * values if how == "measure" else objectives)[among]
            chosen = np.empty(len(repetitions), dtype=int)
            for own in choices[how]:
                chosen[own] = among[best(merit[:, own].mean(axis=1))]
            taken = [table[r][i] for i, r in enumerate(chosen)]
            found = values[chosen, places]
            figure = theirs.get((panel.partition(",")[0], data, model, rate), NO_FIGURE)
            shown = sorted({f"{run.learning_rate:g}" for run in taken if run.learning_rate is not None})
            rows.append(
                Summary(
                    *(version, panel, data, model, " ".join(shown), how, float(found.mean())),
                    *(clustered_error(found, drawn if len(drawn) > 1 else each), len(found)),
                    *(figure.value, figure.standard_error, len(experiments)),
                    *compared(*means(values[among], merit, experiments), figure, sign, ends),
                    float(np.mean([run.seconds for run in taken])),
                )
            )
    sizes = [run.parameters for run in group if run.parameters] or [0]
    nan = float("nan")
    row = Summary(
        version, "parameters", data, model, "", "", float(np.mean(sizes)), nan, len(group), nan, nan, 0, *[nan] * 6
    )
    return [*rows, row]


def best(merits):
    """The place of the greatest along the first axis; what is not finite (a rate that diverged) is the worst."""
    return np.where(np.isfinite(merits), merits, -np.inf).argmax(axis=0)


def clustered_error(values, clusters):
    """The standard error of a mean whose values are independent between clusters, and not within them.

    √(D/(D−1) Σ_c (Σ_{i∈c} (v_i − mean))²) / n for D clusters; of single values the usual one, s/√n

    values : (n,) float; clusters : list of lists of places; NaN for a single cluster
    """
    if len(clusters) < 2:
        return float("nan")
    totals = np.array([np.sum(values[own] - values.mean()) for own in clusters])
    return float(np.sqrt(len(clusters) / (len(clusters) - 1) * (totals @ totals)) / len(values))


def _places(drawn, size):
    """The runs of each experiment: those of a draw, or subsets of those on the only set there is.

    drawn : list of lists of places, those of each draw; a draw that lacks runs is left out
    returns (places (e, size), quantiles that are a `Summary`'s low and high)
    """
    if len(drawn) > 1:
        return np.array([own for own in drawn if len(own) == size], dtype=int).reshape(-1, size), (0.0, 1.0)
    n = len(drawn[0])
    if comb(n, size) <= SUBSETS:
        return np.array(list(combinations(range(n), size)), dtype=int).reshape(-1, size), (0.05, 0.95)
    random = np.random.default_rng(0)
    return random.permuted(np.tile(np.arange(n), (SUBSETS, 1)), axis=1)[:, :size], (0.05, 0.95)


def means(values, merit, experiments):
    """Each experiment's mean, at the rate with the best mean merit, and the standard error of its runs.

    values, merit : (rates, n) float; experiments : (e, size) int, places in n
    returns (mean (e,), standard error (e,))
    """
    chosen = best(merit[:, experiments].mean(axis=2))
    own = values[chosen[:, None], experiments]
    return own.mean(axis=1), own.std(axis=1, ddof=1) / np.sqrt(experiments.shape[1])


def compared(found, errors, figure, sign, ends):
    """(low, median, high, reaching, within) of a `Summary`, NaN without experiments or without a figure.

    found, errors : (e,) float, experiments' means and standard errors; ends : the quantiles that are low and high
    sign : 1.0 where more is better, −1.0 where less
    """
    nan = float("nan")
    if not len(found):
        return (nan,) * 5
    low, median, high = (float(v) for v in np.quantile(found, (ends[0], 0.5, ends[1])))
    if np.isnan(figure.value):
        return low, median, high, nan, nan
    # Half a unit of the last digit printed: their mean may be that much worse than it reads.
    lead = sign * (found - figure.value) + figure.rounding
    allowed = errors if np.isnan(figure.standard_error) else figure.standard_error
    return low, median, high, float(np.mean(lead >= 0)), float(np.mean(lead + allowed >= 0))


def lines(rows):
    """What was chosen as text: means, the authors' in brackets, and of the papers' version what experiments give."""
    for version in dict.fromkeys(row.version for row in rows):
        papers = version == "papers"
        for panel in _PANELS:
            yield f"{version}, {panel}, chosen by the objective; in brackets the authors'"
            if papers:
                yield f"{'':<59}{'experiments, rate by the objective':<43}rate by what is measured"
            own = {}
            for row in rows:
                if (row.version, row.panel) == (version, panel) and row.chosen_by:
                    own.setdefault((row.data, row.model), {})[row.chosen_by] = row
            for (data, model), by in own.items():
                row = by["objective"]
                theirs = "" if np.isnan(row.theirs) else f" [{row.theirs:.4g}]"
                text = f"  {data:<14}{model:<{9 if papers else 32}}{row.mean:.4g} ± {row.standard_error:.2g}{theirs}"
                if papers:
                    yield f"{text:<56}{_experiments_of(row)}{_experiments_of(by['measure'])}".rstrip()
                else:
                    yield text + (f", rate {row.learning_rate}" if row.learning_rate else "")
    if any(row.experiments for row in rows):
        yield (
            "experiments: means of as many runs as the authors', at the rate that is best on them: lowest, median and "
            "highest of draws, or quantiles .05, .5, .95 of subsets of runs on the only set; the share of them with "
            "theirs or better, and with theirs less a standard error: the authors', or else the experiment's own"
        )


def _experiments_of(row):
    """Columns of `lines`."""
    if not row.experiments:
        return ""
    shares = "" if np.isnan(row.reaching) else f"{row.reaching:>7.0%}{row.within:>6.0%}"
    return f"{row.low:>9.3g}{row.median:>9.3g}{row.high:>9.3g}{shares:<16}"


def write_rows(path, rows, kind):
    """A CSV file of records of one dataclass."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(column.name for column in fields(kind))
    for row in rows:
        values = asdict(row).values()
        table.writerow("" if v != v else f"{v:.6g}" if isinstance(v, float) else v for v in values)
    write_atomically(path, text.getvalue().encode())
