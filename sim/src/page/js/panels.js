// The panels under the lanes: rows side by side, what is held, details, and the list of events.

// ---- rows ----

/** The picked row, and by whom it is looked at: −1 is everything that was written. */
const picked = { row: -1, view: -1 };
const rowCells = new Map();

function buildRows() {
  const table = make("table", { class: "grid" });
  const headings = replicas.map((name) => make("th", { scope: "col" }, name));
  table.append(make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "row"), ...headings)));
  const body = make("tbody");
  for (const row of rowOrder) {
    const button = make("button", { type: "button", class: "link", onclick: () => pick(row, -1), title: "Its history" }, rowNames[row]);
    const cells = replicas.map((name, replica) => make("td", { onclick: () => pick(row, replica) }));
    const line = make("tr", {}, make("th", { scope: "row" }, button), ...cells);
    rowCells.set(row, { line, cells, shown: replicas.map(() => null) });
    body.append(line);
  }
  table.append(body);
  $("rows").replaceChildren(rowOrder.length ? table : make("p", { class: "empty" }, "Nobody wrote a row."));
  rowCells.headings = headings;
}

function refreshRows() {
  const at = look.now;
  const up = replicas.map((_, replica) => Boolean(lifeAt(replica, at)));
  rowCells.headings?.forEach((heading, replica) => {
    heading.classList.toggle("down", !up[replica]);
    heading.hidden = look.hidden.has(replica);
    heading.textContent = up[replica] ? replicas[replica] : `${replicas[replica]} (down)`;
  });
  const wanted = $("row-filter").value.trim().toLowerCase();
  const only = $("differing").checked;
  const states = statesAt(at);
  for (const [row, { line, cells, shown }] of rowCells) {
    const inside = (replica) => !isOutside(states[kept.rows[row][0]][replica]);
    const seen = replicas.map((_, replica) => shownAt(replica, row, at));
    const values = seen.map((entry) => (entry ? entry.value : null));
    const known = values.filter((value, replica) => value !== null && !look.hidden.has(replica));
    const told = values.filter((value, replica) => value !== null && !look.hidden.has(replica) && inside(replica));
    const differs = told.some((value) => value !== told[0]);
    const common = mostCommon(told);
    const others = [...new Set(told)].filter((value) => value !== common);
    line.classList.toggle("differs", differs);
    line.classList.toggle("picked", picked.row === row);
    const matches = rowNames[row].toLowerCase().includes(wanted);
    line.hidden = !matches || (only && !differs) || (known.length === 0 && !(versionsOf[row][0]?.at <= at));
    if (line.hidden) continue;
    for (let replica = 0; replica < replicas.length; replica++) {
      const tint = differs && seen[replica] && inside(replica) ? others.indexOf(values[replica]) : -1;
      const fresh = seen[replica] && lastChange(replica, row, at);
      const key = `${JSON.stringify(seen[replica])} ${tint} ${up[replica]} ${fresh} ${look.hidden.has(replica)} ${inside(replica)}`;
      if (shown[replica] === key) continue;
      shown[replica] = key;
      fillCell(cells[replica], seen[replica], tint, up[replica], fresh);
      cells[replica].classList.toggle("outside", !inside(replica));
      cells[replica].hidden = look.hidden.has(replica);
    }
  }
}

/** Whether what is shown changed at this very moment. */
function lastChange(replica, row, at) {
  const list = shownBy[replica].get(row);
  const index = after(list.length, at, (entry) => list[entry].at) - 1;
  return index >= 0 && list[index].at === Math.round(at);
}

