"""contextbench: what context modules for semantic segmentation cost, measured the same way for all of them."""

SCHEMA = 1
