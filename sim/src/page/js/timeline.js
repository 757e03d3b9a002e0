// The lanes and the overview, drawn on canvas.

const lanes = $("lanes");
const overview = $("overview");
const AXIS = 30;

const look = {
  now: 0,
  chosen: null,
  hidden: new Set(),
  hiddenKinds: new Set(),
  onlyOdd: false,
  showLinks: false,
  showCommits: true,
};

/** Colours, as the style sheet has them at the moment. */
let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  colours = Object.fromEntries(["back", "panel", "sunken", "ink", "muted", "line", "strong", "accent", "fail", "pass", "warn",
    "life", "life-edge", "down", "risk", "cursor", "partly", "side-0", "side-1", "side-2", "side-3"].map((name) => [name, of(name)]));
  colours.kinds = run.frame_kinds.map((kind) => of(`k-${kind}`) || of("ink"));
  colours.sans = of("sans");
}

/** Sizes of the lanes. */
const size = { width: 800, height: 300, lane: 52, ratio: 1 };
const visibleReplicas = () => replicas.map((_, index) => index).filter((index) => !look.hidden.has(index));
let laneOf = [];

function measure() {
  const shown = visibleReplicas();
  laneOf = replicas.map((_, index) => shown.indexOf(index));
  size.lane = shown.length <= 4 ? 76 : shown.length <= 7 ? 62 : shown.length <= 10 ? 56 : 50;
  size.width = Math.max(200, lanes.parentElement.clientWidth);
  size.height = AXIS + Math.max(1, shown.length) * size.lane + 12;
  size.ratio = Math.min(devicePixelRatio || 1, 2);
  for (const [canvas, width, height] of [[lanes, size.width, size.height],
    [overview, overview.parentElement.clientWidth, overview.parentElement.clientHeight]]) {
    canvas.width = Math.round(width * size.ratio);
    canvas.height = Math.round(height * size.ratio);
    if (canvas === lanes) canvas.style.height = `${height}px`;
  }
  drawnOverview = null;
  drawLabels();
}

const laneY = (replica) => AXIS + laneOf[replica] * size.lane + size.lane / 2;
const xOfPlace = (place) => ((place - axis.view.from) / (axis.view.to - axis.view.from)) * size.width;
const xOf = (at) => xOfPlace(axis.place(at));
const momentAt = (x) => axis.moment(axis.view.from + (x / size.width) * (axis.view.to - axis.view.from));

/** What was drawn where, for the pointer: `{x, y, radius, what}` for marks, segments for frames. */
let drawnMarks = [];
let drawnFrames = [];
let drawnBars = null;
/** Where text stands already, in rough squares, so that no text is written over another. */
let written = new Set();

/** Takes a place for a text; false if another has it. */
function claim(left, y, width) {
  const squares = [];
  for (let x = Math.floor(left / 12); x <= (left + width) / 12; x++) squares.push(`${x},${Math.round(y / 11)}`);
  if (squares.some((square) => written.has(square))) return false;
  for (const square of squares) written.add(square);
  return true;
}

const kindShown = (index) => !look.hiddenKinds.has(frames.kind[index]) && laneOf[frames.from[index]] >= 0 &&
  laneOf[frames.to[index]] >= 0 && (!look.onlyOdd || frames.odd[index] !== 0);

function draw() {
  const pen = lanes.getContext("2d");
  pen.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
  pen.clearRect(0, 0, size.width, size.height);
  drawnMarks = [];
  drawnFrames = [];
  drawnBars = null;
  written = new Set();
  const from = momentAt(0);
  const to = momentAt(size.width);
  drawTime(pen, from, to);
  drawCuts(pen, from, to);
  drawLives(pen, from, to);
  drawFrames(pen, from, to);
  drawMarks(pen, from, to);
  drawViolation(pen);
  drawCursor(pen);
  drawOverview();
}

