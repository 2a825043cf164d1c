"""The work of ``csrl select``: the number of clusters and the latent width, as a table and a curve."""

from pathlib import Path

import numpy as np

from csrl_core import selection
from csrl_core.cli import files
from csrl_core.cli.base import WrongUsage


def numbers(text, option):
    """Ints of "1-8" or "1,2,4"."""
    try:
        low, dash, high = text.partition("-")
        found = list(range(int(low), int(high) + 1)) if dash else [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise WrongUsage(f"{option} {text}: expected ints of at least 1, as in 1-8 or 1,2,4")
    return found


def main(data, *, clusters, latent, criterion, folds, n_init, out, picture, seed, backend, key, label_column, say):
    """Fit every candidate, say which is best, and write what was asked for; returns the exit code."""
    clusters, latent = numbers(clusters, "--clusters"), numbers(latent, "--latent")
    files.check_outputs({"--out": (out, (".csv",)), "--plot": (picture, files.PICTURES)}, [data])
    table = files.read_data(data, key=key, label_column=label_column, say=say)
    estimator = selection.default_estimator(seed).set_params(backend=backend, n_init=n_init)
    found = selection.select(
        np.asarray(table.X),
        n_clusters=clusters,
        latent=latent,
        criterion=criterion,
        folds=folds,
        estimator=estimator,
        random_state=seed,
    )
    what = "−BIC/n" if criterion == "bic" else "held-out log-likelihood"
    say(f"{'clusters':>8}  {'latent':>6}  {'parameters':>10}  {'log-likelihood':>14}  {what:>14}")
    for candidate in found.candidates:
        error = "" if np.isnan(candidate.error) else f" ± {candidate.error:.3g}"
        mark = "  best" if candidate is found.best else ""
        say(
            f"{candidate.n_clusters:>8}  {candidate.latent:>6}  {candidate.parameters:>10}  "
            f"{candidate.log_likelihood:>14.5g}  {candidate.value:>14.5g}{error}{mark}"
        )
    if out is not None:
        found.write(out)
        say(f"table    {Path(out)}")
    if picture is not None:
        from csrl_core import plotting

        plotting.save_figure(found.plot().figure, picture)
        say(f"picture  {Path(picture)}")
    return 0
