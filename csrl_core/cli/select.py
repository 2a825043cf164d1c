"""The work of ``csrl select``: the number of clusters and the latent width, as a table and a curve."""

import numpy as np

from csrl_core import selection
from csrl_core.cli import data as tables
from csrl_core.cli import files
from csrl_core.cli.base import WrongUsage
from csrl_core.cli.remembered import equipment, scaling_of
from csrl_core.training import compiling


def numbers(text, option):
    """Ints of "1-8" or "1,2,4"."""
    try:
        low, dash, high = text.partition("-")
        values = list(range(int(low), int(high) + 1)) if dash else [int(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or min(values) < 1:
        raise WrongUsage(f"{option} {text}: expected ints of at least 1, as in 1-8 or 1,2,4")
    return values


def main(request, say):
    """Fit every candidate, say which is best, and write what was asked for; returns the exit code.

    request : `csrl_core.cli.experiments.SelectRequest`; say : callable, takes a line
    """
    clusters, latent = numbers(request.clusters, "--clusters"), numbers(request.latent, "--latent")
    model, csv = request.out, request.table
    if model is not None and model.suffix.lower() == ".csv":
        if csv is not None:
            raise WrongUsage(f"--out {model}: a model needs another name; --table names the table already")
        model, csv = None, model
    outputs = {"--out": (model, None), "--table": (csv, (".csv",)), "--plot": (request.picture, files.PICTURES)}
    files.check_outputs(outputs, [request.data])
    data = tables.read_data(request.data, request, say=say)
    tables.check_finite(request.data, data)
    scaling = scaling_of(request, data, say)
    estimator = selection.default_estimator(request.seed)
    estimator.set_params(backend=request.backend.value, n_init=request.n_init)
    with compiling.announced(say, estimator, estimator.backend):
        selected = selection.select(
            np.asarray(data.X if scaling is None else scaling.apply(data.X)),
            n_clusters=clusters,
            latent=latent,
            criterion=request.criterion.value,
            folds=request.folds,
            estimator=estimator,
            random_state=request.seed,
        )
    what = "−BIC/n" if request.criterion.value == "bic" else "held-out log-likelihood"
    say(f"{'clusters':>8}  {'latent':>6}  {'parameters':>10}  {'log-likelihood':>14}  {what:>14}")
    for candidate in selected.candidates:
        error = "" if np.isnan(candidate.error) else f" ± {candidate.error:.3g}"
        mark = "  best" if candidate is selected.best else ""
        say(
            f"{candidate.n_clusters:>8}  {candidate.latent:>6}  {candidate.parameters:>10}  "
            f"{candidate.log_likelihood:>14.5g}  {candidate.value:>14.5g}{error}{mark}"
        )
    if model is not None:
        with equipment(data, scaling)(selected.estimator):
            files.save_somewhere(selected.estimator, model, say)
    if csv is not None:
        selected.write(csv)
        say(f"table    {csv}")
    if request.picture is not None:
        from csrl_core import plotting

        plotting.save_figure(selected.plot().figure, request.picture)
        say(f"picture  {request.picture}")
    return 0