function drawTime(pen, from, to) {
  pen.font = `12px ${colours.sans}`;
  pen.textBaseline = "middle";
  for (const quiet of axis.quietTimes()) {
    const [left, right] = [xOfPlace(quiet.from), xOfPlace(quiet.to)];
    if (right < 0 || left > size.width || right - left < 2) continue;
    pen.fillStyle = colours.sunken;
    pen.fillRect(left, AXIS, right - left, size.height - AXIS);
    pen.fillStyle = colours.muted;
    pen.textAlign = "center";
    const label = `${seconds(quiet.lasts, 0)} quiet`;
    if (pen.measureText(label).width < right - left - 8) pen.fillText(label, (left + right) / 2, size.height - 8);
  }
  // Marks of the axis for each stretch between shortened times, where there is room.
  pen.textAlign = "center";
  let free = -Infinity;
  const { list, step } = ticks(from, to, size.width / 110);
  const digits = step >= 1000 ? 0 : step >= 100 ? 1 : step >= 10 ? 2 : 3;
  const marksOf = list.length < 400 ? list : [];
  const bent = axis.quietTimes().some((quiet) => quiet.to > axis.view.from && quiet.from < axis.view.to);
  const inner = bent ? axisTicks(from, to) : [];
  for (const at of [...marksOf, ...inner].sort((a, b) => a - b)) {
    const x = xOf(at);
    if (x < free || x < 20 || x > size.width - 20) continue;
    pen.strokeStyle = colours.line;
    pen.beginPath();
    pen.moveTo(x + 0.5, AXIS - 6);
    pen.lineTo(x + 0.5, size.height);
    pen.stroke();
    const label = seconds(at, inner.includes(at) && !list.includes(at) ? 1 : digits);
    pen.fillStyle = colours.muted;
    pen.fillText(label, x, AXIS / 2 - 1);
    free = x + Math.max(pen.measureText(label).width + 22, 60);
  }
}

/** Where time is shortened, the marks of equal distance are too far apart or too close: some more. */
function axisTicks(from, to) {
  const found = [];
  const wanted = Math.max(2, Math.floor(size.width / 140));
  for (let index = 0; index <= wanted; index++) {
    const exact = momentAt((index / wanted) * size.width);
    const here = momentAt(((index + 0.5) / wanted) * size.width);
    const span = Math.max(here - exact, 1);
    const power = 10 ** Math.floor(Math.log10(Math.max(span, 1)));
    const rounded = Math.round(exact / power) * power;
    if (rounded > from && rounded < to) found.push(rounded);
  }
  return found;
}

function drawCuts(pen, from, to) {
  for (const cut of cuts) {
    if (cut.to < from || cut.from > to) continue;
    const [left, right] = [Math.max(xOf(cut.from), -5), Math.min(xOf(cut.to), size.width + 5)];
    for (const replica of visibleReplicas()) {
      const touched = cut.pairs.some(([one, other]) => one === replica || other === replica);
      if (!touched) continue;
      pen.fillStyle = cut.sides.count > 1 ? colours[`side-${cut.sides.of[replica] % 4}`] : colours.partly;
      const top = laneY(replica) - size.lane / 2 + 1;
      pen.fillRect(left, top, Math.max(right - left, 2), size.lane - 2);
      const others = [...new Set(cut.pairs.flatMap(([one, other]) => one === replica ? [other] : other === replica ? [one] : []))];
      const label = `✂ ${others.map((other) => replicas[other]).join(" ")}`;
      pen.font = `11px ${colours.sans}`;
      pen.textAlign = "left";
      pen.fillStyle = colours.warn;
      const place = Math.max(left, 0) + 5;
      const width = pen.measureText(label).width;
      if (width < right - place - 4 && claim(place, top + 9, width)) pen.fillText(label, place, top + 9);
    }
  }
}

