"""Training: the loop, the joint assignment, its solvers, random numbers, and files of models and checkpoints."""
