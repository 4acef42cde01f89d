"""Training: short runs that show what a block achieves, beside what it costs."""
