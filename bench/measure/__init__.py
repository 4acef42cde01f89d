"""Execution: clocks, sampling in interleaved rounds, peak memory, statistics."""
