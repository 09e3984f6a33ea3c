"use strict";
// Figures tell the value of the point under the pointer, and an entry of a legend hides and shows its lines.
{
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
  // from a place in the drawing to the value there, with as many digits as the drawing tells apart
  const scale = (text, from, to) => {
    const [low, high, kind] = text.split(" "), linear = kind === "linear";
    const [a, b] = [low, high].map((end) => kind === "log" ? Math.log10(end) : Number(end));
    return (place) => {
      const at = a + (b - a) * (place - from) / (to - from), step = Math.abs((b - a) / (to - from)) * 0.02;
      const error = linear ? step / Math.max(Math.abs(at), step) : 10 ** step - 1;
      const digits = Math.min(Math.max(Math.floor(-Math.log10(error)), 1), 4);
      return linear ? written(at, Math.log10(Math.abs(at) || 1), digits) : written(10 ** at, at, digits);
    };
  };

  // the marks of a line; of one without marks the place on it that is nearest
  const points = (line) => {
    const marks = [...line.querySelectorAll("use")].map((use) => ["x", "y"].map((name) => Number(use.getAttribute(name))));
    if (marks.length) return () => marks;
    const path = [...line.querySelectorAll(":scope > path")].flatMap(pairs);
    return ([x, y]) => path.slice(1).map(([x1, y1], i) => {
      const [x0, y0] = path[i], [dx, dy] = [x1 - x0, y1 - y0];
      const along = Math.min(Math.max(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1), 0), 1);
      return [x0 + along * dx, y0 + along * dy];
    });
  };
  const panel = (group) => {
    const corners = pairs(group.querySelector("path"));
    const [left, right] = [Math.min, Math.max].map((f) => f(...corners.map((p) => p[0])));
    const [top, bottom] = [Math.min, Math.max].map((f) => f(...corners.map((p) => p[1])));
    const lines = [...group.querySelectorAll(":scope > [data-series]:not([data-band])")];
    return {
      holds: ([x, y]) => x >= left - 4 && x <= right + 4 && y >= top - 4 && y <= bottom + 4,
      lines: lines.map((line) => ({ line, name: line.dataset.series, points: points(line) })),
      x: scale(group.dataset.x, left, right), y: scale(group.dataset.y, bottom, top),
    };
  };

  const tip = document.createElement("output");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);

  const nearest = (panels, at) => {
    let best = { far: 14 };
    for (const one of panels.filter((panel) => panel.holds(at))) {
      for (const { line, name, points } of one.lines.filter(({ line }) => !line.classList.contains("off"))) {
        for (const point of points(at)) {
          const far = Math.hypot(point[0] - at[0], point[1] - at[1]);
          if (far < best.far) best = { far, point, name, panel: one };
        }
      }
    }
    return best;
  };
  const follow = (svg) => {
    const panels = [...svg.querySelectorAll("[data-x]")].map(panel);
    svg.addEventListener("pointermove", (event) => {
      const inside = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const { name, point, panel } = nearest(panels, [inside.x, inside.y]);
      tip.hidden = name === undefined;
      if (tip.hidden) return;
      tip.textContent = `${name}: ${panel.y(point[1])} at ${panel.x(point[0])}`;
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${event.clientY + 14}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
  };

  const switchable = (svg) => {
    const named = (kind, name) => [...svg.querySelectorAll(`[data-${kind}]`)].filter((one) => one.dataset[kind] === name);
    const flip = (name) => {
      const off = named("legend", name)[0].classList.contains("off");
      for (const one of [...named("legend", name), ...named("series", name)]) one.classList.toggle("off", !off);
      for (const text of named("legend", name)) if (text.hasAttribute("role")) text.setAttribute("aria-pressed", off);
    };
    for (const entry of svg.querySelectorAll("[data-legend]")) {
      entry.addEventListener("click", () => flip(entry.dataset.legend));
      if (!entry.querySelector("text")) continue;
      for (const [key, value] of [["role", "button"], ["tabindex", "0"], ["aria-pressed", "true"]]) entry.setAttribute(key, value);
      entry.addEventListener("keydown", (event) => {
        if (![" ", "Enter"].includes(event.key)) return;
        event.preventDefault();
        flip(entry.dataset.legend);
      });
    }
  };

  for (const svg of document.querySelectorAll("figure svg")) {
    if (svg.querySelector("[data-x]")) follow(svg);
    if (svg.querySelector("[data-legend]")) { switchable(svg); svg.setAttribute("role", "group"); }
  }
}
