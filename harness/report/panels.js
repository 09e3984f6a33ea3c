"use strict";
// The panels of a drawing: from places in it to values and back, as their axes are looked at now.
const Panels = (() => {
  const numbers = (text) => text.match(/-?\d+(\.\d+)?/g).map(Number);
  const pairs = (path) => {
    const all = numbers(path.getAttribute("d"));
    return Array.from({ length: all.length / 2 }, (_, i) => [all[2 * i], all[2 * i + 1]]);
  };

  // size is the value's logarithm, for what lies beyond the numbers of a browser
  const written = (value, size, digits) => {
    const power = Math.floor(size);
    if (power < 7 && power >= -4) {
      return Number(value.toPrecision(digits)).toLocaleString("en", { maximumSignificantDigits: digits });
    }
    return `${value < 0 ? "-" : ""}${(10 ** (size - power)).toPrecision(digits)}e${power}`;
  };

  // text is 'low high kind'. Ends and views are logarithms where the kind is log, decades are logarithms already
  const axis = (text, from, to) => {
    const [first, last, kind] = text.split(" ");
    const [low, high] = [first, last].map((end) => kind === "log" ? Math.log10(end) : Number(end));
    const drawn = Object.freeze({ low, high, kind });
    const one = { text, from, to, drawn, view: drawn };
    const along = (place, { low, high }) => low + (high - low) * (place - from) / (to - from);
    one.turned = (inner, from, to) => from === to ? inner : to === "log" ? Math.log10(inner) : 10 ** inner;
    one.inner = (place) => along(place, one.view);
    // where a place of the drawing lies now; what a log axis has no place for lies far below
    one.moved = (place) => {
      const { low, high, kind } = one.view;
      const share = (one.turned(along(place, drawn), drawn.kind, kind) - low) / (high - low);
      return from + (to - from) * (Number.isFinite(share) ? Math.min(Math.max(share, -50), 50) : -50);
    };
    // the value at a place, with as many digits as a drawing that is exact to `grain` tells apart
    one.value = (place, grain = 0.02, view = one.view) => {
      const { kind } = view, step = Math.abs((drawn.high - drawn.low) / (to - from)) * grain, at = along(place, view);
      const inner = kind === "linear" && drawn.kind === kind && Math.abs(at) < step ? 0 : at; // as near as the drawing tells
      const size = kind === "linear" ? Math.log10(Math.abs(inner) || 1) : inner;
      const error = drawn.kind === "linear" ? step / Math.max(kind === "linear" ? Math.abs(inner) : 10 ** inner, step) : 10 ** step - 1;
      const digits = Math.min(Math.max(Math.floor(-Math.log10(error)), 1), grain < 0.02 ? 6 : 4);
      return written(kind === "linear" ? inner : 10 ** inner, size, digits);
    };
    return one;
  };

  // the marks of a line, else the corners of its path
  const points = (line) => {
    const marks = [...line.querySelectorAll("use")].map((use) => ["x", "y"].map((name) => Number(use.getAttribute(name))));
    return { marks: marks.length > 0, points: marks.length ? marks : [...line.querySelectorAll(":scope > path")].flatMap(pairs) };
  };
  const panel = (group) => {
    const corners = pairs(group.querySelector("path"));
    const [left, right] = [Math.min, Math.max].map((f) => f(...corners.map((p) => p[0])));
    const [top, bottom] = [Math.min, Math.max].map((f) => f(...corners.map((p) => p[1])));
    const lines = [...group.querySelectorAll(":scope > [data-series]:not([data-band])")];
    return {
      group, left, right, top, bottom,
      holds: ([x, y]) => x >= left - 4 && x <= right + 4 && y >= top - 4 && y <= bottom + 4,
      lines: lines.map((line) => ({ line, name: line.dataset.series, ...points(line) })),
      x: axis(group.dataset.x, left, right), y: axis(group.dataset.y, bottom, top),
    };
  };
  const inside = (svg, event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [point.x, point.y];
  };
  const all = [...document.querySelectorAll("figure svg")].map((svg) => ({ svg, panels: [...svg.querySelectorAll("[data-x]")].map(panel) }));
  return { all, inside };
})();
