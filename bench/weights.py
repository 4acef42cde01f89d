"""Weights: a checkpoint file for the one network of a request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bench.case import Case
from modules import registry
from modules.checkpoints import load_checkpoint
from modules.options import SpecError


@dataclass(frozen=True)
class Weights:
    """A checkpoint and the block that it is for.

    Attributes:
        label: the block, as users spell it.
        path: of the file.
        digest: of its content.
        names: whose names its tensors have, `contextbench` or a source such as `fastfcn.EncNet`.
    """

    label: str
    path: Path
    digest: str
    names: str

    def load(self, case: Case, module: nn.Module) -> None:
        """Load them into the module of `case`, if it is theirs.

        Raises:
            SpecError: they do not fit it.
        """
        if case.label == self.label:
            load_checkpoint(module, case.entry, self.path)

    @property
    def facts(self) -> dict[str, str]:
        """What the environment of a run says of them."""
        return {"sha256": self.digest, "names": self.names, "block": self.label}


def weights_for(cases: Iterable[Case], path: Path) -> Weights:
    """The weights in `path` for the one network among the cases, or for their one block.

    Raises:
        SpecError: there is not one, or the file is no checkpoint or does not fit it.
    """
    found = {(case.label, case.channels): case for case in cases}
    networks = {what: case for what, case in found.items() if registry.describe(case.entry).family == "network"}
    chosen = networks or found
    if len(chosen) != 1:
        listed = ", ".join(f"{label} of {channels} channels" for label, channels in chosen)
        raise SpecError(f"--checkpoint '{path}' is for one network, not for {len(chosen)}: {listed}")
    (((label, _), case),) = chosen.items()
    module = registry.create(case.entry, case.channels, case.impl, **dict((*case.options, *case.defaults)))
    names = load_checkpoint(module, case.entry, path)
    return Weights(label, path, hashlib.sha256(path.read_bytes()).hexdigest()[:16], names)