function fillCell(cell, seen, tint, up, fresh) {
  cell.className = [tint >= 0 ? `d-${tint % 5}` : "", up ? "" : "down", fresh ? "fresh" : ""].join(" ").trim();
  if (!seen) {
    cell.replaceChildren("·");
    cell.classList.add("none");
    cell.title = "never heard of";
    return;
  }
  const { value, conflict, heads } = seen;
  const gone = value === DELETION;
  cell.classList.toggle("gone", gone);
  if (gone) {
    cell.replaceChildren("deleted");
  } else {
    const { word, bytes } = firstWord(value);
    cell.replaceChildren(word || "“”", " ", make("small", {}, String(bytes)));
  }
  if (conflict || (gone && heads.length > 1)) cell.append(make("span", { class: "flag", title: "heads" }, `⚑${heads.length}`));
  cell.title = `readers see: ${valueName(value)}\n${heads.map(([by, number, what]) => `head ${versionName(by, number)}: ${valueName(what)}`).join("\n")}`;
}

function mostCommon(list) {
  const counts = new Map();
  for (const one of list) counts.set(one, (counts.get(one) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}

// ---- what is held ----

function refreshHeld() {
  const held = heldAt(look.now);
  const states = statesAt(look.now);
  const shown = visibleReplicas();
  const figures = run.groups.map((name, group) => {
    const authors = [...held[group].keys()].sort((a, b) => authorName(a).localeCompare(authorName(b), "en", { numeric: true }));
    if (!authors.length && states[group].every((state) => !state)) return null;
    const heading = make("tr", {}, make("th", { scope: "col" }, "log of"), ...shown.map((replica) => make("th", { scope: "col" }, replicas[replica])));
    const state = make("tr", { class: "state" }, make("th", { scope: "row" }, ""), ...shown.map((replica) => make("td", {}, states[group][replica] || "–")));
    const lines = authors.map((author) => {
      const row = held[group].get(author);
      const most = Math.max(...row);
      return make("tr", {}, make("th", { scope: "row" }, authorName(author)), ...shown.map((replica) => {
        const here = states[group][replica] !== "";
        const behind = !isOutside(states[group][replica]) && row[replica] < most;
        const cell = make("td", { class: behind ? "behind" : "" }, here ? String(row[replica]) : "–");
        if (behind) cell.append(make("small", {}, ` ${MINUS}${most - row[replica]}`));
        return cell;
      }));
    });
    return make("figure", {}, make("figcaption", {}, name),
      make("table", { class: "grid" }, make("thead", {}, heading), make("tbody", {}, state, ...lines)));
  }).filter(Boolean);
  $("held").replaceChildren(...(figures.length ? figures : [make("p", { class: "empty" }, "There is no syncgroup yet.")]));
}

// ---- details ----

/** Chooses a frame, an event or a replica to be told of; null lets go. */
function choose(what) {
  look.chosen = what;
  refreshDetail();
  refreshLog(what?.event !== undefined);
  draw();
}

function refreshDetail() {
  const what = look.chosen;
  const parts = !what ? welcome() : what.frame !== undefined ? frameDetail(what.frame)
    : what.event !== undefined ? eventDetail(what.event) : replicaDetail(what.replica);
  $("detail").replaceChildren(...parts);
}

function welcome() {
  if (head.at < 0) {
    return [make("p", { class: "muted" }, "Click a frame, a mark or the name of a replica to see what it is. Move the slider, or step with the arrow keys.")];
  }
  return [make("h3", { class: "bad" }, `⚑ ${head.rule}, by the oracle “${head.oracle}”`),
    facts([["when", seconds(head.at)], ["at", head.replicas.map((replica) => replicas[replica]).join(", ") || "the whole run"]]),
    make("div", { class: "actions" }, make("button", { type: "button", onclick: toViolation }, "Show the moment")),
    make("ul", {}, ...lines(head.what)),
    ...(head.original !== head.what ? [make("p", { class: "muted mono" }, head.original)] : [])];
}

const facts = (list) => make("dl", {}, ...list.filter(([, value]) => value !== "")
  .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));

/** Lines of text, with the rows that they name to be picked. */
function lines(text) {
  return text.split("\n").map((line) => {
    const item = make("li");
    for (const word of line.split(/(\s+)/)) {
      const row = rowNumbers.get(word);
      item.append(row === undefined ? word : make("button", { type: "button", class: "link", onclick: () => pick(row, -1) }, word));
    }
    return item;
  });
}

const jump = (label, at) => make("button", { type: "button", onclick: () => goTo(at) }, label);

function frameDetail(index) {
  const [sent, from, to, kind, group, bytes, text, , arrivals] = kept.frames[index];
  const odd = frames.odd[index];
  const arrived = arrivals.filter(([, how]) => how === 1 || how === 2).map(([at]) => `${seconds(at)}, after ${grouped(at - sent)} ms`);
  return [make("h3", {}, `${run.frame_kinds[kind]} from ${replicas[from]} to ${replicas[to]}`),
    facts([["sent", seconds(sent)], ["arrived", arrived.join("; ")],
      ["note", odd ? make("span", { class: isLost(odd) ? "bad" : "warned" }, ODD[odd]) : ""],
      ["about", group >= 0 ? run.groups[group] : ""], ["size", `${grouped(bytes)} bytes`]]),
    make("div", { class: "actions" }, jump("To its sending", sent), ...(arrived.length ? [jump("To its arrival", frames.end[index])] : []),
      neighbour(index, -1), neighbour(index, 1)),
    ...(text >= 0 ? [make("ul", {}, ...lines(textOf(text)))] : [])];
}

/** The frame between the same two replicas before or after this one. */
function neighbour(index, step) {
  let other = index + step;
  const same = () => frames.from[other] === frames.from[index] && frames.to[other] === frames.to[index];
  while (other >= 0 && other < frames.count && !same()) other += step;
  const found = other >= 0 && other < frames.count;
  return make("button", { type: "button", disabled: !found, onclick: () => {
    choose({ frame: other });
    bringIntoView(frames.sent[other]);
  } }, step < 0 ? "◀ between the two" : "between the two ▶");
}

function eventDetail(index) {
  const event = events[index];
  const name = run.event_kinds[event.kind];
  return [make("h3", { class: name === "crash" ? "bad" : "" }, `${replicas[event.replica] ?? "everywhere"}: ${name}`),
    facts([["when", seconds(event.at)]]),
    make("div", { class: "actions" }, jump("To this moment", event.at),
      ...(event.replica >= 0 ? [make("button", { type: "button", onclick: () => choose({ replica: event.replica }) }, `All of ${replicas[event.replica]}`)] : [])),
    make("ul", {}, ...lines(textOf(event.text)))];
}

function replicaDetail(replica) {
  const at = look.now;
  const life = lifeAt(replica, at);
  const links = linksAt(replica, at).map(([, , peer]) => replicas[peer]);
  const now = cutAt(at);
  const away = now ? [...new Set(now.pairs.flatMap(([one, other]) => one === replica ? [`to ${replicas[other]}`] : other === replica ? [`from ${replicas[one]}`] : []))] : [];
  const held = heldAt(at);
  const states = statesAt(at);
  const risk = risks.find((span) => span.replica === replica && span.from <= at && at < span.to);
  const groups = run.groups.flatMap((name, group) => {
    if (!states[group][replica]) return [];
    const vector = [...held[group]].filter(([, row]) => row[replica] > 0).map(([author, row]) => versionName(author, row[replica]));
    return [`${name}: ${states[group][replica]}`, `  ${vector.join(" ") || "holds nothing"}`];
  });
  const starts = lives[replica].filter((span) => span.from <= at).length;
  return [make("h3", {}, `${replicas[replica]} at ${seconds(at)}`),
    facts([["process", life ? `runs since ${seconds(life.from)}, started ${starts} ×` : make("span", { class: "bad" }, "is down")],
      ["links to", life ? links.join(", ") || "nobody" : ""],
      ["cut off", away.length ? make("span", { class: "warned" }, away.join(", ")) : ""],
      ["disk", life ? (risk ? make("span", { class: "warned" }, `not all durable since ${seconds(risk.from)}`) : "everything is durable") : ""]]),
    make("ul", {}, ...(groups.length ? lines(groups.join("\n")) : [make("li", {}, "in no syncgroup")]))];
}

// ---- the list of events ----

const ENTRY = 28;
let listed = [];
const GLYPH = { command: "●", refused: "○", reply: "✓", commit: "▪", durable: "▣", start: "▶", crash: "✖", stop: "■", notice: "◆",
  step: "›", healed: "✚", "link-up": "△", "link-down": "▽", "no-answer": "?", found: "◎", "out-of-sight": "◌" };

function buildLog() {
  const all = $("log-kind").value === "all";
  listed = events.filter((event) => (all || isImportant(event)) && (event.replica < 0 || !look.hidden.has(event.replica)));
  const space = make("div", { class: "space" });
  space.style.height = `${Math.max(1, listed.length) * ENTRY}px`;
  $("log").replaceChildren(space);
  refreshLog(false);
}

/** Where in the list now is: the last entry that is not ahead of it. */
const listedNow = () => after(listed.length, look.now, (index) => listed[index].at) - 1;

function refreshLog(toChosen) {
  const log = $("log");
  const space = log.firstElementChild;
  if (!space) return;
  const target = toChosen ? listed.findIndex((event) => event.index === look.chosen?.event) : listedNow();
  if (target >= 0 && !log.matches(":hover")) {
    const [top, bottom] = [target * ENTRY, (target + 1) * ENTRY];
    if (top < log.scrollTop + ENTRY || bottom > log.scrollTop + log.clientHeight - ENTRY) {
      log.scrollTop = top - log.clientHeight / 2;
    }
  }
  paintLog();
}

function paintLog() {
  const log = $("log");
  const space = log.firstElementChild;
  const now = listedNow();
  const first = Math.max(0, Math.floor(log.scrollTop / ENTRY) - 3);
  const last = Math.min(listed.length, first + Math.ceil((log.clientHeight || 420) / ENTRY) + 6);
  const entries = [];
  for (let index = first; index < last; index++) {
    const event = listed[index];
    const name = run.event_kinds[event.kind];
    const entry = make("div", { class: "entry", role: "option", id: `entry-${event.index}`, "aria-selected": String(look.chosen?.event === event.index),
      "aria-posinset": String(index + 1), "aria-setsize": String(listed.length), onclick: () => chooseListed(index) },
      make("time", {}, seconds(event.at)), make("span", { class: "mono" }, replicas[event.replica] ?? ""),
      make("span", { "aria-label": name, title: name }, GLYPH[name] ?? "·"), make("span", {}, textOf(event.text).split("\n").join(" · ")));
    entry.style.top = `${index * ENTRY}px`;
    entry.classList.toggle("past", index <= now);
    entry.classList.toggle("now", index === now);
    entry.classList.toggle("chosen", look.chosen?.event === event.index);
    entry.classList.toggle("bad", name === "crash");
    entries.push(entry);
  }
  space.replaceChildren(...entries);
}

function chooseListed(index) {
  if (index < 0 || index >= listed.length) return;
  look.now = listed[index].at;
  choose({ event: listed[index].index });
  bringIntoView(look.now);
  moved();
  $("log").setAttribute("aria-activedescendant", `entry-${listed[index].index}`);
}

$("log").addEventListener("scroll", paintLog, { passive: true });
$("log").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12 }[event.key];
  if (!step) return;
  event.preventDefault();
  event.stopPropagation();
  const chosen = listed.findIndex((entry) => entry.index === look.chosen?.event);
  chooseListed(Math.max(0, Math.min(listed.length - 1, (chosen >= 0 ? chosen : listedNow()) + step)));
  refreshLog(true);
});