function drawLives(pen, from, to) {
  for (const replica of visibleReplicas()) {
    const y = laneY(replica);
    pen.strokeStyle = colours.down;
    pen.setLineDash([2, 5]);
    pen.beginPath();
    pen.moveTo(Math.max(0, xOf(0)), y);
    pen.lineTo(Math.min(size.width, xOf(lastMoment)), y);
    pen.stroke();
    pen.setLineDash([]);
    for (const span of lives[replica]) {
      if (span.to < from || span.from > to) continue;
      const [left, right] = [Math.max(xOf(span.from), -8), Math.min(xOf(span.to), size.width + 8)];
      pen.fillStyle = colours.life;
      pen.strokeStyle = colours["life-edge"];
      pen.beginPath();
      pen.roundRect(left, y - 5, Math.max(right - left, 1), 10, 4);
      pen.fill();
      pen.stroke();
    }
  }
  pen.fillStyle = colours.risk;
  for (const risk of risks) {
    if (risk.to < from || risk.from > to || laneOf[risk.replica] < 0) continue;
    const [left, right] = [Math.max(xOf(risk.from), 0), Math.min(xOf(risk.to), size.width)];
    pen.fillRect(left, laneY(risk.replica) + 2, Math.max(right - left, 1), 3);
  }
}

// ---- frames ----

function drawFrames(pen, from, to) {
  const last = after(frames.count, to, (index) => frames.sent[index]);
  const first = after(frames.count, from - 1e-9, (index) => frames.reach[index]);
  const visible = [];
  for (let index = first; index < last; index++) {
    if (frames.end[index] >= from && kindShown(index)) visible.push(index);
  }
  const note = $("note");
  if (visible.length > size.width * 2) {
    drawBars(pen, visible);
    note.textContent = `${grouped(visible.length)} frames are in view: too many to draw one by one. Bars above a lane are frames it sent, ` +
      `red ones below are those that never arrived. Zoom in to see each.`;
  } else {
    drawArrows(pen, visible);
    note.textContent = leftOut() + (visible.length ? `${grouped(visible.length)} frames in view. ` : "No frames in view. ") +
      "Dashed and ended by a cross: lost. Dotted: late. Double: came twice. Amber under a lane: not durable yet.";
  }
}

function leftOut() {
  const { frames: more, events: others, texts } = kept.left_out;
  if (!more && !others && !texts) return "";
  return `The run was too long for a page: ${grouped(more)} frames, ${grouped(others)} events and ${grouped(texts)} texts are left out. `;
}

function drawArrows(pen, visible) {
  const roomy = visible.length < size.width / 6;
  const crowded = visible.length > size.width / 2;
  pen.globalAlpha = crowded ? 0.5 : 0.85;
  for (const index of visible) drawFrame(pen, index, roomy, crowded);
  pen.globalAlpha = 1;
  if (look.chosen?.frame !== undefined && kindShown(look.chosen.frame)) drawFrame(pen, look.chosen.frame, true, false, true);
}

