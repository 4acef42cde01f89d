"""The report of attention: tables like those of GCNet, figures and `attention.md`, rebuilt from `attention.jsonl`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.attention.record import ATTENTION, QUANTITIES, SPREADS, read_attention
from bench.report.accuracy_runs import KINDS
from bench.report.digits import MISSING, number
from bench.report.formats import FORMATS, Grid, render
from bench.report.machine import read_machine
from bench.report.tables import Table

if TYPE_CHECKING:
    from bench.report.plots import Plot

REPORT = "attention.md"
WIDTH, LABEL = 100, 19
PART = ("recipe", "settings", "seed", "channels", "device", "data", "images", "pictures", "env")
INDEPENDENT = "\N{DAGGER}"
TITLES = {"product": "prod", "attention": "att"}
SPREAD_TITLES = {
    "attention_entropy": "entropy\nof att",
    "affinity_entropy": "entropy of\naffinity",
    "mask_mean": "mask",
    "mask_sd_positions": "sd over\npositions",
    "mask_sd_channels": "sd over\nchannels",
}
READING = """\
- A figure is the **average cosine distance** between the vectors of all positions, 1/N² Σ (1 - cos) / 2, mean over
  the images, ± their standard deviation. **0**: the same whoever asks. **0.5**: at right angles on average. As in
  GCNet's formula a position's distance to itself counts too, so N vectors at right angles give (1 - 1/N) / 2.
- **input**: what the block is given. **key**, **query**: what it makes of that. **prod**: their products, a row for
  each position that asks. **att**: the same after normalisation, the attention maps. **output**: what joins the input.
- **†**: one map serves all positions by construction. **\N{EN DASH}**: not there; the notes say why. Vectors that are
  zero have no direction and are left out.
- **entropy**: of attention (over all that is asked) or of affinity (over a neighbourhood), as a share of that of
  uniform weights: 1 is uniform, 0 is all on one. **mask**: mean of LDv1's mask in [0, 1], and how it differs over
  positions and over channels.
- **scene**, **pairwise**, **regional**: resolving accuracy of the whole network on the same images, 50 is chance. A
  block that has not learned the pairwise kind tells nothing about the attention that this kind needs."""

Record = Mapping[str, Any]


def write_attention(folder: Path) -> list[Path]:
    """Rebuild `attention.md`, `tables/` and `plots/` of a folder of attention statistics; the paths written, the page
    first. Plots that an earlier call drew and this one did not are removed.

    Raises:
        RunError: `attention.jsonl` cannot be read.
    """
    records = read_attention(folder / ATTENTION)
    from bench.report import attention_maps as drawing

    plots = drawing.write(records, folder, folder / "plots")
    written = [path for plot in plots for path in (plot.svg, plot.png)]
    for path in sorted((folder / "plots").glob(f"{drawing.STEM}-*")):
        if path.suffix in (".svg", ".png") and path not in written:
            path.unlink()
    texts = {"md": _tables(records, "markdown"), "tex": _tables(records, "latex"), "csv": show_attention(folder, "csv")}
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for suffix, text in texts.items():
        path = folder / "tables" / f"attention.{suffix}"
        path.write_text(text + "\n", encoding="utf-8", newline="\n")
        written.append(path)
    page = folder / REPORT
    page.write_text(_page(folder, records, plots), encoding="utf-8", newline="\n")
    return [page, *written]


def show_attention(folder: Path, format: str = "table") -> str:
    """The tables of a folder of attention statistics in one of `FORMATS`; json and csv hold one record a block.

    `table` fits into 100 columns.

    Raises:
        RunError: `attention.jsonl` cannot be read.
        ValueError: a format that is not in `FORMATS`.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: one of {', '.join(FORMATS)}")
    records = read_attention(folder / ATTENTION)
    if format in ("json", "csv"):
        return render([_flat(record) for record in records], format)
    return _tables(records, format)


def parts(records: Sequence[Record]) -> list[list[Record]]:
    """Records that may stand in one table: of one recipe, seed, width, device, environment and set of pictures."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(repr([record[name] for name in PART]), []).append(record)
    return list(found.values())


def words(record: Record) -> str:
    """`64 scenes, recipe probe, seed 0`: what the records of a part share."""
    data = f"{record['images']} {record['data']}" if record["images"] != 1 else f"1 of the {record['data']}"
    source = "weights of a file" if record["recipe"] is None else f"recipe {record['recipe']}"
    return ", ".join([data, source, *([f"seed {record['seed']}"] if record["seed"] is not None else [])])


def distances(part: Sequence[Record], sd: bool) -> Table:
    """Average cosine distances as in GCNet's Tables 1 to 4: a row for each block and place."""
    header = ("block", "place", "map", *(TITLES.get(name, name) for name in QUANTITIES))
    rows = []
    for record in part:
        cells = [_distance(record, name, sd) for name in QUANTITIES]
        rows.append((_wrapped(record["label"], sd), _wrapped(record["place"] or MISSING, sd), _size(record), *cells))
    title = f"Average cosine distance between positions: {words(part[0])}"
    return Table(title, Grid(header, tuple(rows), "lll" + "r" * len(QUANTITIES)), tuple(_notes(part)))


