// Tables that sort by the column whose heading is pressed. Cells may carry data-sort; numbers sort as numbers.

function sortKey(cell) {
  const text = cell.dataset.sort ?? cell.textContent.trim();
  const number = text === "" ? NaN : Number(text);
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

function compared(a, b) {
  const first = typeof a === "number", second = typeof b === "number";
  if (first !== second) return first ? -1 : 1; // what has no number comes last
  return first ? a - b : a.localeCompare(b);
}

function sortTable(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row, place) => ({ row, place, key: sortKey(row.cells[column]) }));
  rows.sort((a, b) => {
    const missing = (a.key === "") - (b.key === "");
    const order = compared(a.key, b.key);
    const mixed = typeof a.key !== typeof b.key;
    return missing || (descending && !mixed ? -order : order) || a.place - b.place;
  });
  body.append(...rows.map((each) => each.row));
  for (const heading of table.tHead.querySelectorAll("th")) heading.removeAttribute("aria-sort");
  const heading = table.tHead.querySelectorAll("th")[column];
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

function setUpTables(root) {
  for (const table of root.querySelectorAll("table.sortable")) {
    [...table.tHead.querySelectorAll("th")].forEach((heading, column) => {
      const button = heading.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const now = heading.getAttribute("aria-sort");
        const first = heading.dataset.first === "descending";
        sortTable(table, column, now ? now === "ascending" : first);
      });
    });
  }
}
