/* Marks: how plotly is told of axes, points and colours, which are those of the other plots of the report. */

const SYMBOLS = {
  o: ["circle", "M15 2.5a3.5 3.5 0 1 1 0 7a3.5 3.5 0 1 1 0-7z"],
  s: ["square", "M11.8 2.8h6.4v6.4h-6.4z"],
  "^": ["triangle-up", "M15 2l4 7h-8z"],
  D: ["diamond", "M15 1.5l4.5 4.5-4.5 4.5-4.5-4.5z"],
  v: ["triangle-down", "M15 10l4-7h-8z"],
  P: ["cross", "M13.8 2h2.4v2.8h2.8v2.4h-2.8v2.8h-2.4v-2.8h-2.8v-2.4h2.8z"],
  X: ["x", "M12.5 2l2.5 2.5l2.5-2.5l1.5 1.5l-2.5 2.5l2.5 2.5l-1.5 1.5l-2.5-2.5l-2.5 2.5l-1.5-1.5l2.5-2.5l-2.5-2.5z"],
  "<": ["triangle-left", "M11 6l7-4v8z"],
  ">": ["triangle-right", "M19 6l-7-4v8z"],
};
const CONFIG = {
  responsive: true,
  displaylogo: false,
  modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
  toImageButtonOptions: { format: "svg", filename: "contextbench" },
};

/** Text for plotly, which takes some tags for its own. */
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** plotly.js, which stands at the end of the page as text until a plot needs it. */
function plotly() {
  if (!window.Plotly) {
    const script = make("script", { textContent: document.getElementById("plotly").textContent });
    document.head.append(script);
  }
  return window.Plotly;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** The colour of a block: black, which is the reference, is what the text is written in. */
function ink(style) {
  return style.colour === "#000000" ? colour("--ink") : style.colour;
}

/** Points that no other beats in both figures, by growing x; the better y is the lower one, or the higher. */
function front(points, higher) {
  const way = higher ? -1 : 1;
  const kept = [];
  for (const point of [...points].sort((a, b) => a.x - b.x || way * (a.y - b.y))) {
    if (!kept.length || way * point.y < way * kept[kept.length - 1].y) kept.push(point);
  }
  return kept;
}

function axis(title, extra) {
  const lines = { gridcolor: colour("--line"), linecolor: colour("--edge"), tickcolor: colour("--edge"), zeroline: false };
  return { title: { text: title, standoff: 8 }, ticks: "outside", showline: true, automargin: true, ...lines, ...extra };
}

/** A log axis around the values, with as many of 1, 2, 5 times a power of ten as there is room for. */
function logarithmic(values) {
  const low = Math.log10(Math.min(...values));
  const high = Math.log10(Math.max(...values));
  const room = Math.max(0.06 * (high - low), 0.08);
  const steps = high - low < 2 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = Math.floor(low - room); power <= Math.ceil(high + room); power++) {
    for (const step of steps) ticks.push(Number(`${step}e${power}`));
  }
  const words = ticks.map((tick) => (tick >= 1e6 ? `${tick / 1e6}M` : tick >= 1e4 ? `${tick / 1e3}k` : String(tick)));
  return { type: "log", range: [low - room, high + room], tickvals: ticks, ticktext: words };
}

function trace(points, label, style, extra) {
  const arms = (sign) => ({ type: "data", symmetric: false, thickness: 1, width: 0, color: ink(style), array: points.map((p) => p[`${sign}above`] ?? 0), arrayminus: points.map((p) => p[`${sign}below`] ?? 0) });
  return {
    type: "scatter",
    name: plain(label),
    x: points.map((point) => point.x),
    y: points.map((point) => point.y),
    error_y: arms("y"),
    error_x: arms("x"),
    hovertext: points.map((point) => [`<b>${plain(label)}</b>`, ...point.words.map(plain)].join("<br>")),
    hoverinfo: "text",
    marker: { color: ink(style), symbol: SYMBOLS[style.marker][0], size: 9, line: { color: colour("--paper"), width: 0.5 } },
    ...extra,
  };
}

function draw(figure, traces, x, y, said) {
  const box = figure.querySelector(".plot");
  figure.querySelector(".said").textContent = said;
  box.hidden = !traces.length;
  if (!traces.length) return;
  const family = getComputedStyle(document.body).fontFamily;
  const layout = {
    xaxis: x,
    yaxis: y,
    showlegend: false,
    hovermode: "closest",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    margin: { l: 8, r: 12, t: 30, b: 8 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family, size: 12, color: colour("--ink") },
    hoverlabel: { bgcolor: colour("--sheet"), bordercolor: colour("--edge"), font: { color: colour("--ink"), family }, align: "left" },
    modebar: { color: colour("--edge"), activecolor: colour("--link"), bgcolor: "rgba(0,0,0,0)" },
  };
  plotly().react(box, traces, layout, CONFIG);
}
