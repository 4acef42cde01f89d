"""The gate: exact static figures of every entry against a committed baseline, and a pytest-benchmark suite."""
