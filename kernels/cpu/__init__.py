"""The CPU twins: Numba loops around NumPy products, same functions as the reference."""
