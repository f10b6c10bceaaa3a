// The leaderboard: tables that sort, rows that filter.

setUpTheme(document.getElementById("theme"), () => {});
setUpTables(document);

const filters = Object.fromEntries(["model", "protocol", "training", "reported"].map((name) => [name, document.getElementById(`f-${name}`)]));

function applyFilters() {
  const wanted = filters.model.value.trim().toLowerCase(), protocol = filters.protocol.value, training = filters.training.value;
  let shown = 0, all = 0;
  for (const board of document.querySelectorAll(".board")) {
    const fits = !protocol || board.dataset.protocol === protocol;
    let here = 0;
    for (const row of board.querySelectorAll("tbody tr")) {
      const measured = row.dataset.training !== undefined;
      const named = row.dataset.model.toLowerCase().includes(wanted);
      row.hidden = !(fits && named && (measured ? !training || row.dataset.training === training : filters.reported.checked && !training));
      if (measured) all += 1;
      if (!row.hidden) here += 1;
      if (measured && !row.hidden) shown += 1;
    }
    board.hidden = here === 0;
    const others = board.querySelector(".reported");
    if (others) others.hidden = [...others.querySelectorAll("tbody tr")].every((row) => row.hidden);
  }
  document.getElementById("f-count").textContent = shown === all ? "" : `${shown} of ${all} measured`;
  document.getElementById("none").hidden = [...document.querySelectorAll(".board")].some((board) => !board.hidden);
}

for (const each of Object.values(filters)) each.addEventListener("input", applyFilters);
applyFilters();
