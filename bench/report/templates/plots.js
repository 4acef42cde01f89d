/* Plots: drawn when they come into view, from the rows of the table, as readers choose. */

const SETTING = ["kind", "device", "mode", "dtype", "batch", "impl", "memory_format", "compiled"];

class Plots {
  constructor(section, data, table) {
    this.section = section;
    this.data = data;
    this.table = table;
    this.hidden = new Set();
    this.chosen = {};
    this.column = Object.fromEntries((table?.columns ?? []).map((column) => [column.name, column]));
    this.figures = Object.fromEntries([...section.querySelectorAll("figure")].map((one) => [one.dataset.plot, one]));
    section.addEventListener("change", (event) => {
      this.chosen[event.target.name] = event.target.value;
      this.draw(event.target.name);
    });
    section.addEventListener("submit", (event) => event.preventDefault());
  }

  /**
   * Offers what rows differ in, one choice after the other, and keeps the rows that fit; at first the one with
   * most to draw is chosen, the first of equals or, where `last` says so, the last.
   */
  choose(form, wanted, rows) {
    const labels = [];
    let kept = rows;
    for (const { name, title, word, last } of wanted) {
      const counts = new Map();
      for (const row of kept) counts.set(word(row), (counts.get(word(row)) ?? 0) + (this.drawable(row) ? 1 : 0));
      const words = [...counts.keys()];
      if (!words.includes(this.chosen[name])) {
        const fuller = (one, best) => counts.get(one) > counts.get(best) || (last && counts.get(one) === counts.get(best));
        this.chosen[name] = words.reduce((best, one) => (fuller(one, best) ? one : best));
      }
      kept = kept.filter((row) => word(row) === this.chosen[name]);
      if (words.length < 2) continue;
      const { select, label } = selection(title, words);
      select.name = name;
      select.value = this.chosen[name];
      labels.push(label);
    }
    form.replaceChildren(...labels);
    return kept;
  }

  drawable(row) {
    return typeof row !== "number" || (this.value("latency_ms", row) > 0 && this.value("peak_mib", row) > 0);
  }

  value(name, row) {
    return this.column[name]?.values[row] ?? null;
  }

  text(name, row) {
    return this.column[name] ? shown(this.column[name], row) : "";
  }

  /** Draws everything; the select that was used, if any, has the focus again. */
  draw(used) {
    if (this.data.kind === "sweep") this.sweep();
    else this.training();
    if (used) this.section.querySelector(`select[name="${CSS.escape(used)}"]`)?.focus();
  }

  sweep() {
    const words = (name) => (row) => this.text(name, row);
    const part = { name: "part", title: "part", word: (row) => this.table.sections[this.table.section[row]] };
    const setting = SETTING.map((name) => ({ name, title: name.replace("_", " "), word: words(name) }));
    const channels = { name: "channels", title: "channels", word: words("channels"), last: true };
    const every = this.table.section.map((_, row) => row);
    const form = this.section.querySelector(":scope > form");
    const rows = this.choose(form, [part, ...setting, channels], every);
    const styles = this.data.styles[this.value("setting", rows[0])];
    this.legend(styles, new Set(rows.map((row) => this.text("label", row))));
    this.tradeoff(rows, styles);
    this.size(rows, styles);
    const told = this.data.settings[this.value("setting", rows[0])];
    this.section.querySelector(":scope > .said").textContent = `Drawn: ${told}, ${this.text("channels", rows[0])} channels.`;
  }

  tradeoff(rows, styles) {
    const figure = this.figures.tradeoff;
    const memory = this.axes(["peak_mib", "cuda_peak_mib", "cpu_peak_mib"]);
    const size = { name: "size", title: "size", word: (row) => this.text("size", row), last: true };
    const group = this.choose(figure.querySelector("form"), [size], rows);
    const name = this.pick(figure, "memory", memory);
    const seen = group.filter((row) => !this.hidden.has(this.text("label", row)));
    const points = seen.map((row) => this.point(row, name, "latency_ms")).filter((point) => point.x > 0 && point.y > 0);
    const best = front(points, false);
    const traces = this.marks(points, best, styles, 0.5);
    const left = seen.length - points.length;
    const said = ["Down and left is better; no block is both faster and smaller than those on the grey line, which are named. Bars: 95 % interval of the median."];
    if (left) said.push(`${left} of ${seen.length} cases ${left === 1 ? "is" : "are"} not drawn: not measured, or zero.`);
    draw(figure, traces, axis(this.data.axes[name], points.length ? logarithmic(points.map((p) => p.x)) : {}), axis("ms a call", points.length ? logarithmic(points.map((p) => p.y)) : {}), said.join(" "));
  }

