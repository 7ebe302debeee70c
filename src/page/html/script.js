// Sorts tables by a click on a column's head, and says below a treemap what the tile under the pointer is. The pages work
// without: heads of long lists are links, by which the server sorts, and each tile has a title.
"use strict";

// What a cell is sorted by: the exact figure or time in it, else its text. Null where that is unknown: a cell of a column
// of figures without one, or a dash.
function keyOf(row, column, isFigure) {
  const cell = row.cells[column];
  const exact = cell.querySelector("data[value], time[data-value]");
  const text = exact ? exact.getAttribute("value") || exact.dataset.value : cell.textContent.trim();
  const figure = Number(text.replace(/,/g, ""));
  if (text !== "" && Number.isFinite(figure)) return figure;
  return isFigure || text === "" || text === "–" ? null : text.toLowerCase();
}

function compare(a, b, sign) {
  // What is unknown comes last in both orders.
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * compareKnown(a, b);
}

function compareKnown(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  // A text that is a number stands before the other texts.
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a.localeCompare(b, "en", { numeric: true });
}

function sortBy(table, head, column) {
  // Figures fall first, names rise first.
  const isFigure = head.classList.contains("n");
  const first = isFigure ? "descending" : "ascending";
  const other = first === "descending" ? "ascending" : "descending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({ row, key: keyOf(row, column, isFigure) }));
  const sign = order === "ascending" ? 1 : -1;
  rows.sort((a, b) => compare(a.key, b.key, sign));
  body.append(...rows.map(({ row }) => row));
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
}

for (const table of document.querySelectorAll("table.sortable")) {
  if (table.tBodies[0].rows.length < 2) continue;
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(table, head, column));
    head.append(button);
  });
}

for (const figure of document.querySelectorAll("figure.treemap")) {
  const line = figure.querySelector(".hover");
  const say = (event) => {
    const title = event.target.closest("a, g")?.querySelector(":scope > title");
    if (title) line.textContent = title.textContent;
  };
  figure.addEventListener("pointerover", say);
  figure.addEventListener("focusin", say);
}