function drawFrame(pen, index, roomy, crowded, chosen = false) {
  const odd = frames.odd[index];
  const lost = isLost(odd);
  const [fromY, toY] = [laneY(frames.from[index]), laneY(frames.to[index])];
  const sign = Math.sign(toY - fromY) || 1;
  const [x0, y0] = [xOf(frames.sent[index]), fromY + sign * 6];
  let [x1, y1] = [xOf(frames.end[index]), toY - sign * 6];
  if (lost) {
    x1 = x0 + (x1 - x0) * 0.55;
    y1 = y0 + (y1 - y0) * 0.55;
  }
  pen.strokeStyle = pen.fillStyle = lost ? colours.fail : colours.kinds[frames.kind[index]];
  pen.lineWidth = chosen ? 4 : crowded ? 1 : 1.6;
  pen.setLineDash(lost ? [5, 4] : odd === 3 ? [1.5, 3.5] : []);
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
  if (odd === 4) {
    const again = xOf(kept.frames[index][8][1][0]);
    pen.beginPath();
    pen.moveTo(x0 + 2, y0);
    pen.lineTo(again, y1);
    pen.stroke();
    if (!crowded) drawHead(pen, x0, y0, again, y1);
  }
  pen.setLineDash([]);
  if (lost) {
    pen.lineWidth = chosen ? 3 : 1.8;
    const r = crowded ? 2.5 : 4;
    pen.beginPath();
    pen.moveTo(x1 - r, y1 - r);
    pen.lineTo(x1 + r, y1 + r);
    pen.moveTo(x1 + r, y1 - r);
    pen.lineTo(x1 - r, y1 + r);
    pen.stroke();
  } else if (!crowded) {
    drawHead(pen, x0, y0, x1, y1);
  }
  if (roomy && Math.hypot(x1 - x0, y1 - y0) > 46) {
    pen.font = `11px ${colours.sans}`;
    pen.textAlign = "left";
    const label = run.frame_kinds[frames.kind[index]];
    const [x, y] = [x0 + (x1 - x0) * 0.42 + 5, y0 + (y1 - y0) * 0.42];
    if (claim(x, y, pen.measureText(label).width)) {
      pen.lineWidth = 3;
      pen.strokeStyle = colours.panel;
      pen.strokeText(label, x, y);
      pen.fillText(label, x, y);
    }
  }
  pen.lineWidth = 1;
  if (!chosen) drawnFrames.push({ x0, y0, x1, y1, frame: index });
}

function drawHead(pen, x0, y0, x1, y1) {
  const turn = Math.atan2(y1 - y0, x1 - x0);
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x1 - 7 * Math.cos(turn - 0.42), y1 - 7 * Math.sin(turn - 0.42));
  pen.lineTo(x1 - 7 * Math.cos(turn + 0.42), y1 - 7 * Math.sin(turn + 0.42));
  pen.fill();
}

/** Too many frames for arrows: how many each replica sent, by kind, and how many never arrived. */
function drawBars(pen, visible) {
  const width = 5;
  const columns = Math.ceil(size.width / width);
  const kinds = run.frame_kinds.length;
  const sent = replicas.map(() => new Uint32Array(columns * kinds));
  const lost = replicas.map(() => new Uint32Array(columns));
  let most = 1;
  for (const index of visible) {
    const column = Math.floor(xOf(frames.sent[index]) / width);
    if (column < 0 || column >= columns) continue;
    const replica = frames.from[index];
    sent[replica][column * kinds + frames.kind[index]] += 1;
    if (isLost(frames.odd[index])) lost[replica][column] += 1;
  }
  for (const counts of sent) {
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let kind = 0; kind < kinds; kind++) sum += counts[column * kinds + kind];
      most = Math.max(most, sum);
    }
  }
  const room = size.lane / 2 - 9;
  for (const replica of visibleReplicas()) {
    const y = laneY(replica);
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let kind = 0; kind < kinds; kind++) sum += sent[replica][column * kinds + kind];
      if (!sum) continue;
      const height = Math.max(2, room * (Math.log1p(sum) / Math.log1p(most)));
      let top = y - 7;
      for (let kind = 0; kind < kinds; kind++) {
        const part = (sent[replica][column * kinds + kind] / sum) * height;
        pen.fillStyle = colours.kinds[kind];
        pen.fillRect(column * width, top - part, width - 1, part);
        top -= part;
      }
      const failed = lost[replica][column];
      if (failed) {
        pen.fillStyle = colours.fail;
        pen.fillRect(column * width, y + 7, width - 1, Math.max(2, room * (Math.log1p(failed) / Math.log1p(most))));
      }
    }
  }
  drawnBars = { width, sent, lost, kinds };
}

// ---- marks of events ----

const MARK = {
  command: ["●", "ink"], refused: ["○", "warn"], commit: ["|", "muted"], durable: ["", "muted"], start: ["▶", "pass"],
  crash: ["✖", "fail"], stop: ["■", "muted"], notice: ["◆", "accent"], "link-up": ["△", "muted"], "link-down": ["▽", "muted"],
  "no-answer": ["?", "warn"],
};

