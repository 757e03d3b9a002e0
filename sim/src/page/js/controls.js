// Everything that is pressed, and how a change spreads.

// ---- moving through time ----

let waiting = false;

/** Draws the lanes soon, once for any number of changes. */
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
    noteAddress();
  });
}

/** The moment under the slider has changed: everything that depends on it. */
function moved() {
  const slider = $("slider");
  slider.value = String(Math.round((axis.place(look.now) / axis.length) * 100000));
  slider.setAttribute("aria-valuetext", seconds(look.now));
  $("clock").textContent = seconds(look.now);
  for (const element of document.querySelectorAll(".moment")) element.textContent = `at ${seconds(look.now)}`;
  refreshLabels();
  refreshRows();
  refreshHeld();
  refreshHistory();
  if (!look.chosen || look.chosen.replica !== undefined) refreshDetail();
  refreshLog(false);
  redraw();
}

function goTo(at) {
  look.now = Math.max(0, Math.min(lastMoment, Math.round(at)));
  bringIntoView(look.now);
  moved();
}

function bringIntoView(at) {
  const place = axis.place(at);
  const { from, to } = axis.view;
  const margin = (to - from) * 0.06;
  if (place < from + margin || place > to - margin) {
    const at = place < from + margin ? place - (to - from) * 0.25 : place - (to - from) * 0.75;
    axis.show(at, at + (to - from));
  }
  redraw();
}

/** So many moments on, at which something happens. */
function step(by) {
  const index = by > 0 ? after(moments.length, look.now, (at) => moments[at]) + by - 1
    : after(moments.length, look.now - 1e-9, (at) => moments[at]) + by;
  goTo(moments[Math.max(0, Math.min(moments.length - 1, index))]);
}

function toMark(direction) {
  const next = direction > 0 ? marks.find((at) => at > look.now) : marks.findLast((at) => at < look.now);
  if (next !== undefined) goTo(next);
}

/** The last moments before the rule was broken, from close by. */
function toViolation() {
  if (head.at < 0) return;
  const place = axis.place(head.at);
  const span = Math.min(axis.length, Math.max(2000, axis.length / 8));
  axis.show(place - span * 0.8, place + span * 0.2);
  choose(null);
  goTo(head.at);
}

// ---- playing ----

const playing = { on: false, last: 0, place: 0 };

function play(on) {
  playing.on = on;
  $("play").textContent = on ? "❚❚ Pause" : "▶ Play";
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
  if (!on) return;
  if (look.now >= lastMoment) goTo(0);
  playing.last = performance.now();
  playing.place = axis.place(look.now);
  requestAnimationFrame(playOn);
}

function playOn(now) {
  if (!playing.on) return;
  // The view from one side to the other takes 20 seconds.
  const speed = ((axis.view.to - axis.view.from) / 20000) * Number($("speed").value);
  playing.place += Math.min(now - playing.last, 100) * speed;
  playing.last = now;
  if (playing.place >= axis.length) {
    goTo(lastMoment);
    play(false);
    return;
  }
  goTo(axis.moment(playing.place));
  requestAnimationFrame(playOn);
}

// ---- filters ----

function chip(label, colour, count, pressed, press) {
  const button = make("button", { type: "button", class: "chip", "aria-pressed": String(pressed()) });
  if (colour) {
    const dot = make("span", { class: "dot" });
    dot.style.background = `var(--${colour})`;
    button.append(dot);
  }
  button.append(label);
  if (count !== null) button.append(make("small", {}, grouped(count)));
  button.addEventListener("click", () => {
    press();
    for (const one of document.querySelectorAll(".chip")) one.refresh();
    measure();
    buildLog();
    moved();
  });
  button.refresh = () => button.setAttribute("aria-pressed", String(pressed()));
  return button;
}

const toggled = (set, value) => () => (set.has(value) ? set.delete(value) : set.add(value));

function buildChips() {
  $("replica-chips").replaceChildren(make("span", { class: "muted" }, "Replicas"),
    ...replicas.map((name, replica) => chip(name, "", null, () => !look.hidden.has(replica), toggled(look.hidden, replica))));
  const counts = run.frame_kinds.map(() => 0);
  let odd = 0;
  for (let index = 0; index < frames.count; index++) {
    counts[frames.kind[index]] += 1;
    if (frames.odd[index]) odd += 1;
  }
  $("kind-chips").replaceChildren(make("span", { class: "muted" }, "Frames"), ...run.frame_kinds.flatMap((name, kind) =>
    counts[kind] ? [chip(name, `k-${name}`, counts[kind], () => !look.hiddenKinds.has(kind), toggled(look.hiddenKinds, kind))] : []));
  $("mark-chips").replaceChildren(make("span", { class: "muted" }, "Also"),
    chip("only lost, late, twice", "", odd, () => look.onlyOdd, () => (look.onlyOdd = !look.onlyOdd)),
    chip("commits", "", null, () => look.showCommits, () => (look.showCommits = !look.showCommits)),
    chip("links", "", null, () => look.showLinks, () => (look.showLinks = !look.showLinks)));
}

// ---- headline ----

