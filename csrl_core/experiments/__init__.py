"""The experiments of ``csrl demo`` and ``csrl reproduce``."""
