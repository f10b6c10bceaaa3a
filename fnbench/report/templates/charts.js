// Charts drawn from the page's data as SVG, at the width they have, with a reading under the pointer.

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  for (const child of children) element.append(child);
  return element;
}

function ticks(low, high, wanted) {
  const rough = (high - low) / Math.max(1, wanted), power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5, 10].find((each) => each * power >= rough) || 10);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) {
    found.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  }
  return found;
}

// A text element cut to the room it has, with an ellipsis; it must be in the page to be measured.
function fit(element, room) {
  let text = element.textContent;
  while (text.length > 4 && element.getComputedTextLength() > room) {
    text = text.slice(0, -Math.max(1, Math.floor(text.length / 12)));
    element.textContent = `${text}\u2026`;
  }
}

const plain = (value) => String(Math.round(value * 1e6) / 1e6);

// A frame with two axes; returns the scales and the layer to draw in.
function frame(host, options) {
  const { width, height, x, y, xTitle, yTitle, xTicks, left = 46 } = options;
  const area = { left, right: width - (options.right ?? 14), top: 12, bottom: height - 42 };
  const px = (v) => area.left + ((v - x[0]) / (x[1] - x[0])) * (area.right - area.left);
  const py = (v) => area.bottom - ((v - y[0]) / (y[1] - y[0])) * (area.bottom - area.top);
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": options.label });
  const grid = svg("g", { class: "grid" });
  for (const value of xTicks || ticks(x[0], x[1], width < 460 ? 5 : 9)) {
    grid.append(svg("line", { x1: px(value), x2: px(value), y1: area.top, y2: area.bottom }));
    grid.append(svg("text", { x: px(value), y: area.bottom + 17, "text-anchor": "middle" }, plain(value)));
  }
  if (options.yAxis !== false) {
    for (const value of options.yTicks || ticks(y[0], y[1], 5)) {
      grid.append(svg("line", { x1: area.left, x2: area.right, y1: py(value), y2: py(value) }));
      grid.append(svg("text", { x: area.left - 8, y: py(value) + 4, "text-anchor": "end" }, plain(value)));
    }
  }
  root.append(grid);
  const titles = [[svg("text", { class: "axis", x: (area.left + area.right) / 2, y: height - 6, "text-anchor": "middle" }, xTitle), area.right - area.left]];
  if (yTitle) {
    const middle = (area.top + area.bottom) / 2;
    titles.push([svg("text", { class: "axis", transform: `translate(13 ${middle}) rotate(-90)`, "text-anchor": "middle" }, yTitle), area.bottom - area.top]);
  }
  const layer = svg("g", {});
  root.append(...titles.map(([title]) => title), layer);
  host.replaceChildren(root);
  for (const [title, room] of titles) fit(title, room);
  return { root, layer, area, px, py };
}

