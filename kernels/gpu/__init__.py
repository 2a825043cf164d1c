"""The CUDA twins: CuPy products around CUDA C++ kernels, same functions as the reference."""
