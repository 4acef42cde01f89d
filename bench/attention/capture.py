"""Capture: the context blocks of a network by place, and what each shows of itself during a forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from bench.static.memory import LiveStorage
from bench.static.trace import Trace
from modules import registry
from modules.observation import observed_by
from modules.options import SpecError

PROBED = "block"
"""Path of the block in a probe network."""

Told: TypeAlias = "Callable[[Place, str, Tensor], None]"


@dataclass(frozen=True)
class Place:
    """A context block in a network.

    Attributes:
        path: of the module.
        entry: name in the registry; null for a control that has none.
        module: the block.
        last: whether its last argument holds the positions that ask, as in a fusion block, instead of the first.
    """

    path: str
    entry: str | None
    module: nn.Module
    last: bool = False


@dataclass(frozen=True)
class Survey:
    """What a network would do with an image, found without weights.

    Attributes:
        extents: path of a block -> extent of the map of positions that ask.
        peak_bytes: of live tensors above weights and image; null where it cannot be traced.
    """

    extents: Mapping[str, tuple[int, ...]]
    peak_bytes: int | None

    @property
    def finest(self) -> tuple[str, tuple[int, ...]] | None:
        """The place with the most positions, and its map."""
        maps = {path: extent for path, extent in self.extents.items() if len(extent) == 2}
        return max(maps.items(), key=lambda item: item[1][0] * item[1][1]) if maps else None


def find_places(network: nn.Module) -> list[Place]:
    """Every block of the families `context` and `fusion`, in the order of the modules, those inside others too.

    The block of a probe network is one whatever its class, so that a control stands beside the blocks.
    """
    kinds: dict[object, tuple[str, bool]] = {}
    for family in ("context", "fusion"):
        kinds |= {registry.describe(name).build: (name, family == "fusion") for name in registry.names(family)}
    places = []
    for path, module in network.named_modules():
        known = kinds.get(type(module))
        if known is not None:
            places.append(Place(path, known[0], module, known[1]))
    if not any(place.path.startswith(PROBED) for place in places):
        places += [Place(PROBED, None, module) for name, module in network.named_children() if name == PROBED]
    return places


@contextmanager
def watched(places: Sequence[Place], told: Told) -> Iterator[None]:
    """Have `told` hear what the blocks at `places` show inside the `with` block, together with `input` and `output`.

    What a block shows goes to the innermost place that is being computed. Names and shapes are those of
    `modules.observation.observe`; `input` is (B,C,...), the map of the positions that ask, and `source` comes next
    where another map is asked. Where a block does not show its `output`, it is the result less the input, if these two
    have one shape. Nothing is kept here.

    Args:
        places: of `find_places`.
        told: called with place, name and tensor, in the order of the computation.
    """
    open_places: list[Place] = []
    seen: list[set[str]] = []

    def enter(place: Place) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            open_places.append(place)
            seen.append(set())
            told(place, "input", args[-1 if place.last else 0])
            if place.last:
                told(place, "source", args[0])

        return hook

    def leave(place: Place) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
            open_places.pop()
            given = args[-1 if place.last else 0]
            first = result[0] if isinstance(result, (tuple, list)) else result
            if "output" not in seen.pop() and isinstance(first, Tensor) and first.shape == given.shape:
                told(place, "output", first - given)

        return hook

    def observer(name: str, value: Tensor) -> None:
        if open_places:
            seen[-1].add(name)
            told(open_places[-1], name, value)

    with ExitStack() as stack:
        for place in places:
            stack.callback(place.module.register_forward_pre_hook(enter(place)).remove)
            stack.callback(place.module.register_forward_hook(leave(place)).remove)
        stack.enter_context(observed_by(observer))
        yield


def survey(network: nn.Module, shape: tuple[int, ...], label: str) -> Survey:
    """Where the network has context blocks, and how large their maps are for an image of `shape`.

    It runs on meta tensors, or really where a block cannot run there.

    Raises:
        SpecError: it cannot take such an image.
    """
    try:
        twin = copy.deepcopy(network).to("meta").eval()
        live = LiveStorage()
        with torch.no_grad(), Trace(live):
            extents = _extents(twin, torch.empty(shape, device="meta"))
        return Survey(extents, live.peak_bytes)
    except Exception:  # a block that looks at its values cannot be traced; whatever else is wrong shows again below
        pass
    twin = copy.deepcopy(network).to("cpu").eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            return Survey(_extents(twin, torch.zeros(shape)), None)
    except Exception as error:  # whatever a block raises, it does not fit this image
        line = " ".join(f"{type(error).__name__}: {error}".split())
        raise SpecError(f"'{label}' cannot look at an image of {shape[2]}x{shape[3]}: {line}") from error


def _extents(network: nn.Module, image: Tensor) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}

    def told(place: Place, name: str, value: Tensor) -> None:
        if name == "input":
            found[place.path] = tuple(value.shape[2:])

    with watched(find_places(network), told):
        network(image)
    return found
