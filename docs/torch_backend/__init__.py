"""The stem ``assign`` in PyTorch: an example of somebody's own kernels for ``csrl verify`` (docs/verify.md)."""
