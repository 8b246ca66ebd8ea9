"use strict";
// Figures: a value with its course over time, as SVG. All of them share one crosshair.

const GUTTER = 60, AXIS = 18;
const STEPS = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
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

// What the charts show, and the moment under the crosshair.
let drawing = null, cursor = null;

function bytes(value) {
  const step = value < 1024 ? 0 : Math.min(5, Math.floor(Math.log2(value) / 10));
  return (value / 1024 ** step).toFixed(step && 1) + " " + ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][step];
}
function rough(seconds) {
  let rest = Math.max(0, Math.round(seconds));
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]].map(([name, unit]) => {
    const count = Math.floor(rest / unit);
    rest %= unit;
    return count ? `${count} ${name}` : "";
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
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  parent.append(made);
  return made;
}

// The end of an axis: 1, 2 or 5 times a power of ten, for bytes within a power of 1024.
function roundUp(value, unit) {
  const base = unit.startsWith("byte") ? 1024 ** Math.max(0, Math.floor(Math.log2(value) / 10)) : 1;
  const power = 10 ** Math.floor(Math.log10(value / base));
  return [1, 2, 5, 10].find(step => step * power * base >= value * .999) * power * base;
}
function ticks(from, to, most) {
  const step = STEPS.find(step => (to - from) / step <= most) ?? STEPS.at(-1);
  const zone = new Date(to * 1000).getTimezoneOffset() * 60, found = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= to; at += step) {
    const date = new Date(at * 1000);
    found.push([at, step >= 86400 || (at - zone) % 86400 === 0 ? day.format(date) : time.format(date)]);
  }
  return found;
}

