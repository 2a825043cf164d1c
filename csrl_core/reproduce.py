"""The experiment of Figure 2 under its public name; it is `csrl_core.experiments.fig2`."""

import sys

from csrl_core.experiments import fig2

sys.modules[__name__] = fig2  # one module under both names, whichever is imported