const path = (points) => points.map(([a, b], i) => `${i ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join("");

function tip(host) {
  let box = host.parentElement.querySelector(".tip");
  if (!box) {
    box = document.createElement("div");
    box.className = "tip";
    box.hidden = true;
    host.parentElement.append(box);
  }
  return {
    show(lines, x, y) {
      box.replaceChildren(...lines.map((line) => {
        const row = document.createElement("div");
        if (line.series !== undefined) {
          const mark = document.createElement("i");
          mark.className = `swatch m${line.series % 8}`;
          row.append(mark);
        }
        row.append(line.text);
        return row;
      }));
      box.hidden = false;
      const room = host.clientWidth - box.offsetWidth;
      box.style.left = `${Math.max(0, Math.min(room, x + 14 > room ? x - box.offsetWidth - 14 : x + 14))}px`;
      box.style.top = `${host.offsetTop + Math.max(0, y - 10)}px`;
    },
    hide() { box.hidden = true; },
  };
}

function pointer(root, move, leave) {
  const at = (event) => {
    const box = root.getBoundingClientRect();
    move(event.clientX - box.left, event.clientY - box.top);
  };
  root.addEventListener("pointermove", at);
  root.addEventListener("pointerdown", at);
  root.addEventListener("pointerleave", leave);
}

// Cumulative error curve: share of pixels below a threshold, with a band where there is one.
function drawCurve(host, data) {
  const width = host.clientWidth, height = Math.round(Math.min(400, Math.max(260, width * 0.5)));
  const last = data.degrees[data.degrees.length - 1];
  const chart = frame(host, { width, height, x: [0, last], y: [0, 100], xTicks: width < 460 ? [0, 10, 20, 30, 45] : [0, 5, 10, 15, 20, 25, 30, 35, 40, 45],
    xTitle: "angular error below (degrees)", yTitle: "share of pixels (%)", label: "Cumulative error curve" });
  data.series.forEach((series) => {
    const up = data.degrees.map((d, i) => [chart.px(d), chart.py(series.share[i])]);
    if (series.low) {
      const high = data.degrees.map((d, i) => [chart.px(d), chart.py(series.high[i])]);
      const low = data.degrees.map((d, i) => [chart.px(d), chart.py(series.low[i])]).reverse();
      chart.layer.append(svg("path", { class: `band m${series.index % 8}`, d: `${path(high)}L${path(low).slice(1)}Z` }));
    }
    chart.layer.append(svg("path", { class: `series m${series.index % 8} d${series.index % 4}`, d: path(up) }));
  });
  const cursor = svg("line", { class: "cursor", y1: chart.area.top, y2: chart.area.bottom, visibility: "hidden" });
  chart.layer.append(cursor);
  const box = tip(host);
  pointer(chart.root, (x, y) => {
    const wanted = ((x - chart.area.left) / (chart.area.right - chart.area.left)) * last;
    if (wanted < 0 || wanted > last) { cursor.setAttribute("visibility", "hidden"); box.hide(); return; }
    let i = 0;
    while (i + 1 < data.degrees.length && Math.abs(data.degrees[i + 1] - wanted) <= Math.abs(data.degrees[i] - wanted)) i++;
    cursor.setAttribute("x1", chart.px(data.degrees[i]));
    cursor.setAttribute("x2", chart.px(data.degrees[i]));
    cursor.setAttribute("visibility", "visible");
    box.show([{ text: `below ${data.degrees[i]}°` }, ...data.series.map((s) => ({ series: s.index,
      text: `${s.name}: ${s.share[i].toFixed(1)} %${s.low ? ` (${s.low[i].toFixed(1)} to ${s.high[i].toFixed(1)})` : ""}` }))], x, y);
  }, () => { cursor.setAttribute("visibility", "hidden"); box.hide(); });
}

// The dot nearest to the pointer, within reach.
function nearest(dots, x, y) {
  let best = null, least = 18 * 18;
  for (const dot of dots) {
    const d = (dot.x - x) ** 2 + (dot.y - y) ** 2;
    if (d < least) { least = d; best = dot; }
  }
  return best;
}

function follow(chart, host, dots, lines) {
  const box = tip(host), ring = svg("circle", { class: "ring", r: 7, visibility: "hidden" });
  chart.layer.append(ring);
  pointer(chart.root, (x, y) => {
    const dot = nearest(dots, x, y);
    ring.setAttribute("visibility", dot ? "visible" : "hidden");
    if (!dot) { box.hide(); return; }
    ring.setAttribute("cx", dot.x);
    ring.setAttribute("cy", dot.y);
    box.show(lines(dot), dot.x, dot.y);
  }, () => { ring.setAttribute("visibility", "hidden"); box.hide(); });
}

// One strip per model, one dot per subject; dots that would overlap step aside.
function drawStrips(host, data) {
  const width = host.clientWidth, band = 84, height = data.series.length * band + 60;
  const all = data.series.flatMap((s) => s.values);
  const top = Math.max(...all, 1), low = Math.min(...all, top), margin = Math.max(0.05 * (top - low), 0.5);
  const chart = frame(host, { width, height, x: [Math.max(0, low - margin), top + margin], y: [0, 1], yAxis: false, left: 14,
    xTitle: "mean error of the subject (degrees)", label: "Mean error per subject" });
  const dots = [];
  data.series.forEach((series, row) => {
    const centre = chart.area.top + (row + 0.62) * ((chart.area.bottom - chart.area.top) / data.series.length);
    const r = series.values.length > 300 ? 2 : series.values.length > 60 ? 3 : 4.5;
    const name = svg("text", { class: "strip-name", x: chart.area.left, y: centre - band * 0.36 }, series.name);
    chart.layer.append(name);
    fit(name, chart.area.right - chart.area.left);
    const places = new Map();
    series.values.map((value, i) => ({ value, i })).sort((a, b) => a.value - b.value).forEach(({ value, i }) => {
      const x = chart.px(value), slot = Math.round(x / (2 * r)), used = places.get(slot) || 0;
      places.set(slot, used + 1);
      const step = Math.ceil(used / 2) * (used % 2 ? -1 : 1) * 2 * r;
      const y = centre + Math.max(-band * 0.3, Math.min(band * 0.3, step));
      chart.layer.append(svg("circle", { class: `dot m${series.index % 8}`, cx: x.toFixed(1), cy: y.toFixed(1), r }));
      dots.push({ x, y, series, i });
    });
    const m = chart.px(series.mean);
    chart.layer.append(svg("line", { class: "mean", x1: m, x2: m, y1: centre - band * 0.3, y2: centre + band * 0.3 }));
    if (series.low !== null) {
      chart.layer.append(svg("line", { class: "mean", x1: chart.px(series.low), x2: chart.px(series.high), y1: centre, y2: centre }));
    }
  });
  follow(chart, host, dots, ({ series, i }) => [
    { series: series.index, text: series.name },
    { text: `subject ${series.subjects[i]}` },
    { text: `mean ${series.values[i].toFixed(2)}°, ${series.images[i]} image${series.images[i] === 1 ? "" : "s"}` },
  ]);
}

// Each sample once: error of one model against the other. Below the diagonal the second is better.
function drawScatter(host, data) {
  const width = host.clientWidth, height = Math.min(width, 460);
  const top = 1.05 * Math.max(...data.x, ...data.y, 1);
  const chart = frame(host, { width, height, x: [0, top], y: [0, top], xTitle: `${data.first}: mean error (degrees)`,
    yTitle: `${data.second}: mean error (degrees)`, yTicks: ticks(0, top, 6), xTicks: ticks(0, top, 6), label: "Mean error per sample, one model against the other" });
  chart.layer.append(svg("line", { class: "diagonal", x1: chart.px(0), y1: chart.py(0), x2: chart.px(top), y2: chart.py(top) }));
  const dots = data.x.map((value, i) => ({ x: chart.px(value), y: chart.py(data.y[i]), i }));
  for (const dot of dots) {
    const winner = data.x[dot.i] < data.y[dot.i] ? data.indices[0] : data.indices[1];
    chart.layer.append(svg("circle", { class: `dot m${winner % 8}`, cx: dot.x.toFixed(1), cy: dot.y.toFixed(1), r: dots.length > 400 ? 2.4 : 3.6 }));
  }
  follow(chart, host, dots, ({ i }) => [
    { text: data.ids[i] },
    { series: data.indices[0], text: `${data.first}: ${data.x[i].toFixed(2)}°` },
    { series: data.indices[1], text: `${data.second}: ${data.y[i].toFixed(2)}°` },
  ]);
}

// Differences per subject, sorted: one bar each, the colour names the better model.
function drawWins(host, data) {
  const width = host.clientWidth, height = 300;
  const order = data.difference.map((value, i) => ({ value, i })).sort((a, b) => a.value - b.value);
  const most = 1.1 * Math.max(...order.map((each) => Math.abs(each.value)), 0.1);
  const chart = frame(host, { width, height, x: [0, order.length], y: [-most, most], xTicks: [], label: "Difference per subject",
    xTitle: `${order.length} subjects, sorted`, yTitle: "difference (degrees)" });
  const wide = (chart.area.right - chart.area.left) / order.length;
  const dots = order.map(({ value, i }, place) => {
    const x = chart.px(place), zero = chart.py(0), end = chart.py(value);
    const winner = value < 0 ? data.indices[0] : data.indices[1];
    const across = Math.max(0.6, Math.min(wide * 0.84, 34));
    chart.layer.append(svg("rect", { class: `column m${winner % 8}`, x: (x + (wide - across) / 2).toFixed(2), width: across.toFixed(2),
      y: Math.min(zero, end).toFixed(2), height: Math.max(0.8, Math.abs(end - zero)).toFixed(2) }));
    return { x: x + wide / 2, y: end, i };
  });
  chart.layer.append(svg("line", { class: "zero", x1: chart.area.left, x2: chart.area.right, y1: chart.py(0), y2: chart.py(0) }));
  const box = tip(host);
  pointer(chart.root, (x, y) => {
    const place = Math.floor((x - chart.area.left) / wide), dot = dots[place];
    if (!dot) { box.hide(); return; }
    const value = data.difference[dot.i];
    box.show([{ text: `subject ${data.subjects[dot.i]}` }, { text: `${value > 0 ? "+" : "\u2212"}${Math.abs(value).toFixed(2)}°` }], dot.x, y);
  }, () => box.hide());
}
