// The report page: charts at the width they have, the switches, the gallery and the inspector.

const data = JSON.parse(document.getElementById("data").textContent);

const CHARTS = { curve: drawCurve, strips: drawStrips, scatter: drawScatter, wins: drawWins };

for (const host of document.querySelectorAll("[data-chart]")) {
  const name = host.dataset.chart;
  let width = 0;
  new ResizeObserver(() => {
    if (host.clientWidth === width || !data[name]) return;
    width = host.clientWidth;
    CHARTS[name](host, data[name]);
  }).observe(host);
}

setUpTheme(document.getElementById("theme"), () => {});
setUpTables(document);

for (const choice of document.querySelectorAll("input[name=heat-model]")) {
  choice.addEventListener("change", () => {
    for (const heat of document.querySelectorAll("[data-heat]")) heat.hidden = heat.dataset.heat !== choice.value;
  });
}

function paintRamp(canvas, colours) {
  painted(canvas, 256, 1, (i, out) => { out[0] = colours[3 * i]; out[1] = colours[3 * i + 1]; out[2] = colours[3 * i + 2]; });
}

if (data.samples) {
  const samples = new Samples(data), inspector = new Inspector(document.getElementById("inspector"), samples);
  const gallery = new Gallery(document.getElementById("samples"), samples, (index, order) => inspector.open(index, order, gallery.model));
  paintRamp(document.getElementById("ramp"), samples.colours);
  paintSphere(document.getElementById("sphere"), 168);
}
if (data.face_colours) paintRamp(document.getElementById("face-ramp"), bytesOf(data.face_colours));
