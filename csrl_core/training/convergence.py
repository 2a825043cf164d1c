"""Whether a fit ran long enough, and the text of the `ConvergenceWarning` if it did not."""

import numpy as np

SHARE = 0.01  # of the whole descent: how much a loss may still fall in the last tenth of the epochs
RELATIVE = 1e-3  # of the loss itself: a smaller fall is not counted
ERRORS = 3  # standard errors: a smaller fall may be the noise of batches
RISE = 10  # times the first loss: a last loss above that is no result


def late_descent(curve):
    """The share of a loss's whole descent that fell in the last tenth of the epochs; 0 if it is noise or negligible.

    Compares the mean of the last tenth with the mean of the tenth before. The noise is estimated from the residuals of
    a straight line through both tenths.

    curve : list of float, the loss of each epoch; fewer than 20 epochs give 0
    returns float, 0 to 1
    """
    n = len(curve) // 10
    if n < 2:
        return 0.0
    end = np.array(curve[-2 * n :])
    before, last = end[:n].mean(), end[n:].mean()
    epochs = np.arange(2 * n)
    residuals = end - np.polyval(np.polyfit(epochs, end, 1), epochs)
    error = np.sqrt(np.sum(residuals**2) / (2 * n - 2) * 2 / n)
    fall = before - last
    if not fall > max(RELATIVE * abs(last), ERRORS * error):
        return 0.0
    return float(fall / max(curve[0] - last, fall))


def unconverged_message(run, settings, loss_falls):
    """The warning for a run that used all its epochs before it converged; None for any other run.

    run : `Run`, trained; settings : `Settings`; loss_falls : bool, whether training lowers the loss
    """
    if run.epoch < settings.epochs or not run.loss_curve:
        return None
    first, last = run.loss_curve[0], run.loss_curve[-1]
    if loss_falls and last > RISE * first > 0:
        return (
            f"the loss rose from {first:.4g} to {last:.4g}; try a smaller learning_rate than "
            f"{settings.learning_rate:g}, or scale the data"
        )
    share = late_descent(run.loss_curve) if loss_falls else 0.0
    if share > SHARE:
        of = f"{100 * share:.0f} % of its descent from {first:.4g} happened in the last tenth of the epochs"
        reason = f"the loss was still falling, to {last:.4g}" + (f": {of}" if last < first else "")
    elif settings.tol > 0 and run.stale < settings.n_iter_no_change:
        reason = (
            f"tol={settings.tol:g} was not reached: the loss, now {run.loss_curve[-1]:.4g}, or the assignment still "
            f"changed in the last n_iter_no_change={settings.n_iter_no_change} epochs"
        )
    else:
        return None
    return (
        f"training stopped at epochs={settings.epochs} before it had converged; {reason}. Raise epochs, or "
        f"learning_rate (now {settings.learning_rate:g})"
    )
