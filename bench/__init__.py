"""contextbench: what context modules for semantic segmentation cost, measured the same way for all of them."""

import os

SCHEMA = 1
os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # read once, as torch is loaded: the profiler's own chatter on stderr
