"use strict";
// Figures are zoomed (a dragged box, buttons, keys), switched between linear and log, and their data saved.
{
  const MOST = 200; // times that a view is narrower than the drawing
  const DECADES = 3; // of a linear axis that is made log: below, a drawing tells nothing
  const powers = (power) => "10" + String(power).replace(/./g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);

  const compact = (value) => {
    const [scale, name] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([s]) => Math.abs(value) >= s) ?? [1, ""];
    return `${Number((value / scale).toPrecision(4))}${name}`;
  };
  const ticks = ({ low, high, kind }) => {
    const span = high - low, least = 10 ** Math.floor(Math.log10(span / 4));
    const step = [1, 2, 5, 10].map((s) => s * least).find((s) => span / s <= 5);
    const even = (step) => Array.from({ length: Math.floor(high / step) - Math.ceil(low / step) + 1 }, (_, i) => (Math.ceil(low / step) + i) * step);
    if (kind === "linear") return even(step).map((at) => [at, compact(Number(at.toPrecision(12)))]);
    if (span > 2) return even(Math.max(1, Math.round(step))).map((at) => [at, at < -3 || at > 12 ? powers(at) : compact(10 ** at)]);
    const whole = Array.from({ length: Math.ceil(span) + 2 }, (_, i) => Math.floor(low) + i);
    const some = whole.flatMap((p) => (span > 0.8 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]).map((s) => [p + Math.log10(s), p < -3 ? `${s}e${p}` : compact(s * 10 ** p)]));
    const fit = some.filter(([at]) => at >= low && at <= high);
    return fit.length > 1 ? fit : even(step).map((at) => [at, (10 ** at).toPrecision(4)]);
  };

  // the ticks of an axis: numbers are made anew for a view, names move with their places
  const ruler = (panel, axis, across) => {
    const own = [...panel.group.querySelectorAll(`:scope > g > [id*='-${across ? "x" : "y"}tick_']`)];
    const place = (tick) => Number(tick.querySelector("path")?.getAttribute("d").match(/-?[\d.]+/g)[across ? 0 : 1]);
    const texts = own.map((tick) => tick.querySelector("text")?.textContent ?? "");
    const plain = texts.every((text) => /^$|^[−-]?[\d.]+([e−-]*\d+)?[kMGT]?( %)?$|^10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+$/.test(text));
    const model = own.find((tick) => tick.querySelector("text")) ?? own[0];
    if (!model || own.some((tick) => Number.isNaN(place(tick)))) return { numeric: false, show() {} };
    const share = texts.some((text) => text.endsWith("%"));
    const shifted = (tick, by) => tick.setAttribute("transform", across ? `translate(${by} 0)` : `translate(0 ${by})`);
    let made = [];
    const show = () => {
      for (const one of made) one.remove();
      made = [];
      const same = axis.view === axis.drawn;
      for (const tick of own) {
        const to = axis.moved(place(tick)), out = (to - axis.from) * (to - axis.to) > 1;
        tick.style.display = same || (!plain && !out) ? "" : "none";
        if (!plain) shifted(tick, to - place(tick));
      }
      if (same || !plain) return;
      for (const [at, text] of ticks(axis.view)) {
        const tick = model.cloneNode(true), words = [...tick.querySelectorAll("text")], { low, high } = axis.view;
        for (const one of [tick, ...tick.querySelectorAll("[id]")]) one.removeAttribute("id");
        for (const word of words.slice(1)) word.remove();
        if (words.length) words[0].textContent = share ? `${compact(100 * at)} %` : text;
        tick.style.display = "";
        shifted(tick, axis.from + (axis.to - axis.from) * (at - low) / (high - low) - place(model));
        own[0].parentNode.append(tick);
        made.push(tick);
      }
    };
    return { numeric: plain && !share && texts.some(Boolean), show };
  };

  // what is drawn in data's places: paths, marks, and bands, whose corners stand in a definition
  const movable = ({ group, x, y }) => {
    const kept = [];
    const path = (element, dx, dy) => {
      const d = element.getAttribute("d");
      kept.push(() => element.setAttribute("d", d.replace(/(-?[\d.]+) (-?[\d.]+)/g, (_, a, b) =>
        `${x.moved(Number(a) + dx) - dx} ${y.moved(Number(b) + dy) - dy}`)));
    };
    for (const child of group.children) {
      if (child.id.includes("matplotlib.axis_")) continue;
      for (const element of child.querySelectorAll("path[clip-path]")) path(element, 0, 0);
      for (const use of child.querySelectorAll("[clip-path] use")) {
        const [a, b] = ["x", "y"].map((name) => Number(use.getAttribute(name)));
        if (a === 0) path(child.querySelector(`[id='${use.getAttribute("xlink:href").slice(1)}']`), a, b);
        else kept.push(() => { use.setAttribute("x", x.moved(a)); use.setAttribute("y", y.moved(b)); });
      }
    }
    return kept;
  };
  // words beside a line, which would stand beside another one after a zoom
  const remarks = ({ group, top, bottom, right }) => [...group.children].filter((child) => {
    if (!/-(text|line2d|patch)_/.test(child.id) || child.querySelector("[clip-path]")) return false;
    const { x, y, width, height } = child.getBBox();
    return child.id.includes("-text_") ? y + height > top && y < bottom : x + width > right + 2;
  });

  const figure = (svg, panels) => {
    const rulers = panels.map((panel) => [ruler(panel, panel.x, true), ruler(panel, panel.y, false)]);
    let parts = null; // of each panel, once they move: what is hidden has no size
    const ready = () => parts ??= panels.map((panel, i) => ({ panel, moves: movable(panel), remarks: remarks(panel), rulers: rulers[i] }));
    const sides = ["x", "y"];
    const draw = () => {
      for (const { panel, moves, remarks, rulers } of ready()) {
        for (const move of moves) move();
        for (const one of rulers) one.show();
        const changed = sides.some((side) => panel[side].view !== panel[side].drawn);
        for (const remark of remarks) remark.style.display = changed ? "none" : "";
      }
    };
    // axes that are drawn alike are looked at alike: the outer panels alone have numbers
    const alike = (side, axis) => panels.map((panel) => panel[side]).filter((one) => one.text === axis.text);
    const limits = (axis, kind) => {
      const { low, high, kind: drawn } = axis.drawn;
      if (kind === drawn) return [low, high];
      if (kind === "linear") return [0, 10 ** high];
      const top = Math.log10(high);
      return [low > 0 ? Math.max(Math.log10(low), top - DECADES) : top - DECADES, top];
    };
    const look = (side, axis, low, high, kind = axis.view.kind) => {
      const [least, most] = limits(axis, kind), width = Math.min(Math.max(high - low, (most - least) / MOST), most - least);
      const start = Math.min(Math.max(low, least), most - width);
      const whole = kind === axis.drawn.kind && width > (most - least) * 0.999;
      for (const one of alike(side, axis)) one.view = whole ? one.drawn : { low: start, high: start + width, kind };
    };
    const different = (side) => [...new Map(panels.map((panel) => [panel[side].text, panel[side]])).values()];
    const each = (change) => { for (const side of sides) for (const axis of different(side)) change(side, axis); draw(); };
    const by = (factor) => each((side, axis) => {
      const { low, high } = axis.view, middle = (low + high) / 2, half = (high - low) * factor / 2;
      look(side, axis, middle - half, middle + half);
    });
    const shift = (side, share) => {
      for (const axis of different(side)) {
        const { low, high } = axis.view, by = share * (high - low);
        look(side, axis, low + by, high + by);
      }
      draw();
    };
    const reset = () => { for (const { x, y } of panels) { x.view = x.drawn; y.view = y.drawn; } draw(); };
    // shares and names stay as they are
    const turnable = (side) => [...new Map(panels
      .filter((panel, i) => rulers[i][sides.indexOf(side)].numeric && panel[side].drawn.kind !== "decades")
      .map((panel) => [panel[side].text, panel[side]])).values()].filter((axis) => axis.drawn.kind === "log" || axis.drawn.high > 0);
    const turn = (side) => {
      const axes = turnable(side), kind = axes[0].view.kind === "log" ? "linear" : "log";
      for (const axis of axes) look(side, axis, ...limits(axis, kind), kind);
      draw();
    };
    const turns = (side) => turnable(side).length > 0;
    return { look, draw, by, shift, reset, turn, turns };
  };

  const dragged = (svg, panels, { look, draw, reset }) => {
    const box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    box.setAttribute("class", "box");
    let start = null, panel = null;
    const to = (event) => {
      const [x, y] = Panels.inside(svg, event);
      return [Math.min(Math.max(x, panel.left), panel.right), Math.min(Math.max(y, panel.top), panel.bottom)];
    };
    svg.addEventListener("pointerdown", (event) => {
      const at = Panels.inside(svg, event);
      panel = event.pointerType === "mouse" && event.button === 0 ? panels.find((one) => one.holds(at)) : null;
      if (!panel) return;
      event.preventDefault();
      start = to(event);
      svg.setPointerCapture(event.pointerId);
      svg.append(box);
    });
    svg.addEventListener("pointermove", (event) => {
      if (!start) return;
      const end = to(event);
      for (const [i, place, size] of [[0, "x", "width"], [1, "y", "height"]]) {
        box.setAttribute(place, Math.min(start[i], end[i]));
        box.setAttribute(size, Math.abs(start[i] - end[i]));
      }
    });
    svg.addEventListener("pointerup", (event) => {
      if (!start) return;
      const end = to(event), far = [0, 1].map((i) => Math.abs(start[i] - end[i]) > 8);
      for (const [i, side] of [[0, "x"], [1, "y"]]) {
        const [low, high] = [start[i], end[i]].map(panel[side].inner).sort((a, b) => a - b);
        if (far[i]) look(side, panel[side], low, high);
      }
      if (far[0] || far[1]) draw();
      start = null;
      for (const name of ["x", "y", "width", "height"]) box.removeAttribute(name);
      box.remove();
    });
    svg.addEventListener("dblclick", reset);
  };

  const KEYS = { "+": ["by", 0.5], "=": ["by", 0.5], "-": ["by", 2], "0": ["reset"], Escape: ["reset"], ArrowLeft: ["shift", "x", -0.2],
    ArrowRight: ["shift", "x", 0.2], ArrowUp: ["shift", "y", 0.2], ArrowDown: ["shift", "y", -0.2] };
  const keyed = (svg, figure) => {
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("keydown", (event) => {
      const [name, ...words] = KEYS[event.key] ?? [];
      if (!name || event.target !== svg || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      figure[name](...words);
    });
  };

  // a row a point of each line that has a name: as exact as the drawing, which the numbers show
  const rows = (panels) => panels.flatMap((panel) => {
    const words = (elements) => [...elements].map((one) => one.textContent.trim().replace(/\s+/g, " ")).join(" ");
    const title = words([...panel.group.children].filter((child) => child.id.includes("-text_") && child.getBBox().y < panel.top));
    const [across, up] = [...panel.group.children].filter((child) => child.id.includes("matplotlib.axis_"))
      .map((axis) => words(axis.querySelectorAll(":scope > [id*='-text_'] text")));
    // a path has two decimals, in a figure of decades four
    const grain = panels.some(({ x, y }) => [x, y].some((axis) => axis.drawn.kind === "decades")) ? 1e-4 : 0.01;
    return panel.lines.flatMap(({ name, marks, points }) => points.map(([x, y]) => {
      const values = [panel.x, panel.y].map((axis, i) => axis.value([x, y][i], marks ? 1e-5 : grain, axis.drawn).replaceAll(",", ""));
      return [title, name, across, values[0], up, values[1]];
    }));
  });

  const COLUMNS = ["panel", "line", "x axis", "x", "y axis", "y"], NUMBERS = ["x", "y"];
  const EXACT = "the points of the lines, with the digits that the drawing tells apart";
  const columns = (rows) => COLUMNS.map((name, i) => ({ name, texts: rows.map((row) => row[i]), number: NUMBERS.includes(name) }));

  for (const { svg, panels } of Panels.all.filter(({ panels }) => panels.length)) {
    const one = figure(svg, panels), bar = document.createElement("p"), name = svg.closest("figure").dataset.name;
    bar.className = "tools";
    const add = (text, act, title = "") => bar.append(Page.button([text], act, title));
    add("Zoom in", () => one.by(0.5), "or drag a box in a panel; or the key + of a figure with the focus");
    add("Zoom out", () => one.by(2), "or the key -");
    add("Reset", one.reset, "or a double click, or the key 0");
    for (const side of ["x", "y"]) if (one.turns(side)) add(`Linear / log ${side}`, () => one.turn(side));
    Page.saves(bar, name, () => columns(rows(panels)), EXACT);
    svg.closest("figure").querySelector("figcaption").before(bar);
    dragged(svg, panels, one);
    keyed(svg, one);
  }
}
