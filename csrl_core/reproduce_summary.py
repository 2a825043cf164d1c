"""What the runs of `csrl_core.reproduce` say: means and standard errors, rates chosen, the authors' figures beside."""

import csv
import io
from dataclasses import asdict, dataclass, fields
from importlib import resources

import numpy as np

from csrl_core.persistence import write_atomically


@dataclass(frozen=True)
class Summary:
    """Mean and standard error over repetitions, at one rate or at the chosen one, and the authors' figure.

    panel : "clustering" (ARI), "de-noising" (error), "de-noising, clusters of training" (error_assigned), "parameters"
    chosen_by : "" for a row of one rate; "objective": the rate of the best final objective; "measure": the rate
    with the best mean of what is measured, as the authors choose
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
    seconds: float


def authors_figures():
    """(panel, data, model, rate or None) → (value, standard error or NaN); None holds the best of all rates."""
    text = (resources.files("csrl_core") / "authors_figures.csv").read_text()
    found = {}
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        rate = float(row["learning_rate"]) if row["learning_rate"] else None
        entry = float(row["value"]), float(row["standard_error"] or "nan")
        models = ("AE1", "AE2", "AE3") if row["model"] == "AE" else (row["model"],)
        for model in models:
            key = row["panel"], row["data"], model
            found[*key, rate] = entry
            if rate is not None:
                best = found.get((*key, None))
                found[*key, None] = entry if best is None or entry[0] > best[0] else best
    return found


def summarise(runs):
    """`Summary` rows of `Run`s.

    Papers' version: one rate a model and data set, with the best mean objective. Ours: in every repetition the rate
    with the best objective, as one more restart would be chosen.
    """
    theirs, groups = authors_figures(), {}
    for run in runs:
        groups.setdefault((run.version, run.data, run.model), []).append(run)
    return [row for group in groups.values() for row in _summarise_model(group, theirs)]


# What is measured, whether more of it is better, and the objective that a rate is chosen by.
_PANELS = {
    "clustering": ("ARI", 1.0, lambda run: _or_worst(run.score)),
    "de-noising": ("error", -1.0, lambda run: _or_worst(-run.denoising_loss)),
    "de-noising, clusters of training": ("error_assigned", -1.0, lambda run: _or_worst(-run.denoising_loss)),
}


def _summarise_model(group, theirs):
    """The rows of one model on one data set."""
    version, data, model = group[0].version, group[0].data, group[0].model
    nan, nothing = float("nan"), (float("nan"), float("nan"))
    rates = list(dict.fromkeys(run.learning_rate for run in group))
    at = {rate: [run for run in group if run.learning_rate == rate] for rate in rates}
    rows = []
    for panel, (measure, sign, objective) in _PANELS.items():
        values = {rate: np.array([getattr(run, measure) for run in at[rate]]) for rate in rates}
        by_measure = max(rates, key=lambda rate: _or_worst(sign * values[rate].mean()))
        if version == "papers":
            chosen = at[max(rates, key=lambda rate: np.mean([objective(run) for run in at[rate]]))]
        else:
            repetitions = dict.fromkeys(run.repetition for run in group)
            chosen = [max((run for run in group if run.repetition == i), key=objective) for i in repetitions]
        listed = [(runs, "", rate) for rate, runs in at.items()]
        for runs, how, rate in [*listed, (chosen, "objective", None), (at[by_measure], "measure", None)]:
            found = np.array([getattr(run, measure) for run in runs])
            error = float(found.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else nan
            shown = sorted({f"{run.learning_rate:g}" for run in runs if run.learning_rate is not None})
            figures = theirs.get((panel.partition(",")[0], data, model, rate), nothing)
            seconds = float(np.mean([run.seconds for run in runs]))
            rows.append(
                Summary(
                    *(version, panel, data, model, " ".join(shown), how, float(found.mean()), error),
                    *(len(found), *figures, seconds),
                )
            )
    sizes = [run.parameters for run in group if run.parameters] or [0]
    rows.append(
        Summary(version, "parameters", data, model, "", "", float(np.mean(sizes)), nan, len(group), nan, nan, nan)
    )
    return rows


def _or_worst(value):
    return value if np.isfinite(value) else -np.inf


def write_rows(path, rows, kind):
    """A CSV file of records of one dataclass."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(column.name for column in fields(kind))
    for row in rows:
        values = asdict(row).values()
        table.writerow("" if v != v else f"{v:.6g}" if isinstance(v, float) else v for v in values)
    write_atomically(path, text.getvalue().encode())
