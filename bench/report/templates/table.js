/* Tables: rows are made from the data as far as readers scroll, sorted and filtered in their parts, and opened. */

const CHUNK = 80;
const AHEAD = 1500;
const MISSING = "\u2013";

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A label that may break after its separators. */
function breaking(text) {
  return text.split(/(?<=[:,+=])/).flatMap((piece, place) => (place ? [make("wbr"), piece] : [piece]));
}

function shown(column, row) {
  return column.words ? column.words[column.at[row]] : "";
}

/** Places of the rows by a column: numbers by size, texts by alphabet with numbers in them by size, nothing as NaN. */
function ranks(column) {
  if (column.values) return column.values.map((value) => (value === null ? NaN : value));
  const collator = new Intl.Collator("en", { numeric: true });
  const sorted = [...column.words].sort(collator.compare);
  const places = new Map(sorted.map((word, place) => [word, place]));
  return column.at.map((at) => (["", MISSING].includes(column.words[at]) ? NaN : places.get(column.words[at])));
}

/** The texts of a column that a reader can choose from, by size where they are numbers. */
function options(column, rows) {
  const found = new Map();
  for (const row of rows) {
    const word = shown(column, row);
    if (word !== "" && !found.has(word)) found.set(word, column.values ? column.values[row] : found.size);
  }
  return [...found.keys()].sort((a, b) => found.get(a) - found.get(b));
}

function selection(title, words, all) {
  const select = make("select");
  if (all) select.append(make("option", { value: "", textContent: all }));
  for (const word of words) select.append(make("option", { value: word, textContent: word || "none" }));
  return { select, label: make("label", {}, title, select) };
}

class Listing {
  constructor(section, data) {
    this.data = data;
    this.section = section;
    this.table = section.querySelector("table");
    this.form = section.querySelector("form");
    this.columns = data.columns.filter((column) => column.role === "head" || column.role === "cell");
    this.details = data.columns.filter((column) => column.role === "detail");
    this.opens = this.details.length > 0 || data.commands.length > 0;
    this.rows = data.section.map((_, row) => row);
    this.made = new Map();
    this.opened = new Map();
    this.sorted = null;
    this.descending = false;
    this.pending = [];
    this.choices = [];
    this.build();
    this.render();
  }

