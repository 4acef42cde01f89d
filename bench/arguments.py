"""Arguments that several commands share, as the command line reads them. Imports no other room."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Format(str, Enum):
    """How something is printed."""

    table = "table"
    json = "json"
    csv = "csv"
    latex = "latex"
    markdown = "markdown"


TIMEOUT = 300.0
"""Seconds that one step of a case may take where nothing else is said."""

Blocks = Annotated[str | None, typer.Option(help="Blocks with options: nl,apnb,gc:ratio=4,pooling=avg")]
Sizes = Annotated[str | None, typer.Option(help="Sizes of the stride-8 feature map: 96x96,128x256")]
Channels = Annotated[str | None, typer.Option(help="Channels of the map: 512,2048")]
Batch = Annotated[str | None, typer.Option(help="Images a call: 1,8")]
Dtype = Annotated[str | None, typer.Option(help="fp32,bf16,fp16")]
Mode = Annotated[str | None, typer.Option(help="forward,train (train = forward and backward)")]
Impl = Annotated[str | None, typer.Option(help="Implementations: reference,fused")]
MemoryFormat = Annotated[str | None, typer.Option(help="channels_first,channels_last")]
Compile = Annotated[str | None, typer.Option("--compile", help="torch.compile: off, on, or off,on")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
Reference = Annotated[str | None, typer.Option(help="Block that ratios are taken to, or none")]
SuiteName = Annotated[str, typer.Option(help="Suite to start from: quick, default, networks, full, or a .toml file")]
Out = Annotated[Path | None, typer.Option(help="Run folder; by default one under results/, named after the suite")]
Seconds = Annotated[float | None, typer.Option(help="Time budget of a group, per block")]
Repeats = Annotated[int | None, typer.Option(help="Fresh processes that measure each group; 3 or more bound its times")]
Seed = Annotated[int | None, typer.Option(help="Seed of weights, inputs and the order within rounds")]
Cache = Annotated[str | None, typer.Option(help="Caches ahead of each sample: warm, or cold (flushed, untimed)")]
CudaGraph = Annotated[bool, typer.Option("--cuda-graph", help="Time each call as a replayed CUDA graph")]
Fold = Annotated[bool, typer.Option("--fold", help="Fold batch norms into convolutions, as for inference")]
RestSeconds = Annotated[
    float | None, typer.Option(help="Longest rest of a card ahead of a sample, once its power or heat held its clocks")
]
Plugin = Annotated[list[str] | None, typer.Option(help="Python file that registers blocks of your own")]
Checkpoint = Annotated[Path | None, typer.Option(help="Weights of the one network asked for: ours or its authors'")]
Timeout = Annotated[float, typer.Option(help="Seconds that one step of a case (build, warm-up, a sample) may take")]
Force = Annotated[bool, typer.Option("--force", help="Measure also what the trace says cannot fit into memory")]
InProcess = Annotated[bool, typer.Option("--in-process", help="Measure without a worker process, for debuggers")]
Cluster = Annotated[str | None, typer.Option(help="Ray cluster to run on: auto, host:port or ray://host:port")]
PerDevice = Annotated[bool, typer.Option("--per-device", help="With --cluster: measure on each kind of device")]
AllowSkew = Annotated[bool, typer.Option("--allow-skew", help="With --cluster: also on nodes with other versions")]
Print = Annotated[Format, typer.Option("--format", help="How to print")]
