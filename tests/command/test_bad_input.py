"""Bad input gets one clear line and exit code 2: what was given, what is allowed, the nearest valid name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

Command = Callable[..., tuple[int, str, str]]

AXES = [
    (["--blocks", "nll"], "unknown block 'nll'; did you mean 'nl'? allowed: identity, nl,"),
    (["--blocks", "nl,,gc"], "empty block in 'nl,,gc'"),
    (["--blocks", "ratio=4"], "continues no block"),
    (["--blocks", "gc:"], "is not a block; write name or name:option=value"),
    (["--blocks", "gc:ratio"], "'gc:ratio' is not a block"),
    (["--blocks", "gc:ratoi=4"], "unknown option 'ratoi' of 'gc'; did you mean 'ratio'?"),
    (["--blocks", "gc:ratio=four"], "option 'ratio' of 'gc' cannot be 'four'; allowed: integer"),
    (["--blocks", "gc:pooling=max"], "option 'pooling' of 'gc' cannot be 'max'; allowed: att|avg"),
    (
        ["--blocks", "nl:mode=gausian"],
        "cannot be 'gausian'; did you mean 'gaussian'? allowed: embedded_gaussian|gaussian|",
    ),
    (["--blocks", "gc:ratio=4,ratio=8"], "option 'ratio' stands twice"),
    (["--blocks", "apnb:sizes=1-3"], "cannot be '1-3'; allowed: integers joined by +"),
    (["--sizes", "96x"], "size '96x' is not of the form HEIGHTxWIDTH"),
    (["--sizes", "0x96"], "size '0x96' is not of the form"),
    (["--sizes", "2000000x5"], "size '2000000x5' is not of the form HEIGHTxWIDTH with integers from 1 to 1048576"),
    (["--sizes", "96x96x96"], "size '96x96x96' is not of the form"),
    (["--channels", "-512"], "channels '-512' is not a positive integer"),
    (["--channels", "many"], "channels 'many' is not a positive integer"),
    (["--batch", "0"], "batch '0' is not a positive integer"),
    (["--dtype", "fp31"], "unknown dtype 'fp31'; did you mean 'fp32'? allowed: fp32, bf16, fp16"),
    (["--mode", "backward"], "unknown mode 'backward'"),
    (["--memory-format", "nhwc"], "unknown memory_format 'nhwc'"),
    (["--impl", "fusd"], "unknown impl 'fusd'"),
    (["--blocks", "cgnl", "--channels", "100"], "cannot build 'cgnl': "),
    (["--blocks", "gc", "--channels", "100"], "cannot build 'gc': "),
    (["--blocks", "jpu", "--channels", "30"], "cannot build 'jpu': "),
    (["--blocks", "nl:inner=100000000000000000000"], "cannot build 'nl:inner=100000000000000000000': "),
    (["--channels", "99999999999999999999"], "is not a positive integer up to 1048576"),
    (["--blocks", "dilated", "--channels", "100"], "cannot build 'dilated': "),
    (["--suite", "quik"], "unknown suite 'quik'; did you mean 'quick'?"),
    (["--suite", "nowhere.toml"], "cannot read suite 'nowhere.toml'"),
    (["--plugin", "nowhere.py"], "cannot load plugin 'nowhere.py': there is no such file"),
    (["--format", "yaml"], "'yaml'"),
    (["--blocsk", "nl"], "--blocks"),
]


def refused(result: tuple[int, str, str], expected: str) -> None:
    code, out, err = result
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert expected in err


@pytest.mark.parametrize("verb", ["sweep", "estimate"])
@pytest.mark.parametrize(("arguments", "expected"), AXES)
def test_a_wrong_axis_is_refused(
    command: Command, tmp_path: Path, verb: str, arguments: list[str], expected: str
) -> None:
    out = ["--out", tmp_path / "run"] if verb == "sweep" else []
    refused(command(verb, *out, *arguments), expected)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--device", "tpu"], "unknown device 'tpu'; did you mean 'cpu'? allowed: auto, cpu, cuda"),
        (["--reference", "gc,nl"], "the reference must be one block"),
        (["--reference", "ln"], "unknown block 'ln'; did you mean 'nl'?"),
        (["--seconds", "-1"], "method setting 'seconds' must be a number of at least 0"),
        (["--seed", "x"], "'--seed'"),
        (["--seed", "9" * 23], "method setting 'seed' must be a whole number from 0 to 9223372036854775807"),
        (["--timeout", "0"], "--timeout must be a number of seconds above 0, not 0"),
        (["--timeout", "nan"], "--timeout must be a number of seconds above 0, not nan"),
        (["--seconds", "nan"], "method setting 'seconds' must be a number of at least 0, not nan"),
        (["--reference", "cgnl:groups=7"], "cannot build 'cgnl:groups=7': "),
    ],
)
def test_a_wrong_setting_of_a_sweep_is_refused(
    command: Command, mini: Path, arguments: list[str], expected: str
) -> None:
    refused(command("sweep", "--suite", mini, "--out", mini.parent / "run", *arguments), expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_here_is_refused(command: Command) -> None:
    refused(command("sweep", "--device", "cuda"), "PyTorch sees no CUDA device here")


SUITES = {
    "name =": "is not valid TOML",
    "nmae = 'x'": "unknown key 'nmae'; did you mean 'name'?",
    "name = 'x'": "has no [[grid]]",
    "grid = 1": "write grid as [[grid]]",
    "[[grid]]\nsizes = '8x8'": "grid 1 names no blocks",
    "[[grid]]\nblocks = 'nl'\nsise = '8x8'": "grid 1: unknown key 'sise'; did you mean 'sizes'?",
    "[[grid]]\nblocks = 'nl'\nsizes = '8by8'": "grid 1: size '8by8' is not of the form",
    "[[grid]]\nblocks = true": "must be text or a list",
    "[[grid]]\nblocks = 'nl'\n[method]\nsecnds = 1": "unknown method setting 'secnds'",
    "[[grid]]\nblocks = 'nl'\n[[skip]]\ngmacs_above = 1": "skip 1 gives no reason",
    "[[grid]]\nblocks = 'nl'\n[[skip]]\nreason = 'x'": "would skip everything",
    "[[grid]]\nblocks = 'nl'\n[[skip]]\nreason = 'x'\ngmacs_above = 'y'": "gmacs_above must be a number",
    "[[grid]]\nblocks = 'nl'\n[[skip]]\nreason = 'x'\nblocks = 'nll, snl'": "skip 1: unknown blocks 'nll'",
}


@pytest.mark.parametrize("content", SUITES)
def test_a_broken_suite_file_is_refused(command: Command, tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(content)
    refused(command("sweep", "--suite", path, "--out", tmp_path / "run"), SUITES[content])


def plugin(name: str = "mine", family: str = "context", arguments: str = "self, channels") -> str:
    return f"""
