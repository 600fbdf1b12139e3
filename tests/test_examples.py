"""Promise: each example runs, saves its figure, and its numbers say what its docstring claims.

Thresholds: means ± standard deviations over ten seeds stand beside them.
"""
