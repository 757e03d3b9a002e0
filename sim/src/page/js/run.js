// The run, as the page got it, with what is needed to find things in it quickly.

const run = JSON.parse(document.getElementById("run").textContent);
const kept = run.kept;
const head = run.head;
const replicas = run.replicas;
const MINUS = "−";

const $ = (id) => document.getElementById(id);

/** Makes an element. Text is text: nothing from a run ever becomes markup. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const textOf = (number) => (number < 0 ? "" : run.texts[number]);
const eventKind = (name) => run.event_kinds.indexOf(name);

/** Frames by columns, in the order in which they were sent. */
const frames = (() => {
  const count = kept.frames.length;
  const columns = {
    count,
    sent: new Float64Array(count),
    end: new Float64Array(count),
    reach: new Float64Array(count),
    from: new Uint16Array(count),
    to: new Uint16Array(count),
    kind: new Uint8Array(count),
    odd: new Uint8Array(count),
  };
  const usual = new Map();
  let reach = 0;
  kept.frames.forEach(([sent, from, to, kind, , , , lost, arrivals], index) => {
    const last = arrivals.reduce((latest, [at]) => Math.max(latest, at), 0);
    const pair = from * 65536 + to;
    if (arrivals.length === 1) usual.set(pair, arrivals[0][0] - sent);
    columns.sent[index] = sent;
    columns.end[index] = last || sent + (usual.get(pair) ?? 20);
    columns.from[index] = from;
    columns.to[index] = to;
    columns.kind[index] = kind;
    columns.odd[index] = oddity(lost, arrivals);
    reach = Math.max(reach, columns.end[index]);
    columns.reach[index] = reach;
  });
  return columns;
})();

/** What is odd about a frame: 0 nothing, 1 cut, 2 lost, 3 overtaken, 4 twice, 5 nobody there, 6 never came. */
function oddity(lost, arrivals) {
  if (lost) return lost;
  if (arrivals.length > 1) return 4;
  return [6, 0, 3, 5][arrivals[0][1]];
}
const ODD = ["", "lost: there was a cut", "lost on the way", "late: a later one came first", "came twice",
  "lost: nobody was there to take it", "still on its way when the run ended"];
const isLost = (odd) => odd === 1 || odd === 2 || odd === 5;

const events = kept.events.map(([at, replica, kind, text], index) => ({ at, replica, kind, text, index }));
const lastMoment = Math.max(1, run.outcome.figures.virtual_ms, head.at, frames.count ? frames.reach[frames.count - 1] : 0,
  events.length ? events[events.length - 1].at : 0);

/** The first index of a sorted list at which `value(index)` is greater than `limit`. */
function after(count, limit, value) {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value(middle) <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** When each process ran, as spans. */
const lives = replicas.map(() => []);
for (const event of events) {
  if (event.replica < 0) continue;
  const spans = lives[event.replica];
  const name = run.event_kinds[event.kind];
  if (name === "start") spans.push({ from: event.at, to: lastMoment, ended: "" });
  else if ((name === "crash" || name === "stop") && spans.length) {
    Object.assign(spans[spans.length - 1], { to: event.at, ended: name });
  }
}
const lifeAt = (replica, at) => lives[replica].find((span) => span.from <= at && at < span.to + (span.ended ? 0 : 1));

/** Who could not reach whom, as spans with the sides into which the replicas fell apart. */
const cuts = kept.cuts.map(([at, pairs], index) => {
  const until = index + 1 < kept.cuts.length ? kept.cuts[index + 1][0] : lastMoment;
  return { from: at, to: until, pairs, sides: sides(pairs) };
}).filter((cut) => cut.pairs.length > 0);

function sides(pairs) {
  const cut = new Set(pairs.map(([from, to]) => Math.min(from, to) * 65536 + Math.max(from, to)));
  const side = replicas.map(() => -1);
  let next = 0;
  for (let start = 0; start < side.length; start++) {
    if (side[start] >= 0) continue;
    const waiting = [start];
    side[start] = next;
    while (waiting.length) {
      const one = waiting.pop();
      for (let other = 0; other < side.length; other++) {
        if (side[other] < 0 && !cut.has(Math.min(one, other) * 65536 + Math.max(one, other))) {
          side[other] = next;
          waiting.push(other);
        }
      }
    }
    next += 1;
  }
  return { of: side, count: next };
}

const risks = kept.at_risk.map(([from, to, replica]) => ({ from, to, replica }))
  .concat(run.risks_left.map(([from, replica]) => ({ from, to: lastMoment, replica })));

const authorName = (author) => {
  const [replica, life] = run.authors[author];
  return (replica < replicas.length ? replicas[replica] : "?") + "'".repeat(life);
};
const versionName = (author, generation) => `${authorName(author)}/${generation}`;
const rowNames = kept.rows.map(([group, collection, key]) => `${run.groups[group]}/${collection}/${key}`);
const rowNumbers = new Map(rowNames.map((name, row) => [name, row]));
const rowOrder = rowNames.map((_, row) => row)
  .sort((a, b) => rowNames[a].localeCompare(rowNames[b], "en", { numeric: true }));

const seconds = (at, digits = 3) => {
  const [whole, part] = (Math.round(at) / 1000).toFixed(3).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return digits ? `${grouped}.${part.slice(0, digits)} s` : `${grouped} s`;
};
const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");

/** Failures of this page itself, for its own test. */
const troubles = [];
addEventListener("error", (event) => troubles.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => troubles.push(`the page tried to load ${event.blockedURI}`));
