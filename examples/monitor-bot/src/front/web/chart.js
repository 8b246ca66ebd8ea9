"use strict";
// Figures: a value with its course over time, as SVG. All of them share one crosshair.

const GUTTER = 60, AXIS = 18, LONGEST_GAP = 60;
const MINUTE = 60, HOUR = 3600, DAY = 86400;
const STEPS = [MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR,
  12 * HOUR, DAY, 2 * DAY, 7 * DAY];
const UNITS = {
  percent: value => value.toFixed(1) + " %",
  number: value => value.toFixed(2),
  bytes,
  byte_rate: value => bytes(value) + "/s",
  celsius: value => value.toFixed(1) + " °C",
  seconds: rough,
  running: value => value >= 1 ? "running" : value <= 0 ? "stopped" : `running for ${(value * 100).toFixed(0)} %`,
};
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const second = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

// The history that is shown, and the moment under the crosshair.
let drawing = null, cursor = null;

function bytes(value) {
  const step = value < 1024 ? 0 : Math.min(5, Math.floor(Math.log2(value) / 10));
  return (value / 1024 ** step).toFixed(step && 1) + " " + ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][step];
}
function rough(seconds) {
  let rest = Math.max(0, Math.round(seconds));
  const parts = [["d", DAY], ["h", HOUR], ["min", MINUTE], ["s", 1]].map(([name, unit]) => {
    const count = Math.floor(rest / unit);
    rest %= unit;
    return count && `${count} ${name}`;
  });
  const first = parts.findIndex(part => part);
  return first < 0 ? "0 s" : parts.slice(first, first + 2).filter(part => part).join(" ");
}
function moment(at) {
  const date = new Date(at * 1000), today = date.toDateString() === new Date().toDateString();
  return (today ? "" : day.format(date) + ", ") + second.format(date);
}
const joined = (...parts) => parts.filter(part => part).join(" · ");

// Names come from outside: everything is set as text, nothing as markup.
function element(tag, className, parent, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  parent?.append(made);
  return made;
}
function drawn(tag, attributes, parent, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(made, attributes);
  made.textContent = text;
  parent.append(made);
  return made;
}
function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
}

// The end of an axis: 1, 2 or 5 times a power of ten, for bytes within a power of 1024.
function roundUp(value, unit) {
  const base = unit.startsWith("byte") ? 1024 ** Math.max(0, Math.floor(Math.log2(value) / 10)) : 1;
  const power = 10 ** Math.floor(Math.log10(value / base));
  return [1, 2, 5, 10].find(step => step * power * base >= value * .999) * power * base;
}
function ticks(from, to, most) {
  const step = STEPS.find(step => (to - from) / step <= most) ?? STEPS.at(-1);
  const zone = new Date(to * 1000).getTimezoneOffset() * MINUTE, found = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= to; at += step)
    found.push([at, ((at - zone) % DAY ? time : day).format(at * 1000)]);
  return found;
}

// A "chart" has axes and obeys keys, a "spark" is a line of text high, and the "strip" has no values of its own.
function makeFigure(parent, metric, kind) {
  const root = element("div", "figure " + kind, parent);
  const [name, value, note] = ["name", "value", "note"].map(part => element("span", part, root));
  const svg = drawn("svg", kind === "chart" ? { role: "slider", tabindex: 0 } : { "aria-hidden": true }, root);
  const figure = root.figure = { root, metric, kind, name, value, note, svg };
  svg.onpointermove = event => {
    const share = (event.offsetX - figure.left) / (figure.width - figure.left);
    if (drawing) point(drawing.from + share * (drawing.to - drawing.from));
  };
  svg.onpointerleave = svg.onpointercancel = svg.onblur = () => point(null);
  svg.onkeydown = event => {
    if (!drawing) return;
    const slot = (drawing.to - drawing.from) / drawing.slots, at = cursor ?? drawing.to - slot / 2;
    const steps = { ArrowLeft: at - slot, ArrowRight: at + slot, Home: drawing.from, End: drawing.to, Escape: null };
    if (!(event.key in steps)) return;
    event.preventDefault();
    point(steps[event.key]);
  };
  resized.observe(svg);
  return figure;
}
const figures = () => [...document.querySelectorAll(".figure")].map(root => root.figure);
const resized = new ResizeObserver(entries => entries.forEach(entry => draw(entry.target.parentNode.figure)));

function point(at) {
  cursor = at === null ? null : Math.min(drawing.to, Math.max(drawing.from, at));
  figures().forEach(cross);
}

// Shows the value under the crosshair, or the newest one.
function cross(figure) {
  const { kind, series, now, svg } = figure, crossed = cursor !== null && figure.x !== undefined;
  svg.classList.toggle("crossed", crossed);
  let shown = now?.shown ?? "–", note = now?.note ?? "";
  const text = value => UNITS[series.unit](value);
  if (crossed) {
    const slot = (drawing.to - drawing.from) / drawing.slots;
    const index = Math.min(drawing.slots - 1, Math.floor((cursor - drawing.from) / slot));
    const at = drawing.from + (index + .5) * slot, x = figure.x(at), value = series?.average[index] ?? null;
    set(figure.line, { x1: x, x2: x });
    set(figure.dot, value === null ? { r: 0 } : { r: 3.5, cx: x, cy: figure.y(value) });
    if (series) shown = value === null ? "no reading" : text(value);
    const [low, high] = [series?.low[index], series?.high[index]];
    if (kind === "chart") note = joined(moment(at), low !== high && `${text(low)} – ${text(high)}`);
  } else if (kind === "chart" && series && series.unit !== "running") {
    note = joined(note, figure.highest === null ? "nothing measured" : `highest ${text(figure.highest)}`);
  }
  if (kind === "strip") return;
  figure.value.textContent = shown;
  figure.note.textContent = note;
  set(svg, { "aria-valuetext": joined(shown, note), "aria-valuenow": Math.round(cursor ?? drawing?.to ?? 0) });
}