  size(rows, styles) {
    const figure = this.figures.size;
    figure.querySelector("form").replaceChildren();
    const name = this.pick(figure, "cost", this.axes(Object.keys(this.data.axes)));
    const lines = new Map();
    for (const row of rows) {
      const label = this.text("label", row);
      if (this.hidden.has(label)) continue;
      if (!lines.has(label)) lines.set(label, []);
      const point = this.point(row, "size", name);
      lines.get(label).push(point.y > 0 ? point : { ...point, y: null, yabove: 0, ybelow: 0 });
    }
    const traces = [];
    const sizes = new Map();
    for (const [label, points] of lines) {
      points.sort((a, b) => a.x - b.x);
      for (const point of points) sizes.set(point.x, point.size);
      if (points.every((point) => point.y === null)) continue;
      const style = styles[label];
      const dash = style.dash ? style.dash.split(" ").map((length) => `${length}px`).join(",") : "solid";
      traces.push(trace(points, label, style, { mode: "lines+markers", line: { color: ink(style), width: style.width * 1.4, dash } }));
    }
    const drawn = [...lines.values()].flat().filter((point) => point.y !== null);
    const missing = [...lines.values()].flat().length - drawn.length;
    const said = ["Positions N = H x W of the map. A gap in a line is a case that is not measured, or zero."];
    if (name === "latency_ms") said.push("Bars: 95 % interval of the median.");
    if (missing) said.push(`${missing} ${missing === 1 ? "case is" : "cases are"} not drawn.`);
    const x = drawn.length ? { ...logarithmic(drawn.map((p) => p.x)), ...this.ticks(sizes) } : {};
    draw(figure, traces, axis("size", x), axis(this.data.axes[name], drawn.length ? logarithmic(drawn.map((p) => p.y)) : {}), said.join(" "));
  }

  /** Ticks at the sizes that were measured, from the largest down, without those that would touch. */
  ticks(sizes) {
    const kept = [];
    const every = [...sizes.keys()].sort((a, b) => b - a);
    const whole = Math.log10(every[0] / every[every.length - 1]) || 1;
    for (const size of every) {
      const last = kept[kept.length - 1];
      if (last === undefined || Math.log10(last / size) / whole > 0.11) kept.push(size);
    }
    return { tickvals: kept, ticktext: kept.map((size) => sizes.get(size)) };
  }

  training() {
    const sets = this.data.sets;
    const form = this.section.querySelector(":scope > form");
    const [set] = this.choose(form, [{ name: "set", title: "runs and costs", word: (one) => one.title }], sets);
    this.legend(set.styles, new Set(set.points.map((point) => point.label)));
    const figure = this.figures.accuracy;
    figure.querySelector("form").replaceChildren();
    const name = this.pick(figure, "cost", set.columns);
    const points = set.points.filter((one) => one[name] > 0 && !this.hidden.has(one.label)).map((one) => {
      const words = [`mIoU ${one.miou.toFixed(1)}${one.sd === null ? "" : ` \u00b1 ${one.sd.toFixed(1)}`} %`];
      words.push(...set.columns.filter((column) => one[column]).map((column) => `${this.data.axes[column]}: ${Number(one[column].toPrecision(3))}`));
      const across = name === "latency_ms" ? { xabove: one.above ?? 0, xbelow: one.below ?? 0 } : {};
      return { label: one.label, x: one[name], y: one.miou, yabove: one.sd ?? 0, ybelow: one.sd ?? 0, ...across, words };
    });
    const best = front(points, true);
    const traces = this.marks(points, best, set.styles, 0.3);
    const said = ["Up and left is better; no block is both cheaper and more accurate than those on the grey line, which are named. Bars: standard deviation of mIoU over the seeds, 95 % interval of the median latency."];
    if (set.missing.length) said.push(`Without a cost of its own: ${set.missing.join(", ")}.`);
    draw(figure, traces, axis(this.data.axes[name], points.length ? logarithmic(points.map((p) => p.x)) : {}), axis("mIoU, %"), said.join(" "));
  }

