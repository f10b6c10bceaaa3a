// The samples of a page: a gallery that draws what comes into view, and an inspector for one sample.

const KEPT = 10; // decoded samples held at a time

class Samples {
  constructor(data) {
    this.data = data;
    this.colours = bytesOf(data.error_colours);
    this.held = new Map();
  }

  // Everything about one sample and one model, decoded once.
  load(index, model) {
    const key = `${index} ${model}`;
    let found = this.held.get(key);
    if (found) { this.held.delete(key); this.held.set(key, found); return found; }
    found = this.decode(index, model);
    this.held.set(key, found);
    if (this.held.size > KEPT) this.held.delete(this.held.keys().next().value);
    return found;
  }

  async decode(index, model) {
    const sample = this.data.samples[index], { width, height } = sample;
    const text = (id) => document.getElementById(id).textContent;
    const [target, predicted, error] = await Promise.all([
      unpacked(text(`t${index}`), 4, height, width, true),
      model < 0 ? null : unpacked(text(`p${index}-${model}`), 3, height, width, true),
      model < 0 ? null : unpacked(text(`e${index}-${model}`), 1, height, width, false),
    ]);
    return { sample, width, height, target, region: target[3], predicted, error: error && error[0] };
  }

  paint(canvas, kind, maps) {
    const colour = kind === "error" ? errorColour(maps.error, this.colours, this.data.error_scale) : normalColour(maps[kind]);
    painted(canvas, maps.width, maps.height, colour);
  }
}

function pixelUnder(event, element, maps) {
  const box = element.getBoundingClientRect();
  const inside = (v, n) => Math.max(0, Math.min(n - 1, Math.floor(v * n)));
  return [inside((event.clientX - box.left) / box.width, maps.width), inside((event.clientY - box.top) / box.height, maps.height)];
}

class Gallery {
  constructor(root, samples, open) {
    this.root = root;
    this.samples = samples;
    this.model = Number(root.dataset.model ?? 0);
    this.watch = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        this.watch.unobserve(entry.target);
        this.draw(entry.target);
      }
    }, { rootMargin: "300px" });
    for (const card of this.cards()) {
      card.querySelector("button").addEventListener("click", () => open(Number(card.dataset.sample), this.visible()));
      for (const panel of card.querySelectorAll(".panel")) {
        panel.addEventListener("pointermove", (event) => this.read(event, card, panel));
        panel.addEventListener("pointerleave", () => { this.over = null; card.querySelector(".reading").hidden = true; });
        panel.addEventListener("click", () => open(Number(card.dataset.sample), this.visible()));
      }
    }
    for (const choice of root.querySelectorAll("input[name=group]")) choice.addEventListener("change", () => this.show(choice.value));
    for (const choice of root.querySelectorAll("input[name=model]")) {
      choice.addEventListener("change", () => { this.model = Number(choice.value); this.repaint(); });
    }
    this.show(root.querySelector("input[name=group]:checked")?.value ?? "worst");
  }

  cards() { return [...this.root.querySelectorAll(".card")]; }

  visible() { return this.cards().filter((card) => !card.hidden).map((card) => Number(card.dataset.sample)); }

  show(group) {
    const place = (card) => Number(card.dataset[group]);
    const cards = this.cards();
    for (const card of cards) card.hidden = !(group in card.dataset);
    const shown = cards.filter((card) => !card.hidden).sort((a, b) => place(a) - place(b));
    this.root.querySelector(".cards").append(...shown);
    this.repaint();
  }

  repaint() {
    for (const card of this.cards()) {
      if (!card.hidden) { this.watch.unobserve(card); this.watch.observe(card); }
    }
  }

  async draw(card) {
    const index = Number(card.dataset.sample), model = this.model;
    const maps = await this.samples.load(index, model);
    if (model !== this.model) return;
    for (const canvas of card.querySelectorAll("canvas")) this.samples.paint(canvas, canvas.dataset.kind, maps);
    card.querySelector(".mean").textContent = maps.sample.means[model];
    card.dataset.drawn = String(model);
  }

  async read(event, card, panel) {
    const token = (this.over = {});
    const maps = await this.samples.load(Number(card.dataset.sample), this.model);
    if (this.over !== token) return;
    const found = reading(maps, this.samples.data.regions, ...pixelUnder(event, panel, maps));
    const box = card.querySelector(".reading");
    box.hidden = false;
    box.textContent = [found.pixel, found.region, found.target && `target ${found.target}`, found.predicted && `predicted ${found.predicted}`,
      found.error && `error ${found.error}`].filter(Boolean).join("  ·  ");
  }
}