  build() {
    const widths = this.columns.map((column) => this.width(column));
    const group = make("colgroup");
    for (const width of widths) {
      const col = make("col");
      col.style.width = `calc(${width}ch + 1.3rem)`;
      group.append(col);
    }
    this.table.style.minWidth = `calc(${widths.reduce((sum, width) => sum + width, 0)}ch + ${1.3 * widths.length}rem)`;
    const head = make("tr");
    for (const column of this.columns) {
      const button = make("button", { type: "button", textContent: column.title });
      const cell = make("th", { scope: "col", className: column.values ? "n" : "" }, button);
      cell.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => this.sort(column));
      column.cell = cell;
      head.append(cell);
    }
    this.table.append(group, make("thead", {}, head));
    const clear = this.form.querySelector("button");
    for (const column of this.columns.filter((one) => one.choice)) {
      const words = options(column, this.rows);
      if (words.length < 2) continue;
      const { select, label } = selection(column.title, words, "all");
      select.name = column.name;
      this.choices.push({ column, select });
      clear.before(label);
    }
    this.search = this.form.querySelector("input");
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("change", (event) => event.target !== this.search && this.render());
    this.form.addEventListener("reset", () => setTimeout(() => this.render()));
    let waiting = 0;
    this.search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.render(), 120);
    });
    this.table.addEventListener("click", (event) => {
      const button = event.target.closest("tbody th button");
      if (button) this.toggle(button);
      const copier = event.target.closest(".command button");
      if (copier) this.copy(copier);
    });
    this.box = this.table.parentElement;
    this.more = this.section.querySelector(".more");
    this.more.querySelector("button").addEventListener("click", () => this.append(Infinity));
    this.box.addEventListener("scroll", () => {
      if (this.box.scrollTop + this.box.clientHeight > this.box.scrollHeight - AHEAD) this.append(CHUNK);
    }, { passive: true });
    addEventListener("beforeprint", () => this.append(Infinity));
  }

  /** Characters of the widest text, or of the widest word where a text may break. */
  width(column) {
    const longest = (texts) => Math.max(0, ...texts.map((text) => text.length));
    const head = longest(column.title.replace(/[A-Z]/g, "$&~").split(" ")) + 3;
    const breaks = column.role === "head" || !column.values;
    const narrow = matchMedia("(max-width: 40rem)").matches;
    const most = column.role === "head" ? (narrow ? 13 : 24) : 30;
    return Math.max(head, Math.min(longest(column.words) + (column.role === "head" ? 2 : 0), breaks ? most : Infinity));
  }

  sort(column) {
    const again = this.sorted === column;
    if (again && this.descending) this.sorted = null;
    else this.sorted = column;
    this.descending = again && !this.descending;
    for (const one of this.columns) {
      const way = this.descending ? "descending" : "ascending";
      one.cell.setAttribute("aria-sort", one === this.sorted ? way : "none");
    }
    this.render();
    const order = this.sorted ? `Sorted by ${column.title}, ${this.descending ? "descending" : "ascending"}.` : "In the order of the run.";
    this.section.querySelector(".count").append(` ${order}`);
  }

  /** Whether a row has every word that is searched for in one of its texts. */
  matches(row, words) {
    if (!words.length) return true;
    this.texts ??= new Array(this.rows.length);
    this.texts[row] ??= this.columns.map((column) => shown(column, row)).join("\n").toLowerCase();
    return words.every((word) => this.texts[row].includes(word));
  }

  chosen() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = this.choices.filter(({ select }) => select.value !== "");
    return this.rows.filter(
      (row) => wanted.every(({ column, select }) => shown(column, row) === select.value) && this.matches(row, words),
    );
  }

  render() {
    const found = this.chosen();
    if (this.sorted) {
      const places = (this.sorted.places ??= ranks(this.sorted));
      const way = this.descending ? -1 : 1;
      const parts = this.data.section;
      found.sort((a, b) => {
        if (parts[a] !== parts[b]) return parts[a] - parts[b];
        const [x, y] = [places[a], places[b]];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
        return way * (x - y) || a - b;
      });
    }
    for (const body of [...this.table.tBodies]) body.remove();
    this.pending = found;
    const total = this.rows.length;
    const said = found.length === total ? `${total} rows.` : `${found.length} of ${total} rows.`;
    this.section.querySelector(".count").textContent = said;
    if (!found.length) {
      const cell = make("td", { colSpan: this.columns.length, textContent: "No row fits what was chosen." });
      this.table.append(make("tbody", {}, make("tr", {}, cell)));
    }
    this.box.scrollTop = 0;
    this.append(CHUNK);
  }

  /** Adds the next rows to the table, each part in a body of its own. */
  append(many) {
    for (const row of this.pending.splice(0, many)) {
      const part = String(this.data.section[row]);
      let body = this.table.tBodies[this.table.tBodies.length - 1];
      if (!body || body.dataset.part !== part) {
        body = make("tbody");
        body.dataset.part = part;
        const title = this.data.sections[part];
        if (title) {
          const cell = make("th", { scope: "rowgroup", colSpan: this.columns.length }, make("span", { textContent: title }));
          body.append(make("tr", { className: "part" }, cell));
        }
        this.table.append(body);
      }
      body.append(this.row(row));
      if (this.opened.has(row)) body.append(this.opened.get(row));
    }
    const left = this.pending.length;
    this.more.hidden = !left;
    this.more.firstElementChild.textContent = `${left} more ${left === 1 ? "row follows" : "rows follow"} as you scroll.`;
  }

  row(row) {
    if (this.made.has(row)) return this.made.get(row);
    const line = document.createElement("tr");
    for (const column of this.columns) {
      const text = shown(column, row);
      const head = column.role === "head";
      const cell = document.createElement(head ? "th" : "td");
      if (head) {
        cell.scope = "row";
        if (this.opens) {
          const button = make("button", { type: "button" }, ...breaking(text));
          button.setAttribute("aria-expanded", "false");
          cell.append(button);
        } else cell.append(...breaking(text));
      } else {
        cell.textContent = text;
        if (column.values) cell.className = "n";
        if ((column.name === "status" && text !== "ok") || text === "not reproduced") cell.className = "bad";
      }
      line.append(cell);
    }
    line.dataset.row = row;
    this.made.set(row, line);
    return line;
  }

  toggle(button) {
    const line = button.closest("tr");
    const row = Number(line.dataset.row);
    const open = !this.opened.has(row);
    button.setAttribute("aria-expanded", String(open));
    line.classList.toggle("opened", open);
    if (open) {
      this.opened.set(row, this.detail(row));
      line.after(this.opened.get(row));
    } else {
      this.opened.get(row).remove();
      this.opened.delete(row);
    }
  }

  detail(row) {
    const list = make("dl");
    for (const column of this.details) {
      const text = shown(column, row);
      if (text) list.append(make("dt", { textContent: column.title }), make("dd", { textContent: text }));
    }
    const inside = make("div", {}, list);
    for (const [title, command] of this.data.commands[row] ?? []) {
      const words = command.split(" ").flatMap((word) => [" ", make("span", { textContent: word })]);
      const code = make("code", { tabIndex: 0 }, ...words.slice(1));
      const button = make("button", { type: "button", textContent: "Copy" });
      button.setAttribute("aria-label", `Copy the command: ${title}`);
      inside.append(make("div", { className: "command" }, make("span", { textContent: title }), code, button));
    }
    return make("tr", { className: "detail" }, make("td", { colSpan: this.columns.length }, inside));
  }

  async copy(button) {
    const code = button.parentElement.querySelector("code");
    const done = (await toClipboard(code)) ? "Copied" : "Not copied: mark the command and copy it by hand";
    button.textContent = done;
    this.section.querySelector(":scope > .said").textContent = `${done}.`;
    setTimeout(() => {
      button.textContent = "Copy";
      this.section.querySelector(":scope > .said").textContent = "";
    }, 2500);
  }
}

async function toClipboard(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}
