"""CUDA graphs: a call captured once and launched whole, so that its time holds no launches from Python."""

from __future__ import annotations

import warnings

import torch

from bench.measure.clock import Call

_WARM_CALLS = 3
_EMPTY = "graph is empty"


class NotCapturable(NotImplementedError):
    """A block does what no graph can hold, such as waiting for the device or a choice by a tensor's value."""


def captured(call: Call) -> Call:
    """Capture a call on a stream of its own, after some that let its libraries set themselves up there.

    The call must read and write the same tensors every time; what it returns is dropped.

    Returns:
        A call that replays the graph, which it keeps alive with its memory.

    Raises:
        NotCapturable: the capture failed, or the call launches nothing on the device.
        torch.OutOfMemoryError: so did an ordinary call, or the graph's own memory.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_CALLS):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            with torch.cuda.graph(graph, stream=stream):
                call()
        except torch.OutOfMemoryError:
            _leave_capture()
            raise
        except RuntimeError as error:
            _leave_capture()
            raise NotCapturable(f"cannot be captured in a CUDA graph: {error}") from error
    if any(_EMPTY in str(warning.message).lower() for warning in told):
        raise NotCapturable("launches nothing on the device, so its CUDA graph is empty")
    return graph.replay


def _leave_capture() -> None:
    """Give the device's random generator a fresh state: a capture that failed leaves it waiting for its end, and it
    draws nothing more."""
    fresh = torch.Generator(device="cuda")
    fresh.manual_seed(torch.cuda.initial_seed())
    torch.cuda.default_generators[torch.cuda.current_device()].graphsafe_set_state(fresh.graphsafe_get_state())
