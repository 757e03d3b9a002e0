// The history of a row as a graph: its versions by author over time, and which builds on which.

const NODE = { width: 92, height: 38, gap: 34, lane: 58, left: 10, top: 14, names: 54 };
const MOST_VERSIONS = 300;

const svg = (tag, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

/** Picks a row, as held by a replica or, with −1, as written by anybody. */
function pick(row, view) {
  picked.row = row;
  picked.view = view;
  $("history-row").value = String(row);
  $("history-view").value = String(view);
  refreshRows();
  refreshHistory();
  noteAddress();
}

function buildHistory() {
  $("history-row").replaceChildren(...rowOrder.map((row) => make("option", { value: String(row) }, rowNames[row])));
  $("history-view").replaceChildren(make("option", { value: "-1" }, "anybody"),
    ...replicas.map((name, replica) => make("option", { value: String(replica) }, name)));
  $("history-row").addEventListener("change", () => pick(Number($("history-row").value), picked.view));
  $("history-view").addEventListener("change", () => pick(picked.row, Number($("history-view").value)));
}

function refreshHistory() {
  const box = $("history");
  if (picked.row < 0) {
    box.replaceChildren(make("p", { class: "empty" }, "Pick a row above to see its versions."));
    return;
  }
  const all = versionsAt(picked.row, look.now);
  const group = kept.rows[picked.row][0];
  const held = heldAt(look.now)[group];
  const has = (version) => picked.view < 0 || (held.get(version.author)?.[picked.view] ?? 0) >= version.generation;
  const graph = layOut([...all.values()].slice(-MOST_VERSIONS));
  const hidden = all.size - graph.versions.length;
  if (!graph.versions.length) {
    box.replaceChildren(make("p", { class: "empty" }, `Nobody has written ${rowNames[picked.row]} by ${seconds(look.now)}.`));
    return;
  }
  const [heads, shown] = headsOf(all, has);
  const width = NODE.left + graph.columns * (NODE.width + NODE.gap);
  const height = NODE.top * 2 + graph.authors.length * NODE.lane;
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `History of ${rowNames[picked.row]}` });
  const names = svg("svg", { class: "whos", width: NODE.names, height, "aria-hidden": "true" });
  graph.authors.forEach((author, lane) => {
    const y = NODE.top + lane * NODE.lane + NODE.height / 2;
    picture.append(svg("line", { class: "lane", x1: 0, x2: width, y1: y, y2: y }));
    names.append(svg("text", { class: "who", x: 12, y: y + 4 }, authorName(author)));
  });
  for (const version of graph.versions) {
    for (const parent of version.parents) {
      const from = graph.places.get(versionName(parent[0], parent[1]));
      if (from) picture.append(edge(from, graph.places.get(version.name), has(version)));
    }
  }
  for (const version of graph.versions) picture.append(node(version, graph.places.get(version.name), has(version), heads, shown));
  const end = picked.refreshed !== picked.row;
  picked.refreshed = picked.row;
  const keep = box.scrollLeft;
  box.replaceChildren(...(hidden > 0 ? [make("p", { class: "empty" }, `The first ${hidden} versions are not drawn.`)] : []), make("div", { class: "plot" }, names, picture));
  box.scrollLeft = end ? width + NODE.names : keep;
}

/** The heads from a point of view, and the shown one: as its readers saw it, or as follows from what is written. */
function headsOf(all, has) {
  const name = ([author, generation]) => versionName(author, generation);
  if (picked.view >= 0) {
    const seen = shownAt(picked.view, picked.row, look.now);
    if (!seen) return [new Set(), ""];
    // What a merging row shows is none of its versions alone.
    const [last] = seen.heads;
    return [new Set(seen.heads.map(name)), last[2] === seen.value ? name(last) : ""];
  }
  const superseded = new Set([...all.values()].filter(has).flatMap((version) => version.parents.map(name)));
  const heads = [...all].filter(([of]) => !superseded.has(of));
  const latest = heads.sort(([, a], [, b]) => b.wall - a.wall || b.counter - a.counter);
  return [new Set(heads.map(([of]) => of)), latest.length === 1 ? latest[0][0] : ""];
}

/** Places for versions: a lane for each author, a column behind those of all parents. */
function layOut(versions) {
  const authors = [...new Set(versions.map((version) => version.author))]
    .sort((a, b) => authorName(a).localeCompare(authorName(b), "en", { numeric: true }));
  const places = new Map();
  const free = new Map();
  let columns = 1;
  for (const version of versions) {
    version.name = versionName(version.author, version.generation);
    const behind = version.parents.map(([author, generation]) => places.get(versionName(author, generation))?.column ?? -1);
    const column = Math.max(free.get(version.author) ?? 0, ...behind.map((place) => place + 1));
    free.set(version.author, column + 1);
    columns = Math.max(columns, column + 1);
    places.set(version.name, { column, x: NODE.left + column * (NODE.width + NODE.gap), y: NODE.top + authors.indexOf(version.author) * NODE.lane });
  }
  return { versions, authors, places, columns };
}

function edge(from, to, live) {
  const [x0, y0, x1, y1] = [from.x + NODE.width, from.y + NODE.height / 2, to.x, to.y + NODE.height / 2];
  const bend = Math.max(18, (x1 - x0) / 2);
  const path = `M ${x0} ${y0} C ${x0 + bend} ${y0}, ${x1 - bend} ${y1}, ${x1 - 6} ${y1} l -4 -4 m 4 4 l -4 4`;
  return svg("path", { class: live ? "edge live" : "edge", d: path });
}

function node(version, place, present, heads, shown) {
  const kind = !present ? "absent" : version.name === shown ? "shown" : heads.has(version.name) ? "head" : "old";
  const value = version.value < 0 ? valueName(version.value) : `${firstWord(version.value).word} ${firstWord(version.value).bytes} B`;
  const told = `${version.name}, written at ${seconds(version.at)}, stamp +${version.counter}\n${version.value === OPERATION ? textOf(version.text) : valueName(version.value)}\n` +
    (version.parents.length ? `builds on ${version.parents.map(([author, generation]) => versionName(author, generation)).join(", ")}` : "builds on nothing");
  const open = () => chooseVersion(version);
  const element = svg("g", { class: `node ${kind}${version.value === DELETION ? " gone" : ""}`, tabindex: "0", role: "button", "aria-label": `${told}: ${kind}` },
    svg("title", {}, told),
    svg("rect", { x: place.x, y: place.y, width: NODE.width, height: NODE.height, rx: 7 }),
    svg("text", { x: place.x + 9, y: place.y + 16 }, version.name),
    svg("text", { class: "value", x: place.x + 9, y: place.y + 31 }, value));
  element.addEventListener("click", open);
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.stopPropagation();
    open();
  });
  return element;
}

/** Tells of the commit that brought a version into being. */
function chooseVersion(version) {
  const replica = run.authors[version.author][0];
  const commit = eventKind("commit");
  const first = after(events.length, version.at - 1, (index) => events[index].at);
  const index = events.findIndex((event, number) => number >= first && event.kind === commit && event.replica === replica);
  goTo(version.at);
  if (index >= 0) choose({ event: index });
}