  /**
   * A mark for each point above a line through the best; these and the reference have their names beside them, to the
   * right in this share of the width, to the left beyond.
   */
  marks(points, best, styles, share) {
    if (!points.length) return [];
    const named = (point) => best.includes(point) || styles[point.label].width > 1;
    const line = { color: colour("--edge"), width: 1 };
    const [x, y] = [best.map((point) => point.x), best.map((point) => point.y)];
    const [low, high] = [Math.min(...points.map((p) => p.x)), Math.max(...points.map((p) => p.x))];
    const turn = low * (high / low) ** share;
    const ordered = [...points].sort((a, b) => named(a) - named(b));
    const marks = ordered.map((point) => trace([point], point.label, styles[point.label], {
      mode: named(point) ? "markers+text" : "markers",
      text: [plain(point.label)],
      textposition: point.x > turn ? "top left" : "top right",
      textfont: { size: 11, color: colour("--soft") },
      cliponaxis: false,
    }));
    return [{ type: "scatter", mode: "lines", x, y, hoverinfo: "skip", line }, ...marks];
  }

  /** Which of the figures a plot shows, by a select where there are several. */
  pick(figure, name, found) {
    const key = `${figure.dataset.plot}-${name}`;
    if (!found.includes(this.chosen[key])) this.chosen[key] = found[0];
    if (found.length > 1) {
      const { select, label } = selection(name, []);
      for (const one of found) select.append(make("option", { value: one, textContent: this.data.axes[one] }));
      select.name = key;
      select.value = this.chosen[key];
      figure.querySelector("form").append(label);
    }
    return this.chosen[key];
  }

  axes(names) {
    return names.filter((name) => name in this.data.axes);
  }

  /** A row as a point of two columns, with the interval of the time where it is one of them. */
  point(row, x, y) {
    const time = y === "latency_ms";
    const [low, high] = [this.value("latency_ci_low_ms", row), this.value("latency_ci_high_ms", row)];
    const middle = this.value("latency_ms", row);
    const arms = time && middle !== null && low !== null && high !== null ? { ybelow: Math.max(0, middle - low), yabove: Math.max(0, high - middle) } : {};
    const words = [`${this.text("size", row)}, ${this.text("channels", row)} channels`, `${this.text("latency_ms", row)} ms`];
    words.push(`${this.column.ratio.title}: ${this.text("ratio", row)}`);
    for (const name of this.axes(["peak_mib", "cuda_peak_mib", "cpu_peak_mib", "energy_mj"])) {
      words.push(`${this.column[name].title}: ${this.text(name, row)}`);
    }
    words.push(`${this.text("params", row)} params, ${this.text("gmacs", row)} GMACs`);
    return { label: this.text("label", row), size: this.text("size", row), x: this.value(x, row), y: this.value(y, row), ...arms, words };
  }

  legend(styles, labels) {
    const key = JSON.stringify([...labels]);
    const list = this.section.querySelector(".legend");
    if (list.dataset.key !== key) {
      list.dataset.key = key;
      list.replaceChildren(...Object.entries(styles).filter(([label]) => labels.has(label)).map(([label, style]) => make("li", {}, this.entry(label, style))));
    }
  }

  entry(label, style) {
    const button = make("button", { type: "button" });
    const paint = style.colour === "#000000" ? "var(--ink)" : style.colour;
    const space = "http://www.w3.org/2000/svg";
    const swatch = document.createElementNS(space, "svg");
    const line = document.createElementNS(space, "path");
    const mark = document.createElementNS(space, "path");
    swatch.setAttribute("viewBox", "0 0 30 12");
    swatch.setAttribute("aria-hidden", "true");
    line.setAttribute("d", "M0 6h30");
    line.setAttribute("stroke-width", style.width * 1.4);
    line.setAttribute("stroke-dasharray", style.dash);
    line.style.stroke = paint;
    mark.setAttribute("d", SYMBOLS[style.marker][1]);
    mark.style.fill = paint;
    swatch.append(line, mark);
    button.append(swatch, make("span", { textContent: label }));
    button.setAttribute("aria-pressed", String(!this.hidden.has(label)));
    button.addEventListener("click", () => {
      if (!this.hidden.delete(label)) this.hidden.add(label);
      button.setAttribute("aria-pressed", String(!this.hidden.has(label)));
      this.draw();
    });
    return button;
  }
}