function buildHeadline() {
  $("verdict").textContent = head.verdict;
  $("verdict").classList.add(head.verdict);
  $("title").textContent = head.title;
  $("story").textContent = head.story;
  $("meaning").textContent = head.meaning ?? "";
  $("meaning").hidden = !head.meaning;
  $("replay").textContent = run.replay;
  const { figures } = run.outcome;
  const steps = run.plan.trim().split("\n").length - 1;
  const list = [["replicas", replicas.length], ["steps", steps], ["events", figures.events], ["frames", figures.frames], ["batches", figures.batches],
    ["digest", run.outcome.digest]];
  $("figures").replaceChildren(...list.map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, typeof value === "number" ? grouped(value) : value))));
  $("to-violation").hidden = head.at < 0;
  $("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(run.replay);
      $("copy").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren($("replay"));
      $("copy").textContent = "Selected";
    }
    setTimeout(() => ($("copy").textContent = "Copy"), 1500);
  });
  $("save").addEventListener("click", () => {
    const link = make("a", { href: URL.createObjectURL(new Blob([run.plan], { type: "text/plain" })), download: `seed-${run.outcome.seed}.plan` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

// ---- the address: a place in the page that can be passed on ----

function noteAddress() {
  if (location.hash === "#selftest") return;
  clearTimeout(noteAddress.timer);
  noteAddress.timer = setTimeout(() => {
    const { from, to } = axis.view;
    const parts = [`t=${look.now}`, `from=${Math.round(axis.moment(from))}`, `to=${Math.round(axis.moment(to))}`];
    if (picked.row >= 0) parts.push(`row=${encodeURIComponent(rowNames[picked.row])}`, `by=${picked.view}`);
    try {
      history.replaceState(null, "", `#${parts.join("&")}`);
    } catch {
      // Some browsers do not let pages from files change their address: then there is nothing to pass on.
    }
  }, 300);
}

function readAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const row = rowNumbers.get(wanted.get("row"));
  if (row !== undefined) [picked.row, picked.view] = [row, Number(wanted.get("by") ?? -1)];
  const number = (name) => (wanted.has(name) ? Number(wanted.get(name)) : NaN);
  if (number("from") < number("to")) axis.show(axis.place(number("from")), axis.place(number("to")));
  return number("t");
}

// ---- keys and buttons ----

const keys = {
  ArrowLeft: (event) => step(event.shiftKey ? -10 : -1),
  ArrowRight: (event) => step(event.shiftKey ? 10 : 1),
  Home: () => goTo(0),
  End: () => goTo(lastMoment),
  " ": () => play(!playing.on),
  n: () => toMark(1),
  p: () => toMark(-1),
  v: toViolation,
  "+": () => zoomBy(0.6),
  "=": () => zoomBy(0.6),
  "-": () => zoomBy(1 / 0.6),
  0: () => (axis.fit(), redraw()),
  a: () => pan(-0.25),
  d: () => pan(0.25),
  "?": () => $("help").click(),
  Escape: () => choose(null),
};

function zoomBy(factor) {
  const place = axis.place(look.now);
  const inside = place > axis.view.from && place < axis.view.to;
  axis.zoom(factor, inside ? place : (axis.view.from + axis.view.to) / 2);
  redraw();
}

function pan(share) {
  const by = (axis.view.to - axis.view.from) * share;
  axis.show(axis.view.from + by, axis.view.to + by);
  redraw();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=range]):not([type=checkbox]), select, textarea");
  const pressing = event.key === " " && event.target.matches("button, [type=checkbox], summary");
  if (typing || pressing || event.ctrlKey || event.metaKey || event.altKey) return;
  const scrolls = event.target.matches(".scroll") && /^(Arrow|Home|End)/.test(event.key);
  const act = keys[event.key] ?? keys[event.key.toLowerCase()];
  if (!act || scrolls) return;
  event.preventDefault();
  act(event);
});

for (const [id, act] of Object.entries({
  first: () => goTo(0), back: () => step(-1), play: () => play(!playing.on), forth: () => step(1), last: () => goTo(lastMoment),
  "previous-mark": () => toMark(-1), "next-mark": () => toMark(1), "to-violation": toViolation,
  "zoom-in": () => zoomBy(0.6), "zoom-out": () => zoomBy(1 / 0.6), fit: () => (axis.fit(), redraw()),
})) $(id).addEventListener("click", act);

$("slider").addEventListener("input", () => goTo(axis.moment((Number($("slider").value) / 100000) * axis.length)));
$("shorten").addEventListener("change", () => {
  axis.lay($("shorten").checked);
  axis.fit();
  drawnOverview = null;
  moved();
});
$("help").addEventListener("click", () => {
  $("keys").hidden = !$("keys").hidden;
  $("help").setAttribute("aria-expanded", String(!$("keys").hidden));
});
$("row-filter").addEventListener("input", refreshRows);
$("differing").addEventListener("change", refreshRows);
$("log-kind").addEventListener("change", buildLog);

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColours();
  drawnOverview = null;
  redraw();
});
new ResizeObserver(() => {
  measure();
  redraw();
}).observe(lanes.parentElement);

// ---- the start ----

/** Where to look first: where it went wrong, else where the faults end and the replicas still differ. */
function begin() {
  readColours();
  axis.lay(true);
  axis.fit();
  buildHeadline();
  buildChips();
  buildRows();
  buildHistory();
  measure();
  buildLog();
  const wanted = readAddress();
  if (picked.row < 0 && rowOrder.length) {
    const named = (head.what ?? "").split(/\s+/).map((word) => rowNumbers.get(word)).find((row) => row !== undefined);
    picked.row = named ?? rowOrder.find((row) => versionsOf[row].length > 2) ?? rowOrder[0];
  }
  $("history-row").value = String(picked.row);
  $("history-view").value = String(picked.view);
  look.now = Number.isFinite(wanted) ? wanted : head.at >= 0 ? head.at : Math.min(head.safety_ms, lastMoment);
  refreshDetail();
  moved();
  draw();
}

begin();
