"use strict";
// Figures tell the value of the point under the pointer, and an entry of a legend hides and shows its lines.
{
  const tip = document.createElement("output");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);

  // the marks of a line; of one without marks the place on it that is nearest
  const places = ({ marks, points }, { x, y }, at) => {
    const moved = points.map((point) => [x.moved(point[0]), y.moved(point[1])]);
    return marks ? moved : moved.slice(1).map(([x1, y1], i) => {
      const [x0, y0] = moved[i], [dx, dy] = [x1 - x0, y1 - y0];
      const along = Math.min(Math.max(((at[0] - x0) * dx + (at[1] - y0) * dy) / (dx * dx + dy * dy || 1), 0), 1);
      return [x0 + along * dx, y0 + along * dy];
    });
  };
  const nearest = (panels, at) => {
    let best = { far: 14 };
    for (const panel of panels.filter((one) => one.holds(at))) {
      for (const line of panel.lines.filter(({ line }) => !line.classList.contains("off"))) {
        for (const point of places(line, panel, at).filter(panel.holds)) {
          const far = Math.hypot(point[0] - at[0], point[1] - at[1]);
          if (far < best.far) best = { far, point, name: line.name, panel };
        }
      }
    }
    return best;
  };
  const follow = (svg, panels) => {
    svg.addEventListener("pointermove", (event) => {
      const { name, point, panel } = nearest(panels, Panels.inside(svg, event));
      tip.hidden = name === undefined;
      if (tip.hidden) return;
      tip.textContent = `${name}: ${panel.y.value(point[1])} at ${panel.x.value(point[0])}`;
      const [left, top] = [Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8), event.clientY + 14];
      tip.style.left = `${Math.max(left, 8)}px`;
      tip.style.top = `${top + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 8 : top}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
  };

  const sample = (handle) => {
    const line = document.createElement("i"), { stroke, strokeDasharray } = getComputedStyle(handle);
    line.style.borderTop = `3px ${strokeDasharray === "none" ? "solid" : "dashed"} ${stroke}`;
    return line;
  };
  // the title of a legend, and a button for each of its entries that no other one has
  const copied = (legend, flip, seen) => {
    const texts = [...legend.querySelectorAll("text")], entry = (text) => text.closest("[data-legend]");
    return texts.flatMap((text) => {
      const name = entry(text)?.dataset.legend, words = text.textContent.trim();
      if (name === undefined) return [words];
      if (seen.has(name)) return [];
      seen.add(name);
      const handle = [...legend.querySelectorAll("[data-legend] :is(path, use)")].find((one) => entry(one).dataset.legend === name);
      const made = Page.button([...(handle ? [sample(handle)] : []), words], () => flip(name));
      made.dataset.legend = name;
      made.setAttribute("aria-pressed", "true");
      return [made];
    });
  };
  // a drawing that is wider than its place has its legend beyond the edge: then the entries stand above it too
  const legendAbove = (svg, flip) => {
    const figure = svg.closest("figure"), place = svg.parentElement, bar = document.createElement("p"), seen = new Set();
    bar.className = "legend";
    for (const legend of svg.querySelectorAll("g[id*='legend_']:has([data-legend])")) bar.append(...copied(legend, flip, seen));
    figure.prepend(bar);
    new ResizeObserver(() => figure.classList.toggle("cut", place.scrollWidth > place.clientWidth + 1)).observe(place);
  };

  const switchable = (svg) => {
    const figure = svg.closest("figure");
    const named = (kind, name) => [...figure.querySelectorAll(`[data-${kind}]`)].filter((one) => one.dataset[kind] === name);
    const flip = (name) => {
      const off = named("legend", name)[0].classList.contains("off");
      for (const one of [...named("legend", name), ...named("series", name)]) one.classList.toggle("off", !off);
      for (const one of named("legend", name)) if (one.hasAttribute("aria-pressed")) one.setAttribute("aria-pressed", off);
    };
    legendAbove(svg, flip);
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

  for (const { svg, panels } of Panels.all) {
    if (panels.length) follow(svg, panels);
    if (svg.querySelector("[data-legend]")) { switchable(svg); svg.setAttribute("role", "group"); }
  }
}
