"""What can be known of a case without running it: parameters, multiply-adds, memory and traffic."""

from bench.static.figures import StaticFigures, trace_figures, with_fvcore

__all__ = ["StaticFigures", "trace_figures", "with_fvcore"]