function makeFigure(parent, metric, kind) {
  const root = element("div", "figure " + kind, parent);
  const figure = { root, metric, kind, name: element("span", "name", root), value: element("span", "value", root), note: element("span", "note", root) };
  figure.svg = drawn("svg", { "aria-hidden": kind !== "chart" }, root);
  if (kind === "chart") for (const [name, value] of Object.entries({ role: "slider", tabindex: 0 })) figure.svg.setAttribute(name, value);
  figure.svg.onpointermove = event => drawing && point(figure, drawing.from + (event.offsetX - figure.left) / (figure.width - figure.left) * (drawing.to - drawing.from));
  figure.svg.onpointerleave = figure.svg.onpointercancel = figure.svg.onblur = () => point(figure, null);
  figure.svg.onkeydown = event => {
    if (!drawing) return;
    const slot = (drawing.to - drawing.from) / drawing.slots, at = cursor ?? drawing.to - slot / 2;
    const to = { ArrowLeft: at - slot, ArrowRight: at + slot, Home: drawing.from, End: drawing.to, Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    point(figure, to);
  };
  root.figure = figure;
  resized.observe(figure.svg);
  return figure;
}
const figures = () => [...document.querySelectorAll(".figure")].map(root => root.figure);
const resized = new ResizeObserver(entries => entries.forEach(entry => draw(entry.target.parentNode.figure)));

function point(figure, at) {
  cursor = at === null ? null : Math.min(drawing.to, Math.max(drawing.from, at));
  for (const each of figures()) cross(each);
}

// The value under the crosshair, or the newest one.
function cross(figure) {
  const seen = cursor !== null && drawing && figure.x;
  figure.svg.classList.toggle("crossed", Boolean(seen));
  const now = figure.now;
  const { series } = figure, text = value => UNITS[series.unit](value);
  let shown = now?.shown ?? "–", note = now?.note ?? "";
  if (series && figure.kind === "chart" && series.unit !== "running") note = joined(note, figure.highest === null ? "nothing measured" : `highest ${text(figure.highest)}`);
  if (seen) {
    const slot = (drawing.to - drawing.from) / drawing.slots;
    const index = Math.min(drawing.slots - 1, Math.floor((cursor - drawing.from) / slot));
    const value = series?.average[index] ?? null, at = drawing.from + (index + .5) * slot;
    figure.line.setAttribute("x1", figure.x(at));
    figure.line.setAttribute("x2", figure.x(at));
    figure.dot.style.display = value === null ? "none" : "";
    if (value !== null) { figure.dot.setAttribute("cx", figure.x(at)); figure.dot.setAttribute("cy", figure.y(value)); }
    if (series) {
      shown = value === null ? "no reading" : text(value);
      note = joined(moment(at), series.low[index] !== series.high[index] && `${text(series.low[index])} – ${text(series.high[index])}`);
    }
  }
  if (figure.kind === "strip") return;
  figure.value.textContent = shown;
  figure.note.textContent = figure.kind === "spark" ? now?.note ?? "" : note;
  figure.svg.setAttribute("aria-valuetext", note ? `${shown}, ${note}` : shown);
  if (drawing) for (const [name, at] of [["min", drawing.from], ["max", drawing.to], ["now", Math.round(cursor ?? drawing.to)]]) figure.svg.setAttribute("aria-value" + name, at);
}

function draw(figure) {
  const { svg, kind } = figure, width = svg.clientWidth, height = svg.clientHeight;
  if (!drawing || !width) return;
  svg.replaceChildren();
  const { from, to, slots } = drawing, axis = kind !== "spark";
  const series = figure.series = drawing.series.get(figure.metric);
  const left = figure.left = kind === "chart" ? GUTTER : 0, bottom = height - (axis ? AXIS : 1);
  figure.width = width;
  const x = figure.x = at => +(left + (at - from) / (to - from) * (width - left)).toFixed(1);
  const shade = (className, start, end, y = 0) => {
    const begin = Math.min(x(Math.max(from, start)), width - 2);
    drawn("rect", { class: className, x: begin, y, height: bottom - y, width: Math.max(2, x(Math.min(to, end)) - begin) }, svg);
  };
  if (kind === "strip" && drawing.since !== null) shade("measured", drawing.since, to, bottom / 2);
  for (const [start, end] of drawing.gaps) shade("gap", start, end);
  for (const alert of drawing.incidents.toReversed()) if (kind === "strip" || alert.metric === figure.metric || kind === "spark" && groupOf(alert.metric) === figure.metric) shade("incident", alert.raised_at, alert.cleared_at ?? to);
  if (axis) for (const [at, label] of ticks(from, to, (width - left) / 60)) {
    drawn("line", { class: "grid-line", x1: x(at), x2: x(at), y1: 0, y2: bottom }, svg);
    if (x(at) > left + 18 && x(at) < width - 18) drawn("text", { x: x(at), y: height - 3, "text-anchor": "middle" }, svg, label);
  }
  if (series) course(figure, series, x, bottom, slots);
  figure.line = drawn("line", { class: "cross", y1: 0, y2: bottom }, svg);
  figure.dot = drawn("circle", { class: "dot", r: 3.5 }, svg);
  cross(figure);
}

// Lowest to highest as a band, the average as a line, a rule's levels as dashed ones; a gap in the values is a gap in the line.
function course(figure, series, x, bottom, slots) {
  const { svg, left } = figure, slot = (drawing.to - drawing.from) / slots, values = series.high.filter(value => value !== null);
  figure.highest = values.length ? Math.max(...values) : null;
  const most = Math.max(figure.highest, 0), near = series.limits.filter(limit => limit <= 3 * most);
  const top = series.full !== null && most <= series.full ? series.full : roundUp(Math.max(most, ...near) || 1, series.unit);
  const base = Math.min(0, ...series.low.filter(value => value !== null));
  const short = value => UNITS[series.unit](value).replace(/\.0+(?= |$)/, "");
  const y = figure.y = value => +(bottom - (value - base) / (top - base) * (bottom - 5)).toFixed(1);
  if (left) for (const value of series.unit === "running" ? [0, 1] : [base, (base + top) / 2, top]) {
    drawn("line", { class: "grid-line", x1: left, x2: figure.width, y1: y(value), y2: y(value) }, svg);
    drawn("text", { x: left - 6, y: Math.max(9, y(value) + 3), "text-anchor": "end" }, svg, short(value));
  }
  let band = "", mean = "", run = [], labelled = -Infinity;
  const close = () => {
    const path = (list, values) => list.map(index => `${x(drawing.from + (index + .5) * slot)},${y(values[index])}`).join("L");
    if (run.length) mean += "M" + path(run, series.average) + (run.length === 1 ? "h1" : "");
    if (run.length) band += "M" + path(run, series.high) + "L" + path(run.toReversed(), series.low) + "Z";
    run = [];
  };
  series.average.forEach((value, index) => {
    if (value === null) return;
    if (run.length && (index - run.at(-1)) * slot > Math.max(60, 1.5 * slot)) close();
    run.push(index);
  });
  close();
  drawn("path", { class: "band", d: band }, svg);
  drawn("path", { class: "mean", d: mean }, svg);
  for (const limit of series.limits.filter(limit => limit > base && limit <= top && series.unit !== "running")) {
    drawn("line", { class: "limit", x1: left, x2: figure.width, y1: y(limit), y2: y(limit) }, svg);
    const above = y(limit) < 14 ? y(limit) + 11 : y(limit) - 3;
    if (!left || Math.abs(above - labelled) < 12) continue;
    labelled = above;
    drawn("text", { class: "limit", x: figure.width - 2, y: above, "text-anchor": "end" }, svg, "rule " + short(limit));
  }
}
