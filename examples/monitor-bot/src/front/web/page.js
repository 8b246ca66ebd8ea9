// The page: what the bot tells, and what is known while it tells nothing.

const SPANS = { "10m": "10 minutes", "1h": "hour", "1d": "day", "7d": "7 days", "30d": "30 days" };
const LARGE = ["cpu", "memory", "rx", "tx"];
// How many alerts are told, how many of what they are about are large, and how many others are.
const NARROW = matchMedia("(max-width: 40rem)"), room = () => NARROW.matches ? [3, 2, 2] : [5, 4, 4];
const PARTS = {
  cpu: "core", load: "average", disk: "disk", rx: "interface", tx: "interface", temperature: "sensor", process: "process",
};
const MARKS = {
  well: ["✓", "#1b7f3b"], bad: ["!", "#c32b22"], seen: ["!", "#9a6200"], stale: ["?", "#9a6200"], unknown: ["?", "#777"],
};
const METRICS_AT_ONCE = 40;
const byId = id => document.getElementById(id);
const count = (number, word) => `${number} ${word}${number === 1 ? "" : word.endsWith("s") ? "es" : "s"}`;
const worst = alert => alert.worst && `worst ${alert.worst}`;
const groupOf = metric => metric.split(":")[0].replace(/^process_.*/, "process");

// --- What is known -------------------------------------------------------------------------------------------------

// The newest status, when its reading was made by this clock, and since when there is no connection.
let latest = null, readAt = 0, connected = false, lostAt = null;

const age = () => (Date.now() - readAt) / 1000;
const isOld = () => age() > 3 * latest.every;

// The state, its headline, and what else is to be said. All is well only while readings, alerts and the connection are.
function verdict() {
  const old = latest ? `The figures below are ${rough(age())} old.` : "";
  if (!connected && !lostAt) return ["unknown", "Unknown", "Connecting …"];
  if (!connected) return ["unknown", "Unknown", `No connection since ${moment(lostAt / 1000)}, trying again. ${old}`];
  const { every, at, stored_at, problem, alerts } = latest;
  if (isOld()) return ["stale", `No data since ${moment(readAt / 1000)}`, `${old} A reading is due every ${rough(every)}.`];
  const read = `Last reading ${rough(age())} ago`;
  if (problem) return ["unknown", "Unknown", `Alerts cannot be read. ${problem}`];
  const seen = alerts.filter(alert => alert.seen_by).length, stored = stored_at !== null && at - stored_at <= 3 * every;
  const unstored = !stored && "the database does not take it";
  if (alerts.length)
    return [seen === alerts.length ? "seen" : "bad", count(alerts.length, "alert"), joined(seen && `${seen} seen`, read, unstored)];
  if (unstored) return ["stale", stored_at ? `Not stored since ${moment(stored_at)}` : "Not stored", joined(read, unstored)];
  const uptime = latest.metrics.find(({ metric }) => metric === "uptime");
  return ["well", "All well", joined(read, uptime && `up for ${rough(uptime.value + age())}`)];
}

function tell() {
  const [state, headline, detail] = verdict(), { dataset, classList } = document.body;
  classList.toggle("old", !connected || isOld());
  if (byId("detail").textContent !== detail) byId("detail").textContent = detail;
  if (byId("headline").textContent === headline && dataset.state === state) return;
  dataset.state = state;
  byId("headline").textContent = headline;
  const [mark, colour] = MARKS[state];
  byId("mark").textContent = mark;
  document.title = `${mark === "!" ? `(${latest.alerts.length})` : mark} ${latest?.host ?? "monitor-bot"}`;
  const dot = `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'><circle cx='4' cy='4' r='4' fill='${colour}'/></svg>`;
  byId("icon").href = "data:image/svg+xml," + encodeURIComponent(dot);
}

// --- The connection ------------------------------------------------------------------------------------------------

// A browser gives up on an event source that was answered with 502, and never learns of a line that went dead: each
// silence and each error is followed by another try.
let source, timer, tries = 0;

function connect() {
  source?.close();
  source = new EventSource("/api/events");
  source.onmessage = message => hear(JSON.parse(message.data));
  source.onerror = lose;
  wake(lose, 10);
}
function wake(next, seconds) {
  clearTimeout(timer);
  timer = setTimeout(next, seconds * 1000);
}
function lose() {
  source.close();
  connected = false;
  lostAt ??= Date.now();
  wake(connect, Math.min(30, 2 ** tries++) * (.5 + Math.random() / 2));
  tell();
}
function hear(status) {
  const returned = !connected, known = latest;
  if (status.at !== latest?.at) readAt = Date.now() - Math.max(0, status.age) * 1000;
  [latest, connected, lostAt, tries] = [status, true, null, 0];
  show();
  const ids = status => JSON.stringify(status?.alerts.map(({ id, text }) => [id, text]));
  if (known) announce(known.alerts);
  if (returned || ids(known) !== ids(status) || Date.now() - loadedAt > period()) load(returned);
  wake(connect, 3 * status.every);
}
function announce(known) {
  const texts = new Set(known.map(alert => alert.text));
  const news = latest.alerts.filter(alert => !texts.has(alert.text));
  if (news.length) byId("news").textContent = news.map(alert => `New alert: ${alert.text}.`).join(" ");
}
for (const event of ["online", "pageshow"]) addEventListener(event, () => lostAt && connect());
document.addEventListener("visibilitychange", () => document.hidden || latest && isOld() && connect());
setInterval(tell, 1000);
NARROW.onchange = () => latest && (show(), load());

