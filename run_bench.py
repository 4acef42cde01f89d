"""The command line of contextbench: parses, calls one room, prints."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.arguments import (
    TIMEOUT,
    AllowSkew,
    Batch,
    Blocks,
    Cache,
    Channels,
    Checkpoint,
    Cluster,
    Compile,
    CudaGraph,
    Device,
    Dtype,
    Fold,
    Force,
    Format,
    Impl,
    InProcess,
    MemoryFormat,
    Mode,
    Out,
    PerDevice,
    Plugin,
    Print,
    Reference,
    Repeats,
    RestSeconds,
    Seconds,
    Seed,
    Sizes,
    SuiteName,
    Timeout,
)

DONE, BAD_INPUT, HARNESS_FAILED, INTERRUPTED = 0, 2, 3, 130

app = typer.Typer(
    help="What context modules for semantic segmentation cost, measured the same way for all of them.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def bare(context: typer.Context) -> None:
    """Without a command: sweep the default suite on the best device here, then report."""
    if context.invoked_subcommand is None:
        raise typer.Exit(sweep())


@app.command()
def sweep(
    blocks: Blocks = None,
    sizes: Sizes = None,
    channels: Channels = None,
    batch: Batch = None,
    dtype: Dtype = None,
    mode: Mode = None,
    impl: Impl = None,
    memory_format: MemoryFormat = None,
    compile: Compile = None,
    device: Device = "auto",
    reference: Reference = None,
    suite: SuiteName = "default",
    out: Out = None,
    seconds: Seconds = None,
    repeats: Repeats = None,
    seed: Seed = None,
    cache: Cache = None,
    cuda_graph: CudaGraph = False,
    fold: Fold = False,
    rest_seconds: RestSeconds = None,
    plugin: Plugin = None,
    checkpoint: Checkpoint = None,
    timeout: Timeout = TIMEOUT,
    force: Force = False,
    in_process: InProcess = False,
    cluster: Cluster = None,
    per_device: PerDevice = False,
    allow_skew: AllowSkew = False,
    format: Print = Format.table,
) -> int:
    """Measure a suite, with any axis set otherwise, and report. The same --out again measures what is missing."""
    from rich.console import Console

    from bench.cluster import run_on_cluster
    from bench.report import show_folder, write_folder
    from bench.session import Request, run_sweep

    axes = {"blocks": blocks, "sizes": sizes, "channels": channels, "batch": batch, "dtype": dtype, "mode": mode}
    axes |= {"impl": impl, "memory_format": memory_format, "compile": compile}
    settings = {
        "seconds": seconds,
        "repeats": repeats,
        "seed": seed,
        "cache": cache,
        "cuda_graph": int(cuda_graph) or None,
    }
    settings |= {"fold": int(fold) or None, "rest_seconds": rest_seconds}
    files = tuple(plugin or ())
    isolated = not in_process
    request = Request(
        suite,
        axes,
        device,
        reference,
        out,
        settings,
        files,
        checkpoint,
        timeout=timeout,
        isolated=isolated,
        force=force,
        cluster=cluster,
        per_device=per_device,
        allow_skew=allow_skew,
    )
    console = Console(stderr=format is not Format.table)
    outcome = run_on_cluster(request, console) if cluster is not None else run_sweep(request, console)
    write_folder(outcome.folder)
    print(show_folder(outcome.folder, format.value))
    console.print(outcome.text, markup=False, highlight=False, soft_wrap=True)
    if outcome.interrupted:
        return INTERRUPTED
    return HARNESS_FAILED if outcome.failed else DONE


@app.command()
def estimate(
    blocks: Blocks = None,
    sizes: Sizes = None,
    channels: Channels = None,
    batch: Batch = None,
    dtype: Dtype = None,
    mode: Mode = None,
    impl: Impl = None,
    memory_format: MemoryFormat = None,
    device: Annotated[str, typer.Option(help="Whose implementation: cpu or cuda, which need not be here")] = "cpu",
    suite: SuiteName = "default",
    plugin: Plugin = None,
    checkpoint: Checkpoint = None,
    format: Print = Format.table,
) -> int:
    """Print parameters, multiply-adds, traced memory and traffic of any case, without running it."""
    from bench.report import show_estimate
    from bench.session import Request, run_estimate

    axes = {"blocks": blocks, "sizes": sizes, "channels": channels, "batch": batch, "dtype": dtype, "mode": mode}
    axes |= {"impl": impl, "memory_format": memory_format}
    request = Request(suite, axes, device, None, None, {}, tuple(plugin or ()), checkpoint)
    print(show_estimate(run_estimate(request), format.value))
    return DONE


@app.command()
def papers(
    paper: Annotated[
        str | None, typer.Argument(help="ann, gald, galdv2, fastfcn or gcnet; all where not given")
    ] = None,
    table: Annotated[str | None, typer.Option(help="One table: 1, 5(a), IV, abstract; 5 is 5(a) to 5(f)")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure times, rates and device memory here")] = False,
    rows: Annotated[Path | None, typer.Option(help="Read an earlier measurement instead: what its --out named")] = None,
    sizes: Annotated[str | None, typer.Option(help="Map size to measure at, in place of the published ones")] = None,
    device: Device = "auto",
    seconds: Seconds = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the runs of --measure; by default results/")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder to write papers.md, papers.tex, papers.csv to")] = None,
    format: Print = Format.table,
) -> int:
    """Check the papers' published figures: recount what is static, measure the rest, say what holds and why not."""
    from rich.console import Console

    from bench.papers import Inquiry, inquire
    from bench.report import Section, show_claims, write, write_claims

    inquiry = Inquiry(paper, table, measure, rows, sizes, device, seconds, out)
    if output is not None and output.exists() and not output.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(output))
    ledger = inquire(inquiry, Console(stderr=True))
    for run in ledger.runs:
        write(run)
    sections = [Section(**chapter.facts) for chapter in ledger.chapters]
    console = Console()
    print(show_claims(sections, ledger.summary, format.value, *([console.width] if console.is_terminal else [])))
    if output is not None:
        written = write_claims(sections, ledger.summary, output)
        print("\n".join(f"wrote {path}" for path in written), file=sys.stderr)
    if ledger.runs:
        print(f"runs    {inquiry.runs} (read them again with --rows {inquiry.runs})", file=sys.stderr)
    if ledger.interrupted:
        return INTERRUPTED
    return HARNESS_FAILED if ledger.failed else DONE


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of results: a sweep, training runs, a profile, attention")],
    cost: Annotated[Path | None, typer.Option(help="Sweep that prices training runs, for one's own cost/")] = None,
    baseline: Annotated[str, typer.Option(help="Block that training runs are compared with")] = "identity",
    readme: Annotated[Path | None, typer.Option(help="Rebuild the marked tables of this file as well")] = None,
    format: Print = Format.table,
) -> int:
    """Rebuild the pages, tables and plots of a folder of results from its rows."""
    from bench.report import rebuild, show_folder, write_folder

    paths = write_folder(run, cost, baseline)
    print(show_folder(run, format.value, baseline))
    if readme is not None and rebuild(readme):
        paths.append(readme)
    print("\n".join(f"wrote {path}" for path in paths), file=sys.stderr)
    return DONE


