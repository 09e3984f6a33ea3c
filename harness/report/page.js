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
  // two buttons, which save the same. columns() is a list of { name, texts, number }; an empty text is no number
  saves(bar, name, columns, title) {
    const quoted = (text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    const line = (texts) => texts.map(quoted).join(",") + "\n";
    const csv = (all) => [line(all.map(({ name }) => name)), ...all[0].texts.map((_, i) => line(all.map(({ texts }) => texts[i])))];
    bar.append(
      Page.button(["Save as CSV"], () => Page.offer(`${name}.csv`, "text/csv", csv(columns())), title),
      Page.button(["Save as Parquet"], () => Page.offer(`${name}.parquet`, "application/vnd.apache.parquet", Parquet.file(columns())), title),
    );
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
  const number = ({ dataset: { order } }) => Number(Number(order.replace("inf", "Infinity")).toPrecision(12));
  const key = ({ cells }, column) => cells[column].dataset.order === undefined
    ? cells[column].firstChild?.textContent ?? "" : number(cells[column]);
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

  const text = (cell) => {
    const detail = cell.querySelector("small")?.textContent ?? "";
    const value = cell.textContent.slice(0, cell.textContent.length - detail.length);
    return (detail ? `${value} (${detail})` : value).trim();
  };
  // a column of numbers is saved in SI units; where the page shows more, a column after it has that
  const columns = (table) => {
    const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden), seen = new Map();
    return [...table.tHead.rows[0].cells].flatMap((head, i) => {
      const title = head.textContent.trim(), cells = rows.map((row) => row.cells[i]), count = (seen.get(title) ?? 0) + 1;
      seen.set(title, count);
      const name = count > 1 ? `${title} ${count}` : title, texts = cells.map(text);
      if (!head.classList.contains("number")) return [{ name, texts, number: false }];
      const numbers = cells.map((cell) => cell.dataset.order === undefined ? "" : String(number(cell)));
      const plain = texts.every((one, k) => one === "–" || Number(one.replaceAll(",", "").replaceAll("−", "-")) === Number(numbers[k]));
      return [{ name, texts: numbers, number: true }, ...(plain ? [] : [{ name: `${name}, as shown`, texts, number: false }])];
    });
  };
  for (const table of tables) {
    [...table.tHead.rows[0].cells].forEach((head, column) =>
      head.append(Page.button([...head.childNodes], () => sort(table, column, head))));
    const bar = document.createElement("p");
    bar.className = "save";
    Page.saves(bar, table.dataset.name, () => columns(table), "the rows that are shown, numbers in SI units");
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
