// The page tests itself when it is opened with #selftest: the verdict goes into the document, for whoever drives
// the browser. It uses the page as a person would, and looks at what is on the screen.

function selftest() {
  const checks = [];
  const check = (what, ok) => checks.push([what, Boolean(ok)]);
  const text = (id) => $(id).textContent;
  const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));

  check("the headline tells the seed", text("title").includes(String(run.outcome.seed)));
  check("the headline tells the verdict", text("verdict") === head.verdict);
  check("the replay command is there", text("replay") === run.replay);
  check("there is a label for each replica", $("labels").children.length === replicas.length);

  const painted = (canvas) => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Set();
    for (let index = 0; index < pixels.length; index += 4) seen.add(`${pixels[index]},${pixels[index + 1]},${pixels[index + 2]}`);
    return seen.size;
  };
  draw();
  check("the lanes are drawn", painted(lanes) > 8);
  check("the overview is drawn", painted(overview) > 3);

  goTo(0);
  const start = text("clock");
  press("ArrowRight");
  check("a step moves the clock", text("clock") !== start && look.now === moments[1]);
  press("ArrowLeft");
  check("a step back comes back", text("clock") === start);
  $("slider").value = "50000";
  $("slider").dispatchEvent(new Event("input"));
  check("the slider moves the clock", Math.abs(axis.place(look.now) / axis.length - 0.5) < 0.01);
  press("End");
  check("the end is the end", look.now === lastMoment);

  checkRows(check);
  checkFrames(check, press);
  checkEvents(check);

  const before = axis.view.to - axis.view.from;
  press("+");
  check("zooming in shows less", axis.view.to - axis.view.from < before);
  press("0");
  if (head.at >= 0) {
    goTo(0);
    press("v");
    check("the violation can be jumped to", look.now === head.at && xOf(head.at) > 0 && xOf(head.at) < size.width);
    check("its details name the rule", text("detail").includes(head.rule));
  }
  const chipOf = [...$("replica-chips").querySelectorAll(".chip")][0];
  chipOf.click();
  check("a hidden replica has no lane", $("labels").children.length === replicas.length - 1);
  chipOf.click();
  check("and comes back", $("labels").children.length === replicas.length);

  axis.fit();
  // The best of five: the machine may be busy with other things, the page may not.
  const best = (act) => Math.min(...[0, 1, 2, 3, 4].map((time) => {
    const from = performance.now();
    act(time);
    return performance.now() - from;
  }));
  const took = best(draw);
  check(`drawing everything is quick: ${took.toFixed(1)} ms`, took < 250);
  const scrubbed = best((time) => goTo((lastMoment * time) / 5));
  check(`moving the slider is quick: ${scrubbed.toFixed(1)} ms`, scrubbed < 250);

  check("nothing was loaded", performance.getEntriesByType("resource").length === 0);
  check(`nothing went wrong: ${troubles.join("; ")}`, troubles.length === 0);
  check("nothing of the run became code or markup", window.injected === undefined && !document.querySelector("img, iframe, object"));
  check("the page is not wider than the window", document.documentElement.scrollWidth <= innerWidth + 1);

  const failed = checks.filter(([, ok]) => !ok).map(([what]) => what);
  const said = failed.length ? `failed: ${failed.join(" | ")}` : `passed ${checks.length} checks`;
  document.documentElement.dataset.selftest = `${said}; draw ${took.toFixed(1)} ms, slide ${scrubbed.toFixed(1)} ms`;
}

/** At the end of a run that passed, all replicas that are up show the same. */
function checkRows(check) {
  goTo(lastMoment);
  if (!rowOrder.length) return;
  check("there is a line for each row", rowCells.size === rowNames.length);
  const busy = rowOrder.reduce((best, row) => (versionsOf[row].length > versionsOf[best].length ? row : best), rowOrder[0]);
  pick(busy, -1);
  const nodes = $("history").querySelectorAll(".node").length;
  check("the history has every version", nodes === Math.min(versionsAt(busy, lastMoment).size, MOST_VERSIONS) && nodes > 0);
  const parents = [...versionsAt(busy, lastMoment).values()].some((version) => version.parents.length);
  check("versions are joined", !parents || $("history").querySelectorAll(".edge").length > 0);
  const reader = replicas.findIndex((_, replica) => shownAt(replica, busy, lastMoment));
  if (reader >= 0) {
    pick(busy, reader);
    const seen = shownAt(reader, busy, lastMoment);
    const [author, generation, value] = seen.heads[0];
    const shown = $("history").querySelectorAll(".node.shown").length;
    check("one version is shown, if it is not merged", shown === (value === seen.value ? 1 : 0));
    check("the last head says what it said when it was written",
      versionsAt(busy, lastMoment).get(versionName(author, generation))?.value === value);
  }
  goTo(0);
  check("before the start there is nothing", [...rowCells.values()].every(({ line }) => line.hidden));
  goTo(lastMoment);
  $("row-filter").value = "no such row";
  refreshRows();
  check("a filter hides what does not match", [...rowCells.values()].every(({ line }) => line.hidden));
  $("row-filter").value = "";
  refreshRows();
}

/** A frame can be found, hovered and clicked. */
function checkFrames(check, press) {
  const deltas = run.frame_kinds.indexOf("deltas");
  let wanted = -1;
  for (let index = 0; index < frames.count && wanted < 0; index++) if (frames.kind[index] === deltas && !frames.odd[index]) wanted = index;
  if (wanted < 0) return;
  const place = axis.place(frames.sent[wanted]);
  axis.show(place - 30, place + 60);
  draw();
  const line = drawnFrames.find((one) => one.frame === wanted);
  check("a frame is drawn", line);
  if (!line) return;
  const [x, y] = [(line.x0 * 2 + line.x1) / 3, (line.y0 * 2 + line.y1) / 3];
  const found = under(x, y);
  check("something is under the pointer there", found && tipText(found).length > 10);
  clickAt(x, y);
  check("a click chooses what is under the pointer", JSON.stringify(look.chosen) === JSON.stringify(found));
  choose({ frame: wanted });
  check("its details name its kind", $("detail").querySelector("h3").textContent.startsWith("deltas from"));
  check("and say what it holds", $("detail").querySelectorAll("li").length > 0);
  const count = drawnFrames.length;
  look.hiddenKinds.add(deltas);
  draw();
  check("a hidden kind is not drawn", drawnFrames.length < count);
  look.hiddenKinds.delete(deltas);
  press("Escape");
  check("escape lets go", look.chosen === null);
  axis.fit();
}

/** The list has what the run had. */
function checkEvents(check) {
  $("log-kind").value = "all";
  buildLog();
  check("the list has every event", listed.length === events.length);
  $("log-kind").value = "important";
  buildLog();
  check("the important ones are fewer", listed.length > 0 && listed.length < events.length);
  check("of a long list only a part is in the document", $("log").querySelectorAll(".entry").length <= 60);
  chooseListed(0);
  check("an entry can be chosen", look.chosen?.event === listed[0].index && look.now === listed[0].at);
  choose({ replica: 0 });
  check("a replica tells how it is", $("detail").textContent.includes(replicas[0]));
  choose(null);
}

if (location.hash === "#selftest") {
  try {
    selftest();
  } catch (error) {
    document.documentElement.dataset.selftest = `failed: ${error.message} ${error.stack}`;
  }
}
