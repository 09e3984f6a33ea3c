"use strict";
// Tables sort, filter and can be saved. Without this script the page shows the same.
const Page = {
  button(text, act, title = "") {
    const made = document.createElement("button");
    made.type = "button";
    if (title) made.title = title;
    made.append(...text);
    made.addEventListener("click", act);
    return made;
  },
  save(name, rows) {
    const quoted = (text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    Page.offer(`${name}.csv`, "text/csv", rows.map((row) => row.map(quoted).join(",") + "\n"));
  },
  offer(name, type, parts) {
    const link = document.createElement("a"), address = URL.createObjectURL(new Blob(parts, { type }));
    link.setAttribute("href", address);
    link.download = name;
    link.click();
    URL.revokeObjectURL(address);
  },
};
{
  const tables = [...document.querySelectorAll("main table")];

  const words = (row) => row.textContent.toLowerCase();
  const key = (row, column) => {
    const cell = row.cells[column], order = cell.dataset.order;
    return order === undefined ? cell.firstChild?.textContent ?? "" : Number(order);
  };
  // numbers first, then words; a dash, which is no value, comes last either way
  const compared = (a, b) => typeof a !== typeof b ? (typeof a === "number" ? -1 : 1)
    : typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });

  const sort = (table, column, head) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows], none = (row) => key(row, column) === "–";
    rows.sort((a, b) => none(a) - none(b) || (down ? -1 : 1) * compared(key(a, column), key(b, column)));
    for (const row of rows) row.classList.remove("again");
    table.tBodies[0].append(...rows);
  };

  const texts = (row) => [...row.cells].map((cell) => {
    const detail = cell.querySelector("small")?.textContent ?? "";
    const text = cell.textContent.slice(0, cell.textContent.length - detail.length);
    return (detail ? `${text} (${detail})` : text).trim();
  });
  const save = (table) => Page.save(table.dataset.name, [...table.rows].filter((row) => !row.hidden).map(texts));
  for (const table of tables) {
    [...table.tHead.rows[0].cells].forEach((head, column) =>
      head.append(Page.button([...head.childNodes], () => sort(table, column, head))));
    const bar = document.createElement("p");
    bar.className = "save";
    bar.append(Page.button(["Save as CSV"], () => save(table)));
    table.parentElement.after(bar);
  }

  const box = document.querySelector(".filter"), field = box.querySelector("input");
  const filter = () => {
    const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0, all = 0;
    for (const table of tables) {
      for (const row of table.tBodies[0].rows) {
        row.hidden = !wanted.every((word) => words(row).includes(word));
        all += 1;
        shown += !row.hidden;
      }
      const folded = table.closest("details");
      if (folded && wanted.length) folded.open = true;
    }
    box.querySelector("[role=status]").textContent = wanted.length ? `${shown} of ${all} rows` : "";
    Tabs.count(wanted.length > 0);
  };
  box.hidden = !tables.length;
  field.addEventListener("input", filter);
}
