// Maps of a page: decoding (planes.py writes them), colours, relighting. Normals: x right, y up, z to the viewer.

const NORMAL_ONE = 1000, ERROR_ONE = 10;

async function inflated(text) {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The (count, height, width) integers of a base64 text, one Int16Array per plane.
async function unpacked(text, count, height, width, normals) {
  const raw = await inflated(text), size = height * width;
  const low = count * height, high = low + count * size;
  const planes = [];
  for (let p = 0; p < count; p++) {
    const values = new Int16Array(size);
    for (let r = 0; r < height; r++) {
      const kind = raw[p * height + r], start = r * width;
      let sum = 0;
      for (let c = 0; c < width; c++) {
        const at = start + c;
        const folded = raw[low + p * size + at] | (raw[high + p * size + at] << 8);
        const residual = (folded >>> 1) ^ -(folded & 1);
        sum = kind & 1 ? sum + residual : residual;
        values[at] = sum + (kind & 2 && r ? values[at - width] : 0);
      }
    }
    planes.push(values);
  }
  if (normals) {
    const [x, y, z] = planes, one = NORMAL_ONE * NORMAL_ONE;
    for (let i = 0; i < size; i++) {
      if (x[i] || y[i]) z[i] += Math.round(Math.sqrt(Math.max(0, one - x[i] * x[i] - y[i] * y[i])));
    }
  }
  return planes;
}

function parsedColour(name) {
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const hex = probe.fillStyle;
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

// Draws on a canvas pixel by pixel; colour(i, out) writes three bytes, or returns false where there is nothing.
function painted(canvas, width, height, colour) {
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height), out = [0, 0, 0];
  for (let i = 0, k = 0; i < width * height; i++, k += 4) {
    if (colour(i, out) === false) continue; // stays transparent: the page shows through
    picture.data[k] = out[0]; picture.data[k + 1] = out[1]; picture.data[k + 2] = out[2]; picture.data[k + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
}

function normalColour(planes) {
  const [x, y, z] = planes;
  return (i, out) => {
    if (!x[i] && !y[i] && !z[i]) return false;
    out[0] = 127.5 * (x[i] / NORMAL_ONE + 1); out[1] = 127.5 * (y[i] / NORMAL_ONE + 1);
    out[2] = 127.5 * (z[i] / NORMAL_ONE + 1);
    return true;
  };
}

function errorColour(plane, colours, scale) {
  return (i, out) => {
    if (plane[i] < 0) return false;
    const at = 3 * Math.min(255, Math.floor((plane[i] / ERROR_ONE / scale) * 256));
    out[0] = colours[at]; out[1] = colours[at + 1]; out[2] = colours[at + 2];
    return true;
  };
}

const TONE = new Uint8Array(1025).map((_, i) => Math.round(255 * Math.pow(i / 1024, 1 / 2.2)));

// Clay under one distant light and a little ambient light.
function reliefColour(planes, light) {
  const [x, y, z] = planes;
  const hx = light[0], hy = light[1], hz = light[2] + 1, size = Math.hypot(hx, hy, hz) || 1;
  return (i, out) => {
    if (!x[i] && !y[i] && !z[i]) return false;
    const a = x[i] / NORMAL_ONE, b = y[i] / NORMAL_ONE, c = z[i] / NORMAL_ONE;
    const lambert = Math.max(0, a * light[0] + b * light[1] + c * light[2]);
    const gloss = Math.pow(Math.max(0, (a * hx + b * hy + c * hz) / size), 30);
    const grey = 0.03 + 0.72 * lambert + 0.12 * gloss * lambert;
    out[0] = TONE[Math.min(1024, (grey * 1024) | 0)];
    out[1] = TONE[Math.min(1024, (grey * 0.96 * 1024) | 0)];
    out[2] = TONE[Math.min(1024, (grey * 0.9 * 1024) | 0)];
    return true;
  };
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

// The colours of all directions that face the viewer.
function paintSphere(canvas, side) {
  painted(canvas, side, side, (i, out) => {
    const x = (2 * ((i % side) + 0.5)) / side - 1, y = 1 - (2 * (Math.floor(i / side) + 0.5)) / side;
    const rest = 1 - x * x - y * y;
    if (rest < 0) return false;
    out[0] = 127.5 * (x + 1); out[1] = 127.5 * (y + 1); out[2] = 127.5 * (Math.sqrt(rest) + 1);
    return true;
  });
}

const vector = (planes, i) => planes.slice(0, 3).map((p) => (p[i] / NORMAL_ONE).toFixed(3).replace("-", "\u2212"));

// What the file holds at one pixel, in words. Column and row are those of the file, not of the page's picture.
function reading(maps, regions, column, row) {
  const { sample, width, height } = maps, i = row * width + column;
  const place = [Math.floor(((2 * column + 1) * sample.full_width) / (2 * width)), Math.floor(((2 * row + 1) * sample.full_height) / (2 * height))];
  const known = maps.target[0][i] || maps.target[1][i] || maps.target[2][i];
  const result = { pixel: `${place[0]}, ${place[1]}`, region: known ? regions[maps.region[i]] || "" : "outside the mask", target: "", predicted: "", error: "" };
  if (!known) return result;
  result.target = `(${vector(maps.target, i).join(", ")})`;
  if (!maps.predicted) return result;
  const scored = maps.error[i] >= 0, shown = maps.predicted[0][i] || maps.predicted[1][i] || maps.predicted[2][i];
  result.predicted = shown ? `(${vector(maps.predicted, i).join(", ")})` : scored ? "no direction" : "";
  result.error = scored ? `${(maps.error[i] / ERROR_ONE).toFixed(1)}°` : "not scored";
  return result;
}
