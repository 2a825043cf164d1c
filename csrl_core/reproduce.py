"""The experiments on mixtures under their public name; their room is `csrl_core.experiments`."""

import sys

from csrl_core.experiments import mixtures

sys.modules[__name__] = mixtures  # one module under both names, whichever is imported