function markShown(event) {
  const name = run.event_kinds[event.kind];
  if (event.replica < 0 || laneOf[event.replica] < 0 || !MARK[name]) return null;
  if (name.startsWith("link") || name === "no-answer") return look.showLinks ? name : null;
  if (name === "commit" || name === "durable") return look.showCommits ? name : null;
  return name;
}

function drawMarks(pen, from, to) {
  pen.textAlign = "center";
  const first = after(events.length, from - 1e-9, (index) => events[index].at);
  const last = after(events.length, to, (index) => events[index].at);
  const many = last - first > size.width;
  const taken = new Set();
  for (let index = first; index < last; index++) {
    const event = events[index];
    const name = markShown(event);
    if (!name || (many && (name === "commit" || name.startsWith("link")))) continue;
    const [glyph, colour] = MARK[name];
    const [x, y] = [xOf(event.at), laneY(event.replica)];
    // Of marks at one place the first is drawn; all of them can be stepped through in the list.
    const spot = `${event.replica} ${Math.round(x / 3)} ${glyph}`;
    if (!glyph || taken.has(spot)) continue;
    taken.add(spot);
    const chosen = look.chosen?.event === index;
    const above = name.startsWith("link") || name === "no-answer" || name === "notice";
    const at = above ? y - 13 : y;
    pen.font = `${name === "crash" ? 17 : name === "commit" ? 10 : 13}px ${colours.sans}`;
    pen.fillStyle = colours[colour];
    if (name === "crash" || name === "start") {
      pen.strokeStyle = colours.panel;
      pen.lineWidth = 3;
      pen.strokeText(glyph, x, at);
      pen.lineWidth = 1;
    }
    pen.fillText(glyph, x, at);
    if (chosen) {
      pen.strokeStyle = colours.accent;
      pen.lineWidth = 2.5;
      pen.beginPath();
      pen.arc(x, at, 10, 0, 7);
      pen.stroke();
      pen.lineWidth = 1;
    }
    drawnMarks.push({ x, y: at, event: index });
  }
}

function drawViolation(pen) {
  vertical(pen, head.safety_ms, colours.pass, [6, 4], "faults end");
  if (head.at < 0) return;
  const x = xOf(head.at);
  vertical(pen, head.at, colours.fail, [], `⚑ ${head.rule}`);
  for (const replica of head.replicas) {
    if (!(laneOf[replica] >= 0)) continue;
    pen.strokeStyle = colours.fail;
    pen.lineWidth = 2.5;
    pen.beginPath();
    pen.arc(x, laneY(replica), 11, 0, 7);
    pen.stroke();
    pen.lineWidth = 1;
  }
}

function vertical(pen, at, colour, dash, label) {
  const x = xOf(at);
  if (x < -60 || x > size.width + 60) return;
  pen.strokeStyle = pen.fillStyle = colour;
  pen.setLineDash(dash);
  pen.lineWidth = dash.length ? 1.5 : 2;
  pen.beginPath();
  pen.moveTo(x, AXIS - 4);
  pen.lineTo(x, size.height);
  pen.stroke();
  pen.setLineDash([]);
  pen.lineWidth = 1;
  pen.font = `600 11px ${colours.sans}`;
  const width = pen.measureText(label).width;
  const left = Math.min(Math.max(x, width / 2 + 6), size.width - width / 2 - 6);
  pen.fillStyle = colours.panel;
  pen.fillRect(left - width / 2 - 4, AXIS - 8, width + 8, 14);
  pen.fillStyle = colour;
  pen.textAlign = "center";
  pen.fillText(label, left, AXIS);
}

function drawCursor(pen) {
  const x = xOf(look.now);
  pen.strokeStyle = pen.fillStyle = colours.cursor;
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.moveTo(x, 6);
  pen.lineTo(x, size.height);
  pen.stroke();
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(x - 6, 0);
  pen.lineTo(x + 6, 0);
  pen.lineTo(x, 9);
  pen.fill();
}