from torch import nn
from modules.registry import register

@register("{name}", family="{family}")
class Mine(nn.Module):
    def __init__({arguments}): pass
"""


PLUGINS = {
    "def broken(:": "SyntaxError",
    "import nothing_of_that_name": "ModuleNotFoundError",
    "x = 1": "registers no block",
    plugin(name="nl"): "name is taken",
    plugin(name="my block"): "a name has letters, digits and '_' only",
    plugin(family="contxt"): "unknown family 'contxt'; did you mean 'context'?",
    plugin(arguments="self"): "must take 'channels'",
    plugin(arguments="self, channels, k"): "option 'k'",
    plugin(arguments="self, channels, k: list = []"): "a type that no text can spell",
}


@pytest.mark.parametrize("content", PLUGINS)
def test_a_broken_plugin_is_refused(command: Command, tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(content)
    refused(command("list", "--plugin", path), PLUGINS[content])


def test_what_a_plugin_exits_with_is_not_the_exit_code(command: Command, tmp_path: Path) -> None:
    (tmp_path / "exits.py").write_text("raise SystemExit(0)")
    refused(command("list", "--plugin", tmp_path / "exits.py"), "SystemExit")


def test_a_run_folder_that_cannot_take_a_report_is_refused(command: Command, mini: Path) -> None:
    run = mini.parent / "run"
    assert command("sweep", "--suite", mini, "--out", run, "--device", "cpu", "--blocks", "snl")[0] == 0
    (run / "report.md").unlink()
    (run / "report.md").mkdir()
    refused(command("report", run), "report.md'")


def test_a_fault_of_the_program_is_one_line_and_exit_code_3(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.catalogue.list_all", lambda: 1 / 0)
    code, _, err = command("list")
    assert code == 3
    assert err.startswith("error: a fault in contextbench: ZeroDivisionError")
    assert err.count("\n") == 1


def test_an_output_that_cannot_be_written_is_refused(command: Command, mini: Path) -> None:
    (mini.parent / "file").write_text("")
    refused(command("sweep", "--suite", mini, "--out", mini.parent / "file" / "run"), "choose another --out")


@pytest.mark.parametrize(
    ("run", "why"), [("nowhere", "is no folder"), ("empty", "holds no results; looked for devices.json, rows.jsonl")]
)
def test_a_report_of_nothing_is_refused(command: Command, tmp_path: Path, run: str, why: str) -> None:
    (tmp_path / "empty").mkdir()
    refused(command("report", tmp_path / run), why)


def test_a_broken_row_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("nonsense\n")
    refused(command("report", tmp_path), "line 1 is not a row")


def test_an_unknown_command_or_block_is_refused(command: Command) -> None:
    refused(command("swep"), "'sweep'")
    refused(command("list", "ng"), "unknown block 'ng'")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--cache", "hot"], "method setting 'cache' must be one of warm, cold, not 'hot'"),
        (["--cuda-graph", "--device", "cpu"], "CUDA graphs need a CUDA device, not 'cpu'"),
    ],
)
def test_a_method_that_cannot_be_is_refused(
    command: Command, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    code, out, err = command("sweep", "--suite", "quick", "--out", tmp_path / "run", *arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert not (tmp_path / "run").exists()


def test_cold_caches_are_refused_where_nobody_says_how_large_they_are(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.session.cache_bytes", lambda device: None)
    code, _, err = command("sweep", "--suite", "quick", "--cache", "cold", "--device", "cpu", "--out", tmp_path / "run")
    assert code == 2
    assert "the size of the caches of this cpu cannot be read" in err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["old", "new", "--blocks", "nl"],
            "--blocks goes with --base alone: `compare OLD NEW` or `compare --base REV`",
        ),
        (["old", "new", "--suite", "quick"], "--suite goes with --base alone"),
        (["old", "new", "--blocks", ""], "--blocks goes with --base alone"),
        (["old", "new", "--timeout", "5"], "--timeout goes with --base alone"),
        (["old", "new", "--minutes", "5"], "--minutes goes with --base alone"),
        (["--base", "main", "--minutes", "0"], "--minutes must be a number above 0, such as 5, not 0"),
        (["--base", "main", "--minutes", "nan"], "--minutes must be a number above 0, such as 5, not nan"),
        (["--base", "main", "--minutes", "soon"], "Invalid value for '--minutes'"),
        (["old", "--base", "main"], "OLD does not go with --base"),
        (["--across", "--base", "main"], "--across does not go with --base"),
    ],
)
def test_what_a_comparison_would_not_use_is_refused(command: Command, words: list[str], expected: str) -> None:
    refused(command("compare", *words), expected)


@pytest.mark.parametrize("name", ["../../away", "a/b", ".", ""])
def test_a_suite_s_name_stays_that_of_a_folder(command: Command, tmp_path: Path, name: str) -> None:
    suite = tmp_path / "own.toml"
    suite.write_text(f'name = "{name}"\n[[grid]]\nblocks = "snl"\n')
    refused(command("sweep", "--suite", suite), f"'{name}' cannot be the name of a folder")


def test_an_estimate_is_for_a_device_that_need_not_be_here(command: Command) -> None:
    words = ("estimate", "--blocks", "nl", "--sizes", "64x64", "--channels", "512", "--impl", "fused")
    code, out, _ = command(*words, "--device", "cuda")
    assert code == 0
    assert out.split()[6:8] == ["impl", "device"]
    peaks = [json.loads(command(*words, "--device", name, "--format", "json")[1])[0] for name in ("cpu", "cuda")]
    assert peaks[0]["traced_peak_bytes"] != peaks[1]["traced_peak_bytes"]
    refused(command(*words, "--device", "auto"), "unknown device 'auto'; allowed: cpu, cuda")
