"""How anything is trained: the loop, the joint assignment, its solvers, and what a run keeps."""
