"""Compare a backend with the reference, case by case: the public face of `csrl_core.contract.verify`."""

from csrl_core.contract.verify import DTYPES, Result, check, table, verify

__all__ = ["DTYPES", "Result", "check", "table", "verify"]
