"""Network: what is trained: a block between a tiny backbone and a classifier, or a whole network."""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.training.chain import Chain, Part, is_control, read_chain
from modules import registry
from modules.options import SpecError, nearest

CHANNELS = 48
"""C of the probe network's map."""
STRIDE = 4
"""Pixels of the image for one position of the probe network's map, each way."""
NETWORK_CHANNELS = 2048
"""C of whole networks: the published width."""
_TRIAL_MAP, _TRIAL_IMAGE = 16, 256
_Built = TypeVar("_Built", bound=nn.Module)


class Pointwise(nn.Sequential):
    """1x1 convolutions, each with batch norm and ReLU: nothing passes between positions.

    One stands in for `identity`, as the plain baseline; two are `mlp`, the capacity control.

    Args:
        widths: channels of the input and behind each convolution.

    Shapes: (B,C,H,W) -> the same.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__(*(part for i, o in itertools.pairwise(widths) for part in _conv_norm(i, o, 1)))


class Composition(nn.Module):
    """Context blocks one after the other.

    A block that takes two maps, x_g and x_l, as LDv2 does, gets the result of those before it and the composition's
    input (GALDv2, Eq. 5); standing first, or where the two maps differ in channels, it gets the one map.

    Shapes: (B,C,H,W) -> (B,C',H,W), C' of the last block.
    """

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self._two_maps = [_takes_two_maps(block) for block in blocks]

    def forward(self, x: Tensor) -> Tensor:
        result = x
        for block, two_maps in zip(self.blocks, self._two_maps, strict=True):
            pair = two_maps and result is not x and result.shape == x.shape
            result = block(result, x) if pair else block(result)
        return result


class ProbeNetwork(nn.Module):
    """Tiny backbone of stride 4, a block, a classifier.

    3x3 convolutions of stride 2 (16), 2 (32), 1 (C), 1 (C); the block; its result and its input, concatenated; 1x1 to
    C; 1x1 to the classes; bilinear to the image's size, with corners not aligned, so that the offset between a position
    and its pixels is the same everywhere and can be learned. Batch norm and ReLU after every convolution but the last.
    Without the block no logit sees further than 23 pixels of the image, and what the resizing adds.

    Attributes:
        trunk: image (B,3,H,W) -> (B,C,H/4,W/4).
        block: (B,C,h,w) -> (B,C',h,w), any C'.
        merge: of C + C' channels to C.
        classifier: to the classes.

    Shapes: image (B,3,H,W) -> logits (B,classes,H,W).
    """

    def __init__(self, trunk: nn.Module, block: nn.Module, merge: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.trunk, self.block, self.merge, self.classifier = trunk, block, merge, classifier

    def forward(self, image: Tensor) -> Tensor:
        x = self.trunk(image)
        logits = self.classifier(self.merge(torch.cat([self.block(x), x], dim=1)))
        return functional.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)


def build_network(
    label: str | Chain,
    options: Mapping[str, object] | None = None,
    classes: int = 19,
    seed: int = 0,
    channels: int | None = None,
    impl: str = "reference",
) -> nn.Module:
    """The network that trains a block, or a whole network of the registry.

    Backbone, block, merging convolution and classifier are drawn from generators of their own, and so is each block
    of a composition, so that all probe networks of one seed start from the same backbone and classifier.

    Args:
        label: a context block, a composition such as `nl+ldv2:kernel=5` or a whole network, see `read_chain`; or a
            chain that was read already.
        options: further options of the (last) block, as values or text; none where a chain is given.
        classes: of the data set.
        seed: of the initial weights.
        channels: C of the map; 48 for blocks, 2048 for whole networks where not given.
        impl: implementation of the blocks that have it; the others are as published.

    Raises:
        SpecError: a name, option, implementation or number of channels that cannot be, or a block that does not return
            a map of the size that it was given.
    """
    chain = label if isinstance(label, Chain) else read_chain(label, options)
    if classes < 1:
        raise SpecError(f"classes must be at least 1, not {classes}")
    if chain.family == "network":
        return _whole(chain, classes, seed, NETWORK_CHANNELS if channels is None else channels, impl)
    width = CHANNELS if channels is None else channels
    if width < 1:
        raise SpecError(f"channels must be at least 1, not {width}")
    block = build_block(chain, width, seed, impl)
    joined = width + _channels_out(block, width, chain.label)
    return ProbeNetwork(
        _seeded(seed, "trunk", lambda: _trunk(width)),
        block,
        _seeded(seed, "merge", lambda: nn.Sequential(*_conv_norm(joined, width, 1))),
        _seeded(seed, "classifier", lambda: nn.Conv2d(width, classes, 1)),
    )


def build_block(chain: Chain, channels: int = CHANNELS, seed: int = 0, impl: str = "reference") -> nn.Module:
    """The block of the probe network alone: what `block_params` and `block_macs` of a record count.

    Raises:
        SpecError: as `build_network`.
    """
    blocks: list[nn.Module] = []
    for place, part in enumerate(chain.parts):
        if blocks:
            channels = _channels_out(blocks[-1], channels, chain.parts[place - 1].entry)
        used = impl if impl in _impls(part) else "reference"
        blocks.append(_seeded(seed, f"block {place}", functools.partial(_create, part, channels, used)))
    return blocks[0] if len(blocks) == 1 else Composition(blocks)


def check_impl(chains: Iterable[Chain], impl: str) -> None:
    """See that some block of the chains has an implementation; those that lack it are trained as published.

    Raises:
        SpecError: none has.
    """
    known = {name: None for chain in chains for part in chain.parts for name in _impls(part)}
    if impl not in known:
        raise SpecError(f"what is to be trained has no implementation '{impl}'{nearest(impl, known)}")


def _create(part: Part, channels: int, impl: str) -> nn.Module:
    if part.entry == "identity":
        return Pointwise(channels, channels)
    if is_control(part.entry):
        hidden = part.values["hidden"]
        return Pointwise(channels, hidden if isinstance(hidden, int) else channels, channels)
    return registry.create(part.entry, channels, impl, **part.values)


def _whole(chain: Chain, classes: int, seed: int, channels: int, impl: str) -> nn.Module:
    part = chain.parts[0]
    entry = registry.describe(part.entry)
    if "classes" not in entry.options:
        raise SpecError(f"'{part.entry}' has no option 'classes', so it cannot be trained on a data set's")
    values = {**part.values, "classes": classes}
    used = impl if impl in entry.impls else "reference"
    with torch.device("meta"):
        trial = registry.create(part.entry, channels, used, **values)
    logits = _tried(trial, torch.empty(2, 3, _TRIAL_IMAGE, _TRIAL_IMAGE, device="meta"), chain.label)
    if logits.ndim != 4 or logits.shape[1] != classes:
        raise SpecError(f"'{chain.label}' returns {tuple(logits.shape)} for 2 images, not a map of each class")
    return _seeded(seed, "network", lambda: registry.create(part.entry, channels, used, **values))


def _channels_out(block: nn.Module, channels: int, label: str) -> int:
    """Channels of what a block returns for a map of the default size."""
    given = (2, channels, _TRIAL_MAP, _TRIAL_MAP)
    result = _tried(block, torch.zeros(given), label)
    if result.ndim != 4 or result.shape[0] != given[0] or result.shape[2:] != given[2:]:
        raise SpecError(f"'{label}' returns {tuple(result.shape)} for a map of {given}; allowed: a map of that size")
    return int(result.shape[1])


def _tried(module: nn.Module, x: Tensor, label: str) -> Tensor:
    """What a module returns in evaluation mode, the first of a tuple; the module is left as it was."""
    training = module.training
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            result = module.eval()(x)
    except (Exception, SystemExit) as error:  # whatever a user's block raises, it does not fit this map
        why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        line = " ".join(why.split())
        raise SpecError(f"'{label}' cannot be trained on a map of {tuple(x.shape)}: {line}") from error
    finally:
        module.train(training)
    first = result[0] if isinstance(result, (tuple, list)) else result
    if not isinstance(first, Tensor):
        raise SpecError(f"'{label}' returns {type(first).__name__}; allowed: a tensor, or a tuple of them")
    return first


def _seeded(seed: int, name: str, build: Callable[[], _Built]) -> _Built:
    """What `build` makes, its random numbers drawn from a generator that seed and name decide."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(digest[:7], "big"))
        return build()


def _trunk(width: int) -> nn.Sequential:
    sizes = ((3, 16, 2), (16, 32, 2), (32, width, 1), (width, width, 1))
    return nn.Sequential(*(part for i, o, stride in sizes for part in _conv_norm(i, o, 3, stride)))


def _conv_norm(channels: int, out: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True)


def _impls(part: Part) -> tuple[str, ...]:
    return ("reference",) if is_control(part.entry) else registry.describe(part.entry).impls


def _takes_two_maps(block: nn.Module) -> bool:
    return "x_l" in inspect.signature(block.forward).parameters
