"""Connection: a Ray cluster that this process drives. The only file that imports Ray."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from bench.cluster.node import Node, Share, node_of
from modules.options import SpecError

EXTRA = "pip install 'contextbench[cluster]'"
ATTEMPTS = 3
"""How often a call is begun whose node is lost each time."""
_GLANCE_SECONDS, _KNOCK_SECONDS = 1.0, 10.0
_ALLOWED = "auto (the cluster that runs here), host:port, or ray://host:port"


class NodesLost(Exception):
    """None of the nodes that a call may run on is left, or it lost its node `ATTEMPTS` times.

    Attributes:
        gone: whether no node is left.
    """

    def __init__(self, gone: bool, reason: str) -> None:
        super().__init__(reason)
        self.gone = gone


class NodeFailed(Exception):
    """Raised by a function on a node that could not do it for a reason of the node's; another may.

    Attributes:
        outcome: what the call returns if all others fail too; null for `NodesLost`.
    """

    def __init__(self, reason: str, outcome: object = None) -> None:
        super().__init__(reason, outcome)
        self.reason, self.outcome = reason, outcome

    def __str__(self) -> str:
        return self.reason


class OutOfMemory(Exception):
    """Ray ended a call because memory ran out on its node."""


class Stopped(Exception):
    """The cluster was let go while a call was running."""


class Cluster:
    """Runs functions on nodes; several threads may call at once."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._remote = ray.remote(max_retries=0, max_calls=1)(_locating())
        self._lock = threading.Lock()
        self._running: set[Any] = set()
        self._seen: tuple[float, list[Node]] = (0.0, [])
        self._stopped = False

    def nodes(self) -> list[Node]:
        """The nodes that are alive, as of a second ago."""
        with self._lock:
            then, seen = self._seen
            if time.monotonic() - then > _GLANCE_SECONDS or not seen:
                seen = [node_of(facts) for facts in self._ray.nodes() if facts["Alive"]]
                self._seen = (time.monotonic(), seen)
            return list(seen)

    def call(
        self,
        function: Callable[..., Any],
        arguments: Sequence[object],
        share: Share,
        on_lost: Callable[[str], None] = lambda told: None,
    ) -> tuple[Node, Any]:
        """The node, and what a function returned there, in a process of its own; begun again, elsewhere if it can be,
        where that is lost.

        Args:
            function: importable on the nodes, or self-contained.
            arguments: its arguments.
            share: where, and with how much of the node.
            on_lost: told in words each time that it is begun again.

        Raises:
            NodesLost: no node of `share` is left, or it was lost `ATTEMPTS` times.
            OutOfMemory: Ray ended it for memory.
            Stopped: the cluster was let go.
            SpecError: what the function raised, with the node's name.
            Exception: what else it raised.
        """
        everywhere = share
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._once(function, arguments, share)
            except NodesLost:
                if share == everywhere or attempt == ATTEMPTS:
                    raise
                share = everywhere
            except _Lost as lost:
                if attempt == ATTEMPTS:
                    if lost.node is not None and lost.outcome is not None:
                        return lost.node, lost.outcome
                    raise NodesLost(False, f"lost {ATTEMPTS} times: {lost}") from None
                on_lost(str(lost))
                others = tuple(node for node in everywhere.nodes if node != lost.node)
                share = replace(everywhere, nodes=others or everywhere.nodes)
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """Cancel every call; those who wait for one are told by `Stopped`."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for reference in running:
            self._cancel(reference)

    def _once(self, function: Callable[..., Any], arguments: Sequence[object], share: Share) -> tuple[Node, Any]:
        where = {"ray.io/node-id": f"in({','.join(node.id for node in share.nodes)})"}
        options = {"num_cpus": share.cpus, "num_gpus": share.gpus, "label_selector": where}
        with self._lock:
            if self._stopped:
                raise Stopped
            reference = self._remote.options(**options).remote(function, *arguments)
            self._running.add(reference)
        try:
            place, well, value = self._result(reference, share)
        finally:
            with self._lock:
                self._running.discard(reference)
        node = next(node for node in share.nodes if node.id == place)
        if well:
            return node, value
        if isinstance(value, NodeFailed):
            raise _Lost(f"node {node.name}: {value}", node, value.outcome)
        raise SpecError(f"node {node.name}: {value}") if isinstance(value, SpecError) else value

    def _result(self, reference: Any, share: Share) -> Any:
        errors = self._ray.exceptions
        wanted = {node.id for node in share.nodes}
        try:
            while not self._ray.wait([reference], timeout=_GLANCE_SECONDS)[0]:
                if self._stopped:
                    raise Stopped
                if not wanted & {node.id for node in self.nodes()}:
                    self._cancel(reference)
                    raise NodesLost(True, f"no node is left of {', '.join(node.name for node in share.nodes)}")
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from None
        except errors.OutOfMemoryError as error:
            raise OutOfMemory(_first_line(error)) from None
        except errors.RayError as error:
            if self._stopped:
                raise Stopped from None
            raise _Lost(_first_line(error)) from None

    def _cancel(self, reference: Any) -> None:
        with contextlib.suppress(Exception):  # it may just have ended, or its node is gone
            self._ray.cancel(reference, force=True)


class _Lost(Exception):
    """The node or the process of a call is gone.

    Attributes:
        node: which, where that is known.
        outcome: see `NodeFailed`.
    """

    def __init__(self, reason: str, node: Node | None = None, outcome: object = None) -> None:
        super().__init__(reason)
        self.node, self.outcome = node, outcome


def _locating() -> Callable[..., tuple[str, bool, Any]]:
    """A function that needs nothing of this project to arrive on a node. There: the node's id, whether a function went
    well, and what it returned or raised."""

    def located(function: Callable[..., Any], *arguments: object) -> tuple[str, bool, Any]:
        ray = importlib.import_module("ray")
        place = ray.get_runtime_context().get_node_id()
        try:
            return place, True, function(*arguments)
        except Exception as error:  # comes back with the node that it is of
            return place, False, error

    return located


@contextlib.contextmanager
def connected(address: str, console: Console) -> Iterator[Cluster]:
    """Drive the cluster at an address inside the block; every call still running is cancelled at its end.

    Ray's own messages, which would go to the standard output, are not shown: what matters of them is said.

    Raises:
        SpecError: Ray is not installed, or there is no such cluster.
    """
    ray = _ray()
    _knock(address)
    console.file = console.file  # keeps writing where it does, whatever becomes of the standard output
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:  # Ray has no one class for a cluster that is not there
            raise SpecError(f"no Ray cluster at '{address}': {_first_line(error)}; allowed: {_ALLOWED}") from None
        cluster = Cluster(ray)
        try:
            yield cluster
        finally:
            cluster.stop()
            ray.shutdown()


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise SpecError(f"--cluster needs Ray, which is not installed here ({error}); install it: {EXTRA}") from None


def _knock(address: str) -> None:
    """See that something listens at an address, for Ray itself would wait for it a long time.

    Raises:
        SpecError: nothing does, or it is no address.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        raise SpecError(f"'{address}' is no address of a Ray cluster; allowed: {_ALLOWED}")
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise SpecError(f"no Ray cluster at '{address}': {error}; allowed: {_ALLOWED}") from None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