def spreads(part: Sequence[Record], sd: bool) -> Table | None:
    """How spread out weights and masks are; null where no block has either."""
    known = [name for name in SPREADS if any((record["spreads"] or {}).get(name) is not None for record in part)]
    rows = []
    for record in part:
        figures = record["spreads"] or {}
        if any(figures.get(name) is not None for name in known):
            cells = [
                _figure(figures.get(name), (record["spreads_sd"] or {}).get(name) if sd else None) for name in known
            ]
            rows.append((_wrapped(record["label"], sd), _wrapped(record["place"], sd), *cells))
    if not rows:
        return None
    header = ("block", "place", *(SPREAD_TITLES[name] for name in known))
    return Table("How spread out weights and masks are", Grid(header, tuple(rows), "ll" + "r" * len(known)))


def reached(part: Sequence[Record], sd: bool) -> Table | None:
    """How well each network solves the task on the same images; null where that is not known."""
    found = {record["label"]: record for record in part if record["resolving"]}
    if not found:
        return None
    known = next(iter(found.values()))["resolving"]
    kinds = [kind for kind in KINDS if kind in known]
    rows = []
    for label, record in found.items():
        cells = [_percent(record["miou"]), *(_percent(record["resolving"].get(kind)) for kind in kinds)]
        rows.append((_wrapped(label, sd), *cells))
    title = "What the networks have learned, in percent, on the same scenes"
    return Table(title, Grid(("block", "mIoU", *kinds), tuple(rows), "lr" + "r" * len(kinds)))


def _tables(records: Sequence[Record], format: str) -> str:
    blocks = []
    for part in parts(records):
        sd = format != "table"
        for table in (distances(part, sd), spreads(part, sd), reached(part, sd)):
            if table is not None:
                blocks.append(_text(table, format))
    return "\n\n".join(blocks)


def _text(table: Table, format: str) -> str:
    if format == "latex":
        return table.latex()
    if format == "markdown":
        return f"### {table.title}\n\n{table.markdown()}"
    notes = [textwrap.fill(note, WIDTH) for note in table.notes]
    lines = [textwrap.fill(table.title, WIDTH), "", table.grid.plain(), *([""] if notes else []), *notes]
    return "\n".join(line.rstrip() for line in "\n".join(lines).split("\n"))


def _page(folder: Path, records: Sequence[Record], plots: Sequence[Plot]) -> str:
    blocks = [f"# Attention: {folder.resolve().name}"]
    if not records:
        return "\n\n".join([*blocks, "Nothing has been measured yet."]) + "\n"
    line = read_machine(folder).line()
    if line and len({record["env"] for record in records}) == 1:
        blocks.append(f"Measured on {line}.")
    blocks += ["## How to read the tables", READING, "## Tables", _tables(records, "markdown")]
    if plots:
        blocks.append("## Maps")
    for plot in plots:
        blocks += [f"### {plot.setting}", f"![{plot.title}]({plot.svg.relative_to(folder).as_posix()})", plot.caption]
    return "\n\n".join(blocks) + "\n"


def _notes(part: Sequence[Record]) -> list[str]:
    """Why figures are missing, the same reasons together, and what else a reader must know."""
    told: dict[str, list[str]] = {}
    for record in part:
        name = _name(record)
        if record["status"] != "ok":
            told.setdefault(f"{record['status']}: {record['reason']}", []).append(name)
        if record["note"]:
            told.setdefault(record["note"], []).append(name)
        reasons: dict[str, list[str]] = {}
        for quantity, reason in (record["missing"] or {}).items():
            reasons.setdefault(reason, []).append(TITLES.get(quantity, quantity))
        for reason, quantities in reasons.items():
            told.setdefault(f"no {', '.join(quantities)}: {reason}", []).append(name)
        zeros = {TITLES.get(k, k): v for k, v in (record["zeros"] or {}).items() if v and v < 1}
        if zeros:
            shares = ", ".join(f"{quantity} {100 * share:.1f} %" for quantity, share in zeros.items())
            told.setdefault(f"left out, as they are zero: {shares}", []).append(name)
    notes = [f"{'; '.join(dict.fromkeys(names))}: {reason}." for reason, names in told.items()]
    if any(record["independent"] for record in part):
        notes.insert(0, f"{INDEPENDENT} one map serves all positions by construction.")
    return notes


def _name(record: Record) -> str:
    return str(record["label"]) if record["place"] in (None, "block") else f"{record['label']} at {record['place']}"


def _distance(record: Record, name: str, sd: bool) -> str:
    figure = (record["distances"] or {}).get(name)
    if name == "attention" and record["independent"] and figure is not None:
        return f"{figure:.0f} {INDEPENDENT}"
    return _figure(figure, (record["sd"] or {}).get(name) if sd else None)


def _figure(value: Any, sd: Any) -> str:
    """Three decimals, as GCNet prints them; what is not 0 never reads 0."""
    figure, arm = number(value), number(sd)
    if figure is None:
        return MISSING
    if 0 < figure < 0.0005:
        return "<0.001"
    return f"{figure:.3f}" + (f" ± {arm:.3f}" if arm is not None else "")


def _percent(value: Any) -> str:
    figure = number(value)
    return MISSING if figure is None else f"{figure:.1f}"


def _size(record: Record) -> str:
    return MISSING if record["map_height"] is None else f"{record['map_height']}x{record['map_width']}"


def _wrapped(text: str, whole: bool) -> str:
    return text if whole else "\n".join(textwrap.wrap(text, LABEL, break_on_hyphens=False))


def _flat(record: Record) -> dict[str, Any]:
    """A record without what a table cannot hold: nested figures have columns of their own."""
    flat: dict[str, Any] = {}
    for name, held in record.items():
        if isinstance(held, Mapping):
            flat |= {f"{name}.{inner}": figure for inner, figure in held.items()}
        else:
            flat[name] = held
    return flat
