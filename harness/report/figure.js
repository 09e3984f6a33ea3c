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

  for (const { svg, panels } of Panels.all) {
    if (panels.length) follow(svg, panels);
    if (svg.querySelector("[data-legend]")) { switchable(svg); svg.setAttribute("role", "group"); }
  }
}
