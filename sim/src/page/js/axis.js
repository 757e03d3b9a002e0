// Time on the screen: long quiet times can be shortened, and the view can be moved and zoomed.

/** Quiet times longer than this many milliseconds are shortened. */
const QUIET = 3000;
/** By how much of the busy time a quiet time ten times as long takes more room. */
const SHARE = 0.03;
const LEAST_SPAN = 5;

/** The moments at which something happens, in order, each once. */
const moments = (() => {
  const all = new Set([0, lastMoment]);
  for (let index = 0; index < frames.count; index++) {
    all.add(frames.sent[index]);
    for (const [at] of kept.frames[index][8]) all.add(at);
  }
  const minor = new Set([eventKind("durable"), eventKind("found")]);
  for (const event of events) if (!minor.has(event.kind)) all.add(event.at);
  if (head.at >= 0) all.add(head.at);
  return Float64Array.from(all).sort();
})();

const axis = {
  /** Places of `from` on the axis, and how fast the axis goes from there on. */
  knots: [],
  length: 1,
  view: { from: 0, to: 1 },

  /** Lays out the axis. */
  lay(shorten) {
    this.knots = [{ at: 0, place: 0, speed: 1, quiet: false }];
    let busy = 0;
    for (let index = 1; index < moments.length; index++) busy += Math.min(moments[index] - moments[index - 1], QUIET);
    let place = 0;
    for (let index = 1; index < moments.length; index++) {
      const gap = moments[index] - moments[index - 1];
      if (shorten && gap > QUIET) {
        this.knots.push({ at: moments[index - 1], place, speed: 1, quiet: false });
        const inner = Math.min(gap - QUIET, busy * SHARE * Math.log10(gap / QUIET));
        const speed = inner / (gap - QUIET);
        this.knots.push({ at: moments[index - 1] + QUIET / 2, place: place + QUIET / 2, speed, quiet: true });
        this.knots.push({ at: moments[index] - QUIET / 2, place: place + QUIET / 2 + inner, speed: 1, quiet: false });
        place += QUIET + inner;
      } else {
        place += gap;
      }
    }
    this.length = Math.max(place, 1);
  },

  place(at) {
    const index = Math.max(0, after(this.knots.length, at, (knot) => this.knots[knot].at) - 1);
    const knot = this.knots[index];
    return knot.place + (at - knot.at) * knot.speed;
  },

  moment(place) {
    const index = Math.max(0, after(this.knots.length, place, (knot) => this.knots[knot].place) - 1);
    const knot = this.knots[index];
    return knot.at + (place - knot.place) / knot.speed;
  },

  show(from, to) {
    const span = Math.min(Math.max(to - from, LEAST_SPAN), this.length * 1.04);
    const middle = (from + to) / 2;
    const low = Math.max(-this.length * 0.02, Math.min(middle - span / 2, this.length * 1.02 - span));
    this.view = { from: low, to: low + span };
  },

  fit() {
    this.show(-this.length * 0.02, this.length * 1.02);
  },

  zoom(factor, around) {
    const { from, to } = this.view;
    this.show(around - (around - from) * factor, around + (to - around) * factor);
  },

  /** Shortened times in the view, as places. */
  quietTimes() {
    return this.knots.flatMap((knot, index) =>
      knot.quiet ? [{ from: knot.place, to: this.knots[index + 1].place, lasts: this.knots[index + 1].at - knot.at }] : []);
  },
};

/** Round moments for marks on the axis, about `count` of them. */
function ticks(from, to, count) {
  const rough = (to - from) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough) ?? rough;
  const list = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) list.push(at);
  return { list, step };
}