@app.command()
def compare(
    old: Annotated[Path | None, typer.Argument(help="Run folder to compare with")] = None,
    new: Annotated[Path | None, typer.Argument(help="Run folder that is judged")] = None,
    across: Annotated[
        bool, typer.Option("--across", help="Compare other methods, environments and devices all the same")
    ] = False,
    base: Annotated[str | None, typer.Option(help="Instead of two runs: this tree against a git revision")] = None,
    suite: Annotated[str | None, typer.Option(help="With --base: suite to start from; quick where not given")] = None,
    blocks: Blocks = None,
    sizes: Sizes = None,
    channels: Channels = None,
    batch: Batch = None,
    dtype: Dtype = None,
    mode: Mode = None,
    impl: Impl = None,
    device: Annotated[str | None, typer.Option(help="With --base: auto, cpu or cuda")] = None,
    plugin: Plugin = None,
    timeout: Annotated[float | None, typer.Option(help="With --base: seconds that one step may take")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="With --base: how long to go on at most; 5 if not given")
    ] = None,
    threshold: Annotated[str, typer.Option(help="Slow-down that is a regression: 0.1 or 0.1,nl=0.2")] = "0.1",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 4 also where runs without --repeats leave times open")
    ] = False,
    format: Print = Format.table,
) -> int:
    """Compare two runs, or this tree with a git revision. Exit code 1: a regression; 4: something is undecided."""
    from rich.console import Console

    from bench.compare import compare_runs, refuse_unused, two_runs
    from bench.duel import MINUTES, compare_with_base
    from bench.report import show_comparison
    from bench.session import Request
    from bench.threshold import parse_thresholds

    thresholds = parse_thresholds(threshold)
    axes = {"blocks": blocks, "sizes": sizes, "channels": channels, "batch": batch, "dtype": dtype, "mode": mode}
    axes |= {"impl": impl}
    if base is None:
        given = {**axes, "suite": suite, "device": device, "plugin": plugin or None, "timeout": timeout}
        given |= {"minutes": minutes}
        refuse_unused(given, "goes with --base alone")
        found = compare_runs(*two_runs(old, new), across, thresholds, strict)
    else:
        refuse_unused(
            {"OLD": old, "NEW": new, "across": across or None, "strict": strict or None}, "does not go with --base"
        )
        limit = TIMEOUT if timeout is None else timeout
        request = Request(suite or "quick", axes, device or "auto", plugins=tuple(plugin or ()), timeout=limit)
        longest = MINUTES if minutes is None else minutes
        found = compare_with_base(request, base, thresholds, longest, Console(stderr=True))
    print(show_comparison(found.rows(), found.summary, found.notes, format.value))
    return found.exit_code


