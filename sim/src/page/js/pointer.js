// The pointer over the lanes: what is under it, dragging, zooming.

const tip = $("tip");

/** What is drawn at a place: `{event}`, `{frame}`, `{bar}` or null. */
function under(x, y) {
  let best = null;
  let distance = 9;
  for (const mark of drawnMarks) {
    const away = Math.hypot(mark.x - x, mark.y - y);
    if (away < distance) [best, distance] = [{ event: mark.event }, away];
  }
  if (best) return best;
  distance = 6;
  for (const line of drawnFrames) {
    const away = toSegment(x, y, line);
    if (away < distance) [best, distance] = [{ frame: line.frame }, away];
  }
  return best ?? barUnder(x, y);
}

function toSegment(x, y, { x0, y0, x1, y1 }) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const along = Math.max(0, Math.min(1, ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - x0 - along * dx, y - y0 - along * dy);
}

function barUnder(x, y) {
  if (!drawnBars) return null;
  const replica = visibleReplicas().find((one) => Math.abs(laneY(one) - y) < size.lane / 2);
  const column = Math.floor(x / drawnBars.width);
  if (replica === undefined) return null;
  const parts = run.frame_kinds.map((kind, number) => [kind, drawnBars.sent[replica][column * drawnBars.kinds + number]])
    .filter(([, count]) => count > 0);
  return parts.length ? { bar: { replica, parts, lost: drawnBars.lost[replica][column] } } : null;
}

function tipText(what) {
  if (what.event !== undefined) {
    const event = events[what.event];
    return `${seconds(event.at)}  ${replicas[event.replica] ?? ""}\n${cut(textOf(event.text))}`;
  }
  if (what.frame !== undefined) {
    const [sent, from, to, kind, group, bytes, text] = kept.frames[what.frame];
    const about = group >= 0 ? ` about ${run.groups[group]}` : "";
    const odd = frames.odd[what.frame] ? `\n${ODD[frames.odd[what.frame]]}` : "";
    return `${seconds(sent)}  ${replicas[from]} → ${replicas[to]}: ${run.frame_kinds[kind]}${about}, ${grouped(bytes)} B${odd}\n${cut(textOf(text))}`;
  }
  const { replica, parts, lost } = what.bar;
  const list = parts.map(([kind, count]) => `${count} ${kind}`).join(", ");
  return `${replicas[replica]} sent ${list}${lost ? `\n${lost} never arrived` : ""}\nclick to zoom in`;
}

const cut = (text) => {
  const lines = text.split("\n");
  const short = lines.slice(0, 6).map((line) => (line.length > 160 ? `${line.slice(0, 160)}…` : line)).join("\n");
  return lines.length > 6 ? `${short}\n… and ${lines.length - 6} more` : short;
};

function showTip(x, y) {
  const what = under(x, y);
  lanes.classList.toggle("over", Boolean(what));
  tip.hidden = !what;
  if (!what) return;
  tip.textContent = tipText(what);
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  tip.style.left = `${Math.max(4, Math.min(x + 14, size.width - width - 6))}px`;
  tip.style.top = `${y + 18 + height > size.height && y > height + 14 ? y - height - 12 : y + 18}px`;
}

/** A click at a place of the lanes. */
function clickAt(x, y) {
  const what = under(x, y);
  if (what?.bar) {
    axis.zoom(0.25, axis.view.from + (x / size.width) * (axis.view.to - axis.view.from));
    redraw();
  } else if (what) {
    choose(what);
  } else {
    choose(null);
    goTo(momentAt(x));
  }
}

{
  const held = new Map();
  let moved = 0;
  let pinch = 0;
  const place = (event) => {
    const box = lanes.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const placeAt = (x) => axis.view.from + (x / size.width) * (axis.view.to - axis.view.from);

  lanes.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    lanes.setPointerCapture(event.pointerId);
    held.set(event.pointerId, place(event));
    moved = held.size > 1 ? 99 : 0;
    pinch = 0;
  });
  lanes.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    const before = held.get(event.pointerId);
    if (!before) return showTip(x, y);
    tip.hidden = true;
    held.set(event.pointerId, [x, y]);
    if (held.size === 2) {
      const [one, other] = [...held.values()];
      const apart = Math.abs(one[0] - other[0]) + 1;
      if (pinch) axis.zoom(pinch / apart, placeAt((one[0] + other[0]) / 2));
      pinch = apart;
    } else {
      moved += Math.abs(x - before[0]) + Math.abs(y - before[1]);
      if (moved < 4) return;
      lanes.classList.add("dragging");
      const by = ((before[0] - x) / size.width) * (axis.view.to - axis.view.from);
      axis.show(axis.view.from + by, axis.view.to + by);
    }
    redraw();
  });
  const release = (event) => {
    const [x, y] = place(event);
    if (held.delete(event.pointerId) && moved < 4 && event.type === "pointerup") clickAt(x, y);
    lanes.classList.remove("dragging");
  };
  lanes.addEventListener("pointerup", release);
  lanes.addEventListener("pointercancel", release);
  lanes.addEventListener("pointerleave", () => (tip.hidden = true));
  lanes.addEventListener("dblclick", (event) => {
    axis.zoom(0.4, placeAt(place(event)[0]));
    redraw();
  });
  lanes.addEventListener("wheel", (event) => {
    const span = axis.view.to - axis.view.from;
    if (event.ctrlKey || event.metaKey) {
      axis.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY * 0.01))), placeAt(place(event)[0]));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const by = ((event.deltaX || event.deltaY) / size.width) * span;
      axis.show(axis.view.from + by, axis.view.to + by);
    } else {
      return;
    }
    event.preventDefault();
    redraw();
  }, { passive: false });
}
