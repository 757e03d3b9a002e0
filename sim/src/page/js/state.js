// What was so at a moment: what replicas held and showed, and who was there.

/** For each replica and row, what was shown when. */
const shownBy = replicas.map(() => new Map());
for (const [at, replica, row, value, conflict, heads] of kept.shown) {
  const list = shownBy[replica].get(row);
  if (list) list.push({ at, value, conflict, heads });
  else shownBy[replica].set(row, [{ at, value, conflict, heads }]);
}

/** What readers of a replica saw of a row: its value, its heads, the last one first; null before anything was
 *  known of it. */
function shownAt(replica, row, at) {
  const list = shownBy[replica].get(row);
  if (!list) return null;
  const index = after(list.length, at, (entry) => list[entry].at) - 1;
  return index < 0 || list[index].heads.length === 0 ? null : list[index];
}

/** What each replica held of each author in each syncgroup: `held[group][author][replica]`. */
function heldAt(at) {
  const held = run.groups.map(() => new Map());
  for (const [when, replica, group, author, generation] of kept.held) {
    if (when > at) break;
    let row = held[group].get(author);
    if (!row) held[group].set(author, (row = replicas.map(() => 0)));
    row[replica] = generation;
  }
  return held;
}

/** How far each replica was in each syncgroup: `states[group][replica]`. */
function statesAt(at) {
  const states = run.groups.map(() => replicas.map(() => ""));
  for (const [when, replica, group, text] of kept.states) {
    if (when > at) break;
    states[group][replica] = textOf(text);
  }
  return states;
}

/** Whether a replica in this state is outside of the syncgroup: what it shows may be old for ever. */
const isOutside = (state) => state === "" || state.startsWith("has left") || state.startsWith("was refused");

const linksAt = (replica, at) =>
  kept.links.filter(([, of, , up, down]) => of === replica && up <= at && (down < 0 || at < down));

const cutAt = (at) => cuts.find((cut) => cut.from <= at && at < cut.to);

/** The versions of each row, in the order in which they were written. */
const versionsOf = rowNames.map(() => []);
for (const [at, , , author, generation, text, wall, counter, changes] of kept.generations) {
  for (const [row, value, parents] of changes) {
    versionsOf[row].push({ at, author, generation, text, wall, counter, value, parents });
  }
}

/** The versions of a row that had been written by a moment. One that was lost in a crash gives way to the one
 *  that was written under its number later. */
function versionsAt(row, at) {
  const byName = new Map();
  for (const version of versionsOf[row]) {
    if (version.at > at) break;
    byName.set(versionName(version.author, version.generation), version);
  }
  return byName;
}

/** In place of a value. */
const DELETION = -1;
const OPERATION = -2;

const firstWord = (value) => {
  const [text, bytes] = kept.values[value];
  const word = text.split(/\s/)[0];
  return { text, bytes, word: word.length > 11 ? `${word.slice(0, 10)}…` : word };
};
const valueName = (value) => {
  if (value === DELETION) return "deleted";
  if (value === OPERATION) return "an operation";
  const { text, bytes } = firstWord(value);
  return `“${text}” of ${bytes} bytes`;
};

/** Moments worth jumping to: faults, and where the rule was broken. */
const marks = (() => {
  const faults = new Set(["crash", "stop", "healed"].map(eventKind));
  const found = events.filter((event) => faults.has(event.kind)).map((event) => event.at);
  for (const cut of cuts) found.push(cut.from, cut.to);
  if (head.at >= 0) found.push(head.at);
  return [...new Set(found)].filter((at) => at < lastMoment || at === head.at).sort((a, b) => a - b);
})();

/** Steps of a plan that show as what people ask for. */
const ASKED = /^step \d+: (create|add-collection|invite|join|leave|write|shutdown|restart)\n/;
const IMPORTANT = new Set(["command", "refused", "notice", "start", "crash", "stop", "healed"].map(eventKind));
const isImportant = (event) =>
  IMPORTANT.has(event.kind) || (event.kind === eventKind("step") && !ASKED.test(`${textOf(event.text)}\n`));