const LIGHTS = { left: [-0.7, 0.2], right: [0.7, 0.2], above: [0, 0.75], below: [0, -0.7], front: [0, 0] };

class Inspector {
  constructor(dialog, samples) {
    this.dialog = dialog;
    this.samples = samples;
    this.light = [-0.5, 0.45];
    this.probe = null;
    this.model = 0;
    const part = (name) => dialog.querySelector(`[data-part="${name}"]`);
    this.parts = Object.fromEntries([...dialog.querySelectorAll("[data-part]")].map((each) => [each.dataset.part, each]));
    part("close").addEventListener("click", () => dialog.close());
    part("previous").addEventListener("click", () => this.step(-1));
    part("next").addEventListener("click", () => this.step(1));
    part("model")?.addEventListener("change", (event) => { this.model = Number(event.target.value); this.refresh(); });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "PageDown" || event.key === "n") this.step(1);
      else if (event.key === "PageUp" || event.key === "p") this.step(-1);
      else return;
      event.preventDefault();
    });
    const maps = part("maps");
    for (const panel of maps.querySelectorAll(".panel")) {
      const move = (event) => { if (this.maps) this.point(...pixelUnder(event, panel, this.maps)); };
      panel.addEventListener("pointermove", move);
      panel.addEventListener("pointerdown", move);
    }
    maps.addEventListener("keydown", (event) => this.arrow(event, (dx, dy, far) => {
      const [column, row] = this.probe || [this.maps.width >> 1, this.maps.height >> 1];
      this.point(column + dx * (far ? 10 : 1), row - dy * (far ? 10 : 1));
    }));
    part("split").addEventListener("input", () => this.drawSplit());
    const compare = part("compare");
    const drag = (event) => {
      if (event.type === "pointermove" && event.buttons !== 1 && event.pointerType !== "mouse") return;
      const box = compare.getBoundingClientRect();
      part("split").value = String(Math.round(1000 * Math.max(0, Math.min(1, (event.clientX - box.left) / box.width))));
      this.drawSplit();
    };
    compare.addEventListener("pointerdown", (event) => { compare.setPointerCapture(event.pointerId); drag(event); });
    compare.addEventListener("pointermove", (event) => { if (event.buttons === 1) drag(event); });
    const relief = part("relief");
    for (const panel of relief.querySelectorAll("canvas")) {
      const aim = (event) => {
        const box = panel.getBoundingClientRect();
        this.aim((2 * (event.clientX - box.left)) / box.width - 1, 1 - (2 * (event.clientY - box.top)) / box.height);
      };
      panel.addEventListener("pointerdown", (event) => { panel.setPointerCapture(event.pointerId); aim(event); });
      panel.addEventListener("pointermove", (event) => { if (event.buttons === 1 || event.pointerType === "mouse") aim(event); });
    }
    relief.addEventListener("keydown", (event) => this.arrow(event, (dx, dy, far) => {
      const step = far ? 0.3 : 0.1;
      this.aim(this.light[0] + dx * step, this.light[1] + dy * step);
    }));
    for (const button of dialog.querySelectorAll("[data-light]")) button.addEventListener("click", () => this.aim(...LIGHTS[button.dataset.light]));
  }

  arrow(event, act) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (!(event.key in moves) || !this.maps) return;
    event.preventDefault();
    act(...moves[event.key], event.shiftKey);
  }

  open(index, order, model) {
    this.order = order;
    this.model = Math.max(0, model);
    if (this.parts.model) this.parts.model.value = String(this.model);
    this.go(index);
    if (!this.dialog.open) this.dialog.showModal();
  }

  step(by) {
    const place = this.order.indexOf(this.index) + by;
    if (place >= 0 && place < this.order.length) this.go(this.order[place]);
  }

  go(index) {
    this.index = index;
    this.probe = null;
    const place = this.order.indexOf(index);
    this.parts.previous.disabled = place <= 0;
    this.parts.next.disabled = place >= this.order.length - 1;
    return this.refresh();
  }

  async refresh() {
    const index = this.index, maps = await this.samples.load(index, this.model);
    if (index !== this.index) return;
    this.maps = maps;
    const { sample } = maps;
    this.parts.title.textContent = sample.id;
    this.parts.about.textContent = [...sample.about, sample.means && `mean error ${sample.means[this.model]}`].filter(Boolean).join("  ·  ");
    this.parts.photo.src = document.getElementById(`i${index}`).src;
    for (const canvas of this.parts.maps.querySelectorAll("canvas")) this.samples.paint(canvas, canvas.dataset.kind, maps);
    this.drawSplit();
    this.aim(...this.light);
    if (this.probe) this.point(...this.probe);
    else {
      for (const mark of this.dialog.querySelectorAll(".cross")) mark.hidden = true;
      for (const name of ["pixel", "region", "target", "predicted", "error"]) this.parts[`at-${name}`].textContent = "\u2013";
    }
    this.dialog.dataset.ready = `${index} ${this.model}`;
  }

  point(column, row) {
    const { width, height } = this.maps;
    this.probe = [Math.max(0, Math.min(width - 1, column)), Math.max(0, Math.min(height - 1, row))];
    const found = reading(this.maps, this.samples.data.regions, ...this.probe);
    for (const [name, text] of Object.entries(found)) this.parts[`at-${name}`].textContent = text || "\u2013";
    for (const mark of this.dialog.querySelectorAll(".cross")) {
      mark.hidden = false;
      mark.style.left = `${(100 * (this.probe[0] + 0.5)) / width}%`;
      mark.style.top = `${(100 * (this.probe[1] + 0.5)) / height}%`;
    }
  }

  drawSplit() {
    if (!this.maps) return;
    const { width, height, target, predicted } = this.maps, share = Number(this.parts.split.value) / 1000;
    const edge = share * width, left = normalColour(target), right = normalColour(predicted);
    painted(this.parts.compare, width, height, (i, out) => ((i % width) + 0.5 < edge ? left(i, out) : right(i, out)));
    this.parts.handle.style.left = `${100 * share}%`;
    this.parts.split.setAttribute("aria-valuetext", `${Math.round(100 * share)} % target`);
  }

  aim(x, y) {
    const size = Math.hypot(x, y), most = 0.98;
    this.light = size > most ? [(x / size) * most, (y / size) * most] : [x, y];
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      if (!this.maps) return;
      const [a, b] = this.light, light = [a, b, Math.sqrt(1 - a * a - b * b)];
      const { width, height } = this.maps;
      for (const canvas of this.parts.relief.querySelectorAll("canvas")) painted(canvas, width, height, reliefColour(this.maps[canvas.dataset.kind], light));
      for (const lamp of this.dialog.querySelectorAll(".lamp")) { lamp.style.left = `${50 + 50 * a}%`; lamp.style.top = `${50 - 50 * b}%`; }
      const degrees = (v) => Math.round((Math.asin(v) * 180) / Math.PI);
      this.parts["light-text"].textContent = `light ${Math.abs(degrees(a))}° ${a < 0 ? "left" : "right"}, ${Math.abs(degrees(b))}° ${b < 0 ? "below" : "above"}`;
    });
  }
}
