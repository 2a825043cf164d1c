"""The estimators: one class a file; `base` holds what all share."""
