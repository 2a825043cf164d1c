"""What the kernels of several stems share and what knows no stem: threads, arrays, vectors, products."""