@app.command()
def recommend(
    run: Annotated[Path, typer.Argument(help="Folder of a sweep")],
    sizes: Annotated[str | None, typer.Option(help="Size of the stride-8 feature map: 97x97")] = None,
    channels: Annotated[str | None, typer.Option(help="Channels of the map: 512")] = None,
    batch: Annotated[str | None, typer.Option(help="Images a call: 1")] = None,
    dtype: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16")] = None,
    mode: Annotated[str | None, typer.Option(help="forward or train")] = None,
    impl: Annotated[str | None, typer.Option(help="Implementation; all compete where not given")] = None,
    memory_format: Annotated[str | None, typer.Option(help="channels_first or channels_last")] = None,
    compile: Annotated[str | None, typer.Option("--compile", help="off or on; both compete where not given")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda")] = None,
    family: Annotated[str, typer.Option(help="context, fusion, upsample, backbone or network")] = "context",
    max_ms: Annotated[float | None, typer.Option(help="Milliseconds that a call may take")] = None,
    max_mib: Annotated[float | None, typer.Option(help="MiB that a call may need above weights and inputs")] = None,
    max_params: Annotated[float | None, typer.Option(help="Parameters: 1e6")] = None,
    max_gmacs: Annotated[float | None, typer.Option(help="1e9 multiply-adds of a forward pass")] = None,
    max_mj: Annotated[float | None, typer.Option(help="Millijoules that a call may take, where a card tells")] = None,
    trained: Annotated[Path | None, typer.Option(help="Training runs that tell what a block carries")] = None,
    carries: Annotated[str | None, typer.Option(help="Kinds of context that it must carry: scene,pairwise")] = None,
    baseline: Annotated[str, typer.Option(help="Block of --trained that shows what is carried by none")] = "identity",
    format: Print = Format.table,
) -> int:
    """Choose the fastest block of a sweep that fits a budget. Exit code 4: none surely does."""
    from bench.budget import Budget
    from bench.recommend import recommend as choose
    from bench.report import carried_by, show_recommendation

    limits = {"ms": max_ms, "mib": max_mib, "params": max_params, "gmacs": max_gmacs, "mj": max_mj}
    kinds = tuple(kind.strip() for kind in (carries or "").split(",") if kind.strip())
    budget = Budget({name: most for name, most in limits.items() if most is not None}, kinds)
    place = {"size": sizes, "channels": channels, "batch": batch, "dtype": dtype, "mode": mode, "impl": impl}
    place |= {"memory_format": memory_format, "compile": compile, "device": device}
    known = None if trained is None else carried_by(trained, baseline)
    found = choose(run, place, budget, family, known)
    print(show_recommendation(found.rows(), found.summary, found.notes, format.value))
    return found.exit_code


@app.command()
def train(
    blocks: Annotated[str | None, typer.Option(help="Blocks, compositions, networks: nl,gc+ldv1,mlp")] = None,
    seeds: Annotated[str | None, typer.Option(help="How many (5 is seeds 0 to 4), or a list: 0,3 or 3,")] = None,
    recipe: Annotated[str | None, typer.Option(help="probe, default, a paper's such as ann-cityscapes, a file")] = None,
    set: Annotated[list[str] | None, typer.Option("--set", help="Recipe setting, such as iterations=600")] = None,
    dataset: Annotated[
        str, typer.Option(help="scenes, cityscapes, ade20k, pascal-context, coco-stuff, camvid")
    ] = "scenes",
    data_root: Annotated[Path | None, typer.Option(help="Folder of a data set other than scenes")] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Channels of the map; 48, or 2048 for networks")] = None,
    impl: Annotated[
        str, typer.Option(help="reference or fused; blocks that lack it are trained as published")
    ] = "reference",
    suite: Annotated[str, typer.Option(help="Suite of runs: default, ann-6-7, gald-1, ... or a file")] = "default",
    baseline: Annotated[str | None, typer.Option(help="Block that the others are compared with")] = None,
    device: Device = "auto",
    out: Out = None,
    jobs: Annotated[int, typer.Option(min=0, help="Runs at a time; 0: one a processor, one on a card")] = 0,
    loaders: Annotated[int, typer.Option(min=0, help="Processes that read data, for each run")] = 0,
    plugin: Plugin = None,
    costs: Annotated[bool, typer.Option(help="Measure what the blocks cost at the size they were trained at")] = True,
    cluster: Cluster = None,
    allow_skew: AllowSkew = False,
    preview: Annotated[Path | None, typer.Option(help="Write a picture of the scenes to this .png, and end")] = None,
    format: Print = Format.table,
) -> int:
    """Train blocks from several seeds and say which kinds of context they carry. The same --out goes on."""
    from rich.console import Console

    from bench.report import show_accuracy, write_accuracy
    from bench.training.plan import parse_settings
    from bench.training.preview import draw
    from bench.training.session import TrainRequest, run_training

    settings = parse_settings(set or [])
    if preview is not None:
        print(f"wrote {draw(preview, dataset, recipe, settings)}")
        return DONE
    place = (
        dataset,
        data_root,
        channels,
        impl,
        device,
        out,
        jobs,
        loaders,
        tuple(plugin or ()),
        costs,
        cluster,
        allow_skew,
    )
    request = TrainRequest(suite, blocks, seeds, recipe, baseline, settings, *place)
    console = Console(stderr=format is not Format.table)
    outcome = run_training(request, console)
    if not outcome.writes:
        return DONE
    if outcome.trained:
        write_accuracy(outcome.folder, None, outcome.baseline)
        print(show_accuracy(outcome.folder, format.value, outcome.baseline))
    console.print(outcome.text, markup=False, highlight=False, soft_wrap=True)
    if outcome.interrupted:
        return INTERRUPTED
    return HARNESS_FAILED if outcome.failed else DONE


@app.command()
def profile(
    blocks: Annotated[str, typer.Argument(help="Blocks with options: nl,apnb,gc:ratio=4")],
    size: Annotated[str, typer.Option("--size", "--sizes", help="Sizes of the stride-8 feature map")] = "64x64",
    channels: Annotated[str, typer.Option(help="Channels of the map")] = "512",
    batch: Batch = None,
    dtype: Dtype = None,
    mode: Mode = None,
    impl: Impl = None,
    memory_format: MemoryFormat = None,
    device: Device = "auto",
    trace: Annotated[
        Path | None, typer.Option(help="Write the calls, a process a case, to this .json for Perfetto")
    ] = None,
    memory: Annotated[Path | None, typer.Option(help="Write a timeline of traced live memory to this .html")] = None,
    out: Out = None,
    plugin: Plugin = None,
    format: Print = Format.table,
) -> int:
    """Show where time, memory and multiply-adds of blocks go, by class of operator."""
    from rich.console import Console

    from bench.profiling import ProfileRequest, run_profile
    from bench.report import show_profile, write_profile

    axes = {"blocks": blocks, "sizes": size, "channels": channels, "batch": batch, "dtype": dtype, "mode": mode}
    axes |= {"impl": impl, "memory_format": memory_format}
    console = Console(stderr=True)
    outcome = run_profile(ProfileRequest(axes, device, out, tuple(plugin or ()), trace, memory), console)
    write_profile(outcome.folder)
    print(show_profile(outcome.folder, format.value))
    console.print(outcome.text, markup=False, highlight=False, soft_wrap=True)
    return HARNESS_FAILED if outcome.failed else DONE


@app.command()
def attention(
    blocks: Annotated[
        str, typer.Argument(help="Blocks, compositions or one network, to look into")
    ] = "nl:mode=gaussian,nl,nl:mode=dot_product,nl:mode=concat",
    recipe: Annotated[
        str, typer.Option(help="How blocks without weights are trained: probe, default, a file")
    ] = "default",
    seed: Annotated[int, typer.Option(min=0, help="Seed of that training")] = 0,
    checkpoint: Checkpoint = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Channels of the map; 48, or 2048 for networks")] = None,
    images: Annotated[list[Path] | None, typer.Option(help="Picture to look at in place of the scenes'")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many scenes the statistics are taken over")] = 64,
    queries: Annotated[str | None, typer.Option(help="Query points of the maps, row x column: 4x4,8x12")] = None,
    device: Device = "auto",
    out: Out = None,
    plugin: Plugin = None,
    format: Print = Format.table,
) -> int:
    """Measure how far attention depends on the position that asks (GCNet Tables 1 to 4), and draw its maps."""
    from rich.console import Console

    from bench.attention import AttentionRequest, run_attention
    from bench.report import show_attention, write_attention

    place = (channels, tuple(images or ()), count, queries, device, out, tuple(plugin or ()))
    console = Console(stderr=True)
    outcome = run_attention(AttentionRequest(blocks, recipe, seed, checkpoint, *place), console)
    if outcome.measured:
        write_attention(outcome.folder)
        print(show_attention(outcome.folder, format.value))
    console.print(outcome.text, markup=False, highlight=False, soft_wrap=True)
    if outcome.interrupted:
        return INTERRUPTED
    return HARNESS_FAILED if outcome.failed else DONE


@app.command("list")
def list_entries(
    entry: Annotated[str | None, typer.Argument(help="One block, to see its options")] = None,
    plugin: Plugin = None,
    format: Print = Format.table,
) -> int:
    """List the blocks, or describe one with its paper, equation and options."""
    from bench.catalogue import describe_entry, list_all
    from bench.plugin import load_plugins
    from bench.report import show_list

    load_plugins(plugin or ())
    if entry is None:
        print(show_list(list_all(), format.value))
        return DONE
    facts, options = describe_entry(entry)
    if format is Format.table:
        print("\n".join(f"{name:9} {value}" for name, value in facts.items()) + "\n")
        print(show_list(options, format.value))
        return DONE
    print(show_list([{**facts, **option} for option in options] or [facts], format.value))
    return DONE


@app.command()
def selftest(
    device: Device = "auto",
    out: Annotated[Path, typer.Option(help="Folder that results would go to")] = Path("results"),
    format: Print = Format.table,
) -> int:
    """Check that clocks, counters and memory peaks read true here, and how quiet the machine is: about 10 seconds."""
    from dataclasses import asdict

    from rich.console import Console

    from bench.environment import pick_device
    from bench.report import show_selftest
    from bench.selftest import reads_false
    from bench.selftest import selftest as check

    place = pick_device(device)
    with Console(stderr=True).status("checking") as status:
        lines = check(place, out, told=lambda name: status.update(f"checking: {name}"))
    print(show_selftest([asdict(line) for line in lines], format.value))
    return HARNESS_FAILED if reads_false(lines) else DONE


def explain(error: Exception) -> tuple[str, int]:
    """What went wrong in one line, and the exit code: 2 for what the user gave, 3 for what this program did."""
    if hasattr(error, "exit_code"):
        return error.format_message() if hasattr(error, "format_message") else str(error), error.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        return f"'{error.filename}': {error.strerror}", BAD_INPUT
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"cannot write: {error.strerror}; rows written so far are kept", BAD_INPUT
    hint = "set CONTEXTBENCH_TRACEBACK=1 to see where"
    return f"a fault in contextbench: {type(error).__name__}: {error} ({hint})", HARNESS_FAILED


def main() -> None:
    """Run the command line; bad input is one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show ± shall still show the rest
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except Exception as error:
        if "CONTEXTBENCH_TRACEBACK" in os.environ:
            raise
        message, code = explain(error)
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else DONE)


if __name__ == "__main__":
    main()
