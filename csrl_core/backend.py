"""`csrl_core.backends` under the name that it had first."""

import sys

from csrl_core import backends

sys.modules[__name__] = backends  # one module under both names, whichever is imported
