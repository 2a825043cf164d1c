"""The models: one file each, with its parameters, its start and its calls of kernels."""