function draw(figure) {
  const { svg, kind } = figure, width = figure.width = svg.clientWidth, height = svg.clientHeight;
  if (!drawing || !width) return;
  svg.replaceChildren();
  const { from, to, since, gaps, incidents } = drawing, axis = kind !== "spark";
  const left = figure.left = kind === "chart" ? GUTTER : 0, bottom = figure.bottom = height - (axis ? AXIS : 1);
  const x = figure.x = at => +(left + (at - from) / (to - from) * (width - left)).toFixed(1);
  const shade = (className, start, end, y = 0) => {
    const begin = Math.min(x(Math.max(from, start)), width - 2), length = x(Math.min(to, end)) - begin;
    drawn("rect", { class: className, x: begin, y, height: bottom - y, width: Math.max(2, length) }, svg);
  };
  if (kind === "strip" && since !== null) shade("measured", since, to, bottom / 2);
  for (const [start, end] of gaps) shade("gap", start, end);
  const own = { strip: () => null, chart: metric => metric, spark: groupOf }[kind];
  for (const alert of incidents) if (own(alert.metric) === figure.metric) shade("incident", alert.raised_at, alert.cleared_at ?? to);
  if (axis) for (const [at, label] of ticks(from, to, (width - left) / 60)) {
    drawn("line", { class: "grid-line", x1: x(at), x2: x(at), y1: 0, y2: bottom }, svg);
    if (x(at) > left + 18 && x(at) < width - 18) drawn("text", { x: x(at), y: height - 3, "text-anchor": "middle" }, svg, label);
  }
  figure.series = drawing.series.get(figure.metric);
  if (figure.series) drawSeries(figure);
  figure.line = drawn("line", { class: "cross", y1: 0, y2: bottom }, svg);
  figure.dot = drawn("circle", { class: "dot" }, svg);
  set(svg, { "aria-valuemin": from, "aria-valuemax": to });
  cross(figure);
}

// The lowest to the highest value as a band, the average as a line, the levels of rules as dashed ones.
function drawSeries(figure) {
  const { svg, series, left, width, bottom } = figure, { unit, full } = series;
  const highs = series.high.filter(value => value !== null), lows = series.low.filter(value => value !== null);
  figure.highest = highs.length ? Math.max(...highs) : null;
  const most = Math.max(figure.highest, 0), near = series.limits.filter(limit => limit <= 3 * most);
  const base = Math.min(0, ...lows), top = full !== null && most <= full ? full : roundUp(Math.max(most, ...near) || 1, unit);
  const y = figure.y = value => +(bottom - (value - base) / (top - base) * (bottom - 5)).toFixed(1);
  const short = value => UNITS[unit](value).replace(/\.0+(?= |$)/, "");
  const level = (className, value) => drawn("line", { class: className, x1: left, x2: width, y1: y(value), y2: y(value) }, svg);
  if (left) for (const value of unit === "running" ? [0, 1] : [base, (base + top) / 2, top]) {
    level("grid-line", value);
    drawn("text", { x: left - 6, y: Math.max(9, y(value) + 3), "text-anchor": "end" }, svg, short(value));
  }
  drawCourse(figure);
  let labelled = -Infinity;
  const limits = series.limits.filter(limit => unit !== "running" && limit > base && limit <= top);
  for (const limit of limits) level("limit", limit);
  for (const limit of limits) {
    const above = Math.max(0, ...limits.filter(other => other > limit).map(y));
    const at = y(limit) - above < 14 ? y(limit) + 11 : y(limit) - 3;
    if (!left || Math.abs(at - labelled) < 12) continue;
    labelled = at;
    drawn("text", { class: "limit", x: width - 2, y: at, "text-anchor": "end" }, svg, "rule " + short(limit));
  }
}

// A gap in the values is a gap in the line.
function drawCourse({ svg, series, x, y }) {
  const slot = (drawing.to - drawing.from) / drawing.slots, runs = [];
  series.average.forEach((value, index) => {
    if (value === null) return;
    if (runs.length && (index - runs.at(-1).at(-1)) * slot <= Math.max(LONGEST_GAP, 1.5 * slot)) runs.at(-1).push(index);
    else runs.push([index]);
  });
  const path = (run, values) => run.map(index => `${x(drawing.from + (index + .5) * slot)},${y(values[index])}`).join("L");
  const band = runs.map(run => `M${path(run, series.high)}L${path(run.toReversed(), series.low)}Z`);
  const mean = runs.map(run => `M${path(run, series.average)}${run.length === 1 ? "h1" : ""}`);
  drawn("path", { class: "band", d: band.join("") }, svg);
  drawn("path", { class: "mean", d: mean.join("") }, svg);
}
