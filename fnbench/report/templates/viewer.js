// The viewer: one sample at a time, asked for from this machine's own server.

const data = JSON.parse(document.getElementById("data").textContent);
const part = Object.fromEntries([...document.querySelectorAll("[id]")].map((each) => [each.id, each]));
let now = -1, maps = null, probe = null;

async function show(index) {
  index = Math.max(0, Math.min(data.ids.length - 1, index));
  if (index === now) return;
  now = index;
  part.place.value = String(index);
  part.where.textContent = `sample ${index + 1} of ${data.ids.length}, ${data.splits[index]}`;
  const answer = await fetch(`/sample/${index}`);
  if (now !== index) return;
  if (!answer.ok) { part.title.textContent = await answer.text(); return; }
  const sample = await answer.json();
  const target = await unpacked(sample.target, 4, sample.height, sample.width, true);
  if (now !== index) return;
  maps = { sample, width: sample.width, height: sample.height, target, region: target[3] };
  part.title.textContent = sample.id;
  part.photo.src = sample.picture;
  part.facts.replaceChildren(...sample.facts.map(([name, value]) => pair(name, value)));
  painted(part.normals, maps.width, maps.height, normalColour(target));
  painted(part.regions, maps.width, maps.height, (i, out) => {
    const colour = data.region_colours[maps.region[i]];
    if (!maps.region[i] || !colour) return false;
    [out[0], out[1], out[2]] = colour;
    return true;
  });
  drawOver();
  relight(light[0], light[1]);
  if (probe) point(...probe);
  document.body.dataset.shown = String(index);
}

function pair(name, value) {
  const box = document.createElement("div"), term = document.createElement("dt"), detail = document.createElement("dd");
  term.textContent = name;
  detail.textContent = value;
  box.append(term, detail);
  return box;
}

function drawOver() {
  const { width, height, target, sample } = maps;
  const inside = (x, y) => x < 0 || y < 0 || x >= width || y >= height || target[0][y * width + x] || target[1][y * width + x] || target[2][y * width + x];
  painted(part.over, width, height, (i, out) => {
    const x = i % width, y = Math.floor(i / width);
    if (!inside(x, y) || (inside(x - 1, y) && inside(x + 1, y) && inside(x, y - 1) && inside(x, y + 1))) return false;
    out[0] = out[1] = out[2] = 255;
    return true;
  });
  const context = part.over.getContext("2d");
  context.fillStyle = "#ff3c3c";
  for (const [x, y] of sample.landmarks) {
    context.beginPath();
    context.arc((x * width) / sample.full_width, (y * height) / sample.full_height, Math.max(1.2, width / 150), 0, 7);
    context.fill();
  }
}

let light = [-0.5, 0.45];

function relight(x, y) {
  const size = Math.hypot(x, y);
  light = size > 0.98 ? [(x / size) * 0.98, (y / size) * 0.98] : [x, y];
  const [a, b] = light;
  painted(part.relit, maps.width, maps.height, reliefColour(maps.target, [a, b, Math.sqrt(1 - a * a - b * b)]));
  const lamp = document.querySelector(".lamp");
  lamp.style.left = `${50 + 50 * a}%`;
  lamp.style.top = `${50 - 50 * b}%`;
}

function point(column, row) {
  probe = [Math.max(0, Math.min(maps.width - 1, column)), Math.max(0, Math.min(maps.height - 1, row))];
  const found = reading(maps, data.regions, ...probe);
  for (const name of ["pixel", "region", "target"]) part[`at-${name}`].textContent = found[name] || "\u2013";
  for (const mark of document.querySelectorAll(".cross")) {
    mark.hidden = false;
    mark.style.left = `${(100 * (probe[0] + 0.5)) / maps.width}%`;
    mark.style.top = `${(100 * (probe[1] + 0.5)) / maps.height}%`;
  }
}

for (const panel of part.maps.querySelectorAll(".panel")) {
  const move = (event) => {
    if (!maps) return;
    const box = panel.getBoundingClientRect(), x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
    if (panel.classList.contains("dark")) relight(2 * x - 1, 1 - 2 * y);
    else point(Math.floor(x * maps.width), Math.floor(y * maps.height));
  };
  panel.addEventListener("pointermove", move);
  panel.addEventListener("pointerdown", move);
}

document.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!(event.key in moves) || event.target === part.find) return;
  const [dx, dy] = moves[event.key];
  if (event.shiftKey && maps) {
    const [column, row] = probe || [maps.width >> 1, maps.height >> 1];
    point(column + dx, row + dy);
  } else if (dx && event.target !== part.place) show(now + dx);
  else return;
  event.preventDefault();
});
part.previous.addEventListener("click", () => show(now - 1));
part.next.addEventListener("click", () => show(now + 1));
part.place.addEventListener("input", () => show(Number(part.place.value)));
part.find.addEventListener("input", () => {
  const wanted = part.find.value.trim();
  const exact = data.ids.indexOf(wanted);
  part.ids.replaceChildren(...data.ids.filter((id) => id.includes(wanted)).slice(0, 30).map((id) => {
    const option = document.createElement("option");
    option.value = id;
    return option;
  }));
  if (exact >= 0) show(exact);
});
part["region-legend"].append(...data.regions.slice(1).map((name, i) => {
  const item = document.createElement("li"), mark = document.createElement("i");
  mark.style.background = `rgb(${data.region_colours[i + 1].join(" ")})`;
  item.append(mark, name);
  return item;
}));
setUpTheme(part.theme, () => {});
show(0);
