// The whole run in one strip, under the slider; and the names of the lanes.

let drawnOverview = null;

function drawOverview() {
  const pen = overview.getContext("2d");
  const [width, height] = [overview.width, overview.height];
  if (!drawnOverview) drawnOverview = paintOverview(pen, width, height);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.putImageData(drawnOverview, 0, 0);
  const scale = width / axis.length;
  const [left, right] = [axis.view.from * scale, axis.view.to * scale];
  pen.fillStyle = colours.back;
  pen.globalAlpha = 0.6;
  pen.fillRect(0, 0, Math.max(left, 0), height);
  pen.fillRect(right, 0, Math.max(width - right, 0), height);
  pen.globalAlpha = 1;
  pen.fillStyle = colours.accent;
  const edge = 2 * size.ratio;
  if (left > 0) pen.fillRect(left, 0, edge, height);
  if (right < width) pen.fillRect(right - edge, 0, edge, height);
  pen.fillRect(Math.max(left, 0), height - edge, Math.max(right, edge) - Math.max(left, 0), edge);
}

function paintOverview(pen, width, height) {
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = colours.sunken;
  pen.fillRect(0, 0, width, height);
  const scale = width / axis.length;
  for (const cut of cuts) {
    pen.fillStyle = colours["side-0"];
    pen.fillRect(axis.place(cut.from) * scale, 0, Math.max((axis.place(cut.to) - axis.place(cut.from)) * scale, 1), height);
  }
  const columns = Math.ceil(width / 3);
  const counts = new Uint32Array(columns);
  const lost = new Uint32Array(columns);
  for (let index = 0; index < frames.count; index++) {
    const column = Math.min(columns - 1, Math.floor((axis.place(frames.sent[index]) * scale) / 3));
    counts[column] += 1;
    if (isLost(frames.odd[index])) lost[column] += 1;
  }
  const most = Math.max(1, ...counts);
  for (let column = 0; column < columns; column++) {
    if (!counts[column]) continue;
    const tall = Math.sqrt(counts[column] / most) * height * 0.8;
    pen.fillStyle = colours.strong;
    pen.fillRect(column * 3, height - tall, 2, tall);
    pen.fillStyle = colours.fail;
    const part = Math.sqrt(lost[column] / most) * height * 0.8;
    pen.fillRect(column * 3, height - part, 2, part);
  }
  const line = (at, colour, thick) => {
    pen.fillStyle = colour;
    pen.fillRect(axis.place(at) * scale - thick / 2, 0, thick, height);
  };
  for (const event of events) if (run.event_kinds[event.kind] === "crash") line(event.at, colours.fail, size.ratio);
  line(head.safety_ms, colours.pass, 2 * size.ratio);
  if (head.at >= 0) line(head.at, colours.fail, 3 * size.ratio);
  return pen.getImageData(0, 0, width, height);
}

// ---- names of lanes ----

function drawLabels() {
  const labels = $("labels");
  labels.replaceChildren(...visibleReplicas().map((replica) => {
    const button = make("button", { type: "button", title: `What is so on ${replicas[replica]}`, onclick: () => choose({ replica }) },
      replicas[replica], make("small", { class: "doing" }));
    button.style.top = `${laneY(replica) - 15}px`;
    button.dataset.replica = replica;
    if (head.replicas.includes(replica)) button.classList.add("guilty");
    return button;
  }));
  refreshLabels();
}

function refreshLabels() {
  for (const button of $("labels").children) {
    const up = Boolean(lifeAt(Number(button.dataset.replica), look.now));
    button.classList.toggle("down", !up);
    button.querySelector(".doing").textContent = up ? "" : "down";
  }
}