// --- Now -----------------------------------------------------------------------------------------------------------

// The children of a parent, by key: what is there stays, so that neither focus nor an open detail is lost.
function arrange(parent, wanted, make) {
  const there = new Map([...parent.children].map(child => [child.dataset.key, child]));
  wanted.forEach((key, index) => {
    const child = there.get(key) ?? make(key);
    there.delete(key);
    child.dataset.key = key;
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  for (const child of there.values()) child.remove();
}

function show() {
  const groups = Object.groupBy(latest.metrics, ({ metric }) => groupOf(metric));
  const known = new Set(latest.metrics.map(({ metric }) => metric));
  const [, extras, others] = room(), large = LARGE.slice(0, others).filter(kind => groups[kind]);
  const quiet = Object.keys(groups).filter(kind => kind !== "uptime" && !large.includes(kind));
  // What has an alert is large, and comes first unless somebody has seen it.
  const extra = new Set(unseenFirst().map(({ metric }) => metric).filter(metric => known.has(metric) && !large.includes(metric)));
  const urgent = metric => latest.alerts.some(alert => alert.metric === metric && !alert.seen_by);
  const first = [...[...extra].slice(0, extras), ...large].toSorted((one, other) => urgent(other) - urgent(one));
  byId("host").textContent = latest.host;
  showAlerts();
  arrange(byId("large"), first, metric => makeFigure(element("section", "card"), metric, "chart").root.parentNode);
  arrange(byId("quiet"), quiet, kind => {
    const group = element("details", "card");
    makeFigure(element("summary", "", group), kind, "spark");
    return group;
  });
  for (const card of [...byId("large").children, ...byId("quiet").children]) showParts(card, groups[card.dataset.key] ?? []);
  figures().forEach(showNow);
  byId("foot").textContent = `monitor-bot ${latest.version} · a reading every ${rough(latest.every)}`;
  tell();
}

// The parts of a group, drawn once somebody wants to see them; a group without parts has a chart.
function showParts(card, members) {
  const parts = card.parts = members.filter(({ metric }) => metric.includes(":"));
  let box = card.matches("details") ? card : card.querySelector("details");
  if (!box && parts.length > 1) {
    box = element("details", "", card);
    element("summary", "", box, "each " + PARTS[card.dataset.key]);
  }
  if (!box) return;
  box.ontoggle ??= () => { show(); load(); };
  const list = box.querySelector(".parts") ?? element("div", "parts grid", box);
  const wanted = box.open ? (parts.length ? parts : members) : [];
  arrange(list, wanted.map(({ metric }) => metric), metric => makeFigure(null, metric, "chart").root);
}

function showNow(figure) {
  if (figure.kind === "strip") return;
  const one = latest.metrics.find(({ metric }) => metric === figure.metric);
  const parts = figure.kind === "spark" ? figure.root.closest("details").parts : [];
  const tones = [one, ...parts].map(one => one?.tone);
  figure.root.dataset.tone = ["bad", "warn"].find(tone => tones.includes(tone)) ?? "";
  figure.name.textContent = one?.title ?? "Processes";
  figure.svg.setAttribute("aria-label", figure.name.textContent);
  const several = parts.length > 1 && figure.metric !== "load" && count(parts.length, PARTS[figure.metric]);
  figure.now = one ? { shown: UNITS[one.unit](one.value), note: several || one.note } : processes(parts);
  cross(figure);
}
function processes(parts) {
  const all = parts.filter(({ metric }) => metric.startsWith("process:")), stopped = all.filter(({ value }) => value < 1);
  const shown = stopped.length ? `${stopped.length} of ${all.length} stopped` : `${all.length} running`;
  return { shown, note: all.map(({ metric }) => metric.slice("process:".length)).join(", ") };
}

const unseenFirst = () => latest.alerts.toSorted((one, other) => Boolean(one.seen_by) - Boolean(other.seen_by));
function showAlerts() {
  const alerts = unseenFirst(), [told] = room(), more = alerts.length - told;
  arrange(byId("alerts"), alerts.slice(0, told).map(({ id }) => String(id)), () => {
    const item = element("li");
    for (const className of ["", "dim", "dim", "action"]) element(className ? "span" : "strong", className, item);
    return item;
  });
  for (const [index, item] of [...byId("alerts").children].entries()) {
    const alert = alerts[index], [text, facts, busiest, action] = item.children;
    const since = `since ${moment(alert.raised_at)}, for ${rough(latest.at - alert.raised_at)}`;
    item.className = alert.seen_by ? "card seen" : "card";
    text.textContent = alert.text;
    facts.textContent = joined(worst(alert), since, alert.rule && `rule ${alert.rule}`);
    busiest.textContent = alert.processes ? `Used most: ${alert.processes}` : "";
    // What somebody marks to copy it stays marked.
    if (alert.seen_by) action.textContent = `seen by ${alert.seen_by}`;
    else if (!action.querySelector("code")) action.replaceChildren("to acknowledge: ", element("code", "", null, `ack ${alert.id}`));
  }
  if (more > 0) element("li", "dim", byId("alerts"), `and ${more} more, among the incidents`).dataset.key = "more";
}

// --- The chosen span -----------------------------------------------------------------------------------------------

let span = SPANS[location.hash.slice(1)] ? location.hash.slice(1) : "10m", loading = null, loadedAt = 0;
// A chart has something new to show after this long.
const period = () => drawing ? 1000 * Math.min(60, Math.max(latest.every, (drawing.to - drawing.from) / drawing.slots)) : 0;

// Only the answer to the newest question is shown. One that nobody waits for does not push the one before it away.
async function load(urgent = true) {
  if (!latest || loading && !urgent) return;
  loading?.abort();
  const mine = loading = new AbortController(), asked = span;
  const known = new Set(latest.metrics.map(({ metric }) => metric));
  const metrics = [...new Set(figures().map(({ metric }) => metric))].filter(metric => known.has(metric));
  if (urgent) document.body.dataset.history = "loading";
  let loaded = null;
  try {
    for (let first = 0; first < metrics.length; first += METRICS_AT_ONCE) {
      const some = metrics.slice(first, first + METRICS_AT_ONCE).map(metric => ["metric", metric]);
      const signal = AbortSignal.any([mine.signal, AbortSignal.timeout(30000)]);
      const response = await fetch("/api/history?" + new URLSearchParams([["span", asked], ...some]), { signal });
      // What a proxy answers is no JSON.
      const failure = response.ok ? null : await response.json().catch(() => ({}));
      if (failure) throw new Error(failure.error ?? `The answer was ${response.status}.`);
      const answer = await response.json();
      loaded = { ...answer, ...loaded, series: [...loaded?.series ?? [], ...answer.series] };
    }
  } catch (error) {
    if (loading !== mine) return;
    [loading, loadedAt] = [null, 0];
    document.body.dataset.history = "failed";
    byId("uptime").textContent = `The last ${SPANS[asked]} could not be read. ${error.message}`;
    return;
  }
  if (loading !== mine) return;
  [loading, loadedAt] = [null, Date.now()];
  drawing = { ...loaded, series: new Map(loaded.series.map(series => [series.metric, series])) };
  document.body.dataset.history = asked;
  showPast();
  figures().forEach(draw);
}

function showPast() {
  const { from, to, since, gaps, incidents } = drawing, of = `the last ${SPANS[span]}`;
  const missing = gaps.reduce((sum, [start, end]) => sum + end - start, 0);
  const share = since === null ? null : 100 * (1 - missing / Math.max(1, to - since));
  const uptime = byId("uptime");
  uptime.replaceChildren();
  element("strong", "", uptime, share === null ? "–" : (share > 99.995 ? 100 : Math.floor(share * 100) / 100) + " %");
  uptime.append(` uptime in ${of}` + (since > from ? `, since ${moment(since)}` : ""));
  const list = byId("incidents"), happened = [
    ...incidents.map(alert => [alert.raised_at, alert.cleared_at, joined(alert.text, worst(alert))]),
    ...gaps.map(([start, end]) => [start, end, "No readings"]),
  ].toSorted(([one], [other]) => other - one);
  list.firstChild.textContent = happened.length ? count(happened.length, "incident") : "No incidents";
  list.lastChild.replaceChildren();
  for (const [start, end, text] of happened) {
    const item = element("li", "", list.lastChild);
    element("time", "dim", item, moment(start));
    item.append(text);
    element("span", "dim", item, end === null ? `open for ${rough(to - start)}` : `for ${rough(end - start)}`);
  }
}

for (const choice of byId("spans").querySelectorAll("input")) {
  choice.checked = choice.value === span;
  choice.onchange = () => { span = choice.value; history.replaceState(null, "", "#" + span); load(); };
}
makeFigure(byId("strip"), null, "strip");
tell();
connect();
