"""The curve of the loss."""

import numpy as np

from csrl_core.plotting.style import COLOURS, axes_of


def plot_loss(model, ax=None):
    """The objective over the epochs, before their steps, and at the end; the axis says what it is.

    model : fitted estimator; ax : Axes, optional
    returns Axes
    """
    ax = axes_of(ax)
    end = getattr(model, "_loss_at_end", "at the end")
    curve = np.asarray(model.loss_curve_)
    ax.plot(np.arange(1, len(curve) + 1), curve, color=COLOURS[0], label="mean over the epoch's batches")
    ax.axhline(model.loss_, color=COLOURS[4], linestyle="--", label=f"{end}: {model.loss_:.4g}")
    if len(curve) and curve.min() > 0 and curve.max() > 30 * curve.min():
        ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel(getattr(model, "_loss_name", "loss"))
    ax.set_title(f"{type(model).__name__}: {len(curve)} epochs of training")
    ax.legend(frameon=False)
    ax.grid(color="0.92")
    return ax
