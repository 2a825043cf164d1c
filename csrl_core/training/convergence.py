"""Whether a fit was long enough: what a `ConvergenceWarning` says, and what to raise."""

import numpy as np

SHARE = 0.01  # of all its descent: what a loss may still fall in the last tenth of the epochs
RELATIVE = 1e-3  # of the loss itself: a fall of less is none
ERRORS = 3  # standard errors below which a fall is the noise of batches


def late_descent(curve):
    """What share of its descent a loss made in the last tenth of the epochs; 0 where that is noise, or hardly any.

    The means of the last tenth and of the one before are compared; the noise is what a straight line through both
    leaves over.

    curve : list of float, an epoch's loss each; fewer than 20 tell nothing
    returns float, 0 to 1
    """
    n = len(curve) // 10
    if n < 2:
        return 0.0
    end = np.array(curve[-2 * n :])
    before, last = end[:n].mean(), end[n:].mean()
    at = np.arange(2 * n)
    noise = end - np.polyval(np.polyfit(at, end, 1), at)
    error = np.sqrt(np.sum(noise**2) / (2 * n - 2) * 2 / n)
    fall = before - last
    if not fall > max(RELATIVE * abs(last), ERRORS * error):
        return 0.0
    return float(fall / max(curve[0] - last, fall))


def of_an_early_end(run, settings, loss_falls):
    """What to warn of where a run took all its epochs and had not come to rest, else None.

    run : `Run`, trained; settings : `Settings`; loss_falls : bool, whether the loss is what training brings down
    """
    if run.epoch < settings.epochs or not run.loss_curve:
        return None
    share = late_descent(run.loss_curve) if loss_falls else 0.0
    if share > SHARE:
        what = (
            f"the loss was still falling, to {run.loss_curve[-1]:.4g}: {100 * share:.0f} % of its descent from "
            f"{run.loss_curve[0]:.4g} fell to the last tenth of the epochs"
        )
    elif settings.tol > 0 and run.stale < settings.n_iter_no_change:
        what = (
            f"tol={settings.tol:g} was not reached: the loss, now {run.loss_curve[-1]:.4g}, or the assignment still "
            f"changed in the last n_iter_no_change={settings.n_iter_no_change} epochs"
        )
    else:
        return None
    return (
        f"training stopped at epochs={settings.epochs} before it had converged; {what}. Raise epochs, or learning_rate "
        f"(now {settings.learning_rate:g})"
    )
