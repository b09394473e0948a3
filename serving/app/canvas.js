// An ECG on millimetre paper (a gr.HTML component): wheel, pinch and keys zoom, dragging moves, calipers measure.
// In: props.value, the JSON of `drawn.py`. All places are in mm of the paper (25 mm/s, 10 mm/mV); `view` says where it lies.
const SPEED = 25, GAIN = 10, PULSE = 8, MISSING = -32768;
const root = element.querySelector(".ecg-view"), canvas = root.querySelector("canvas"), readout = root.querySelector(".readout");
const pen = canvas.getContext("2d");
const COLORS = { paper: "#fffaf8", small: "#f6d9d5", large: "#e9aaa3", trace: "#16181d", second: "#0b57d0", mark: "#6a3fb5", caliper: "#0b57d0" };
let data = null, strips = [], size = { width: 250, height: 100 }, view = { scale: 3, x: 0, y: 0 };
const PAPER = { width: 277, height: 150 }, DOTS = 8; // mm of A4, landscape, within margins and below the title; pixels a mm
let printing = false, layout = "auto", calipers = false, box = null, pointers = new Map(), pinch = null, queued = false, beatsOnly = false;

function samples(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
  return new Int16Array(bytes.buffer);
}

function load() {
  let given = props.value;
  if (typeof given === "string") { try { given = given ? JSON.parse(given) : null; } catch { given = null; } }
  if (given && given.ecgs && given.ecgs.length) {
    for (const ecg of given.ecgs) for (const lead of ecg.leads) ecg.rows[lead] = samples(ecg.rows[lead]);
    for (const beat of given.beats || []) if (beat) for (const lead in beat.rows) beat.rows[lead] = samples(beat.rows[lead]);
    data = given;
  } else data = null;
  root.classList.toggle("empty", !data);
  root.querySelector('[data-do="beats"]').hidden = !(data && data.beats);
  if (!(data && data.beats)) beatsOnly = false;
  canvas.setAttribute("aria-label", data ? `ECG on paper: ${data.ecgs.map(e => `${e.title}, ${e.leads.length} leads, ${(e.samples / e.rate).toFixed(1)} s`).join("; ")}` : "No ECG");
  box = null;
  arrange(); fit();
}

const STANDARD = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"];

// Strips: {ecg, lead, from, to (samples), x, y (mm, of its zero line), label, color}
function arrange() {
  strips = [];
  if (!data) return;
  if (beatsOnly) return arrangeBeats();
  let top = 4, wide = 0;
  data.ecgs.forEach((ecg, number) => {
    const seconds = ecg.samples / ecg.rate, color = number ? COLORS.second : COLORS.trace;
    const all = STANDARD.every(lead => lead in ecg.rows);
    const compact = layout === "3x4" || (layout === "auto" && (printing || canvas.clientWidth >= 820) && seconds <= 12);
    strips.push({ text: ecg.title, x: 4, y: top + 4, color }); top += 7;
    if (all && compact) {
      const part = Math.floor(ecg.samples / 4), columns = [0, 1, 2, 3];
      for (let row = 0; row < 3; row++) {
        const leads = columns.map(column => STANDARD[3 * column + row]);
        const ranges = columns.map(column => range(ecg, leads[column], column * part, (column + 1) * part));
        const high = Math.max(8, ...ranges.map(one => one.high)), low = Math.max(6, ...ranges.map(one => one.low));
        top += high + 3;
        columns.forEach(column => strips.push({ ecg, lead: leads[column], from: column * part, to: (column + 1) * part, x: 4 + PULSE + column * part / ecg.rate * SPEED, y: top, label: leads[column], high: Math.min(high, 9), color, pulse: column === 0, number }));
        top += low + 1;
      }
      const own = range(ecg, "II", 0, ecg.samples);
      top += Math.max(8, own.high) + 3;
      strips.push({ ecg, lead: "II", from: 0, to: ecg.samples, x: 4 + PULSE, y: top, label: "II", high: Math.min(Math.max(8, own.high), 9), color, pulse: true, number });
      top += Math.max(6, own.low) + 2;
    } else for (const lead of ecg.leads) {
      const own = range(ecg, lead, 0, ecg.samples);
      top += Math.max(5, own.high) + 1.5;
      strips.push({ ecg, lead, from: 0, to: ecg.samples, x: 4 + PULSE, y: top, label: lead, high: Math.min(Math.max(5, own.high), 9), color, pulse: true, number });
      top += Math.max(4, own.low) + 0.5;
    }
    wide = Math.max(wide, seconds * SPEED + PULSE + 8);
  });
  size = { width: Math.ceil(wide / 5) * 5, height: Math.ceil((top + 3) / 5) * 5 };
}

function arrangeBeats() {
  const beats = data.beats, leads = STANDARD.filter(lead => beats.some(beat => beat && lead in beat.rows));
  const columns = printing || canvas.clientWidth >= 820 ? 4 : 2, wide = 30;
  const rowOf = place => columns === 4 ? place % 3 : Math.floor(place / columns), columnOf = place => columns === 4 ? Math.floor(place / 3) : place % columns;
  let top = 2;
  for (let row = 0; row <= Math.max(...leads.map((_, place) => rowOf(place))); row++) {
    const own = leads.filter((_, place) => rowOf(place) === row);
    const ranges = own.flatMap(lead => beats.filter(beat => beat && lead in beat.rows).map(beat => range(beat, lead, 0, beat.samples)));
    const y = top + 6 + Math.max(8, ...ranges.map(one => one.high));
    own.forEach(lead => {
      const x = 6 + columnOf(leads.indexOf(lead)) * wide;
      strips.push({ text: lead, x, y: top + 4, color: COLORS.trace });
      beats.forEach((beat, number) => {
        if (beat && lead in beat.rows)
          strips.push({ ecg: { rows: beat.rows, rate: beat.rate }, lead, from: 0, to: beat.samples, x: x + (150 - beat.centre) / beat.rate * SPEED, y, color: number ? COLORS.second : COLORS.trace, dashed: number === 1, number });
      });
    });
    top = y + Math.max(6, ...ranges.map(one => one.low)) + 2;
  }
  strips.push({ text: `black: ${data.ecgs[0].title}`, x: 6, y: top + 5, color: COLORS.trace });
  strips.push({ text: `blue, dashed: ${data.ecgs[1].title}`, x: 6, y: top + 11, color: COLORS.second });
  size = { width: 12 + columns * wide, height: top + 15 };
}

function range(ecg, lead, from, to) {
  let low = 0, high = 0;
  const row = ecg.rows[lead], step = Math.max(1, Math.floor((to - from) / 4000));
  for (let at = from; at < to; at += step) if (row[at] !== MISSING) { if (row[at] < low) low = row[at]; if (row[at] > high) high = row[at]; }
  return { low: Math.min(30, -low / 1000 * GAIN), high: Math.min(30, high / 1000 * GAIN) };
}

function fit() {
  const width = root.clientWidth || 320, ratio = window.devicePixelRatio || 1;
  const scale = Math.min(7, width / size.width), high = Math.min(size.height * scale, 1100);
  canvas.style.height = `${data ? Math.max(width < 820 ? 460 : 220, high) : 220}px`;
  canvas.width = Math.round(width * ratio); canvas.height = Math.round(parseFloat(canvas.style.height) * ratio);
  view = { scale: data ? Math.min(scale, parseFloat(canvas.style.height) / size.height) : scale, x: 0, y: 0 };
  if (width < 820) view.scale = Math.max(view.scale, 2.4); // on a phone: as large as can be read, moved by a finger
  else view.x = Math.max(0, (width - size.width * view.scale) / 2);
  draw();
}

// On paper an ECG is as large as it is: 25 mm/s and 10 mm/mV with a ruler, unless the page is too small for it.
function forPaper() {
  if (printing || !data) return;
  printing = true;
  arrange();
  const by = Math.min(1, PAPER.width / size.width, PAPER.height / size.height), dots = DOTS * by, ratio = window.devicePixelRatio || 1;
  root.classList.toggle("shrunk", by < 1);
  canvas.width = Math.round(size.width * dots); canvas.height = Math.round(size.height * dots);
  canvas.style.width = `${canvas.width / DOTS}mm`; canvas.style.height = `${canvas.height / DOTS}mm`;
  view = { scale: dots / ratio, x: 0, y: 0 };
  paint();
}

function forScreen() {
  if (!printing) return;
  printing = false; canvas.style.width = "";
  arrange(); fit();
}

function draw() { if (!queued) { queued = true; requestAnimationFrame(() => { queued = false; paint(); }); } }

function paint() {
  const ratio = window.devicePixelRatio || 1, width = canvas.width / ratio, height = canvas.height / ratio, k = view.scale;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.fillStyle = COLORS.paper; pen.fillRect(0, 0, width, height);
  const left = -view.x / k, top = -view.y / k, right = left + width / k, bottom = top + height / k;
  if (k >= 2.6) grid(1, COLORS.small, 0.6, left, top, right, bottom, width, height);
  grid(5, COLORS.large, 0.8, left, top, right, bottom, width, height);
  if (!data) return;
  for (const mark of data.marks || []) for (const strip of strips) {
    if (strip.number !== 0 || beatsOnly || !strip.ecg || (mark.lead && mark.lead !== strip.lead)) continue;
    const from = Math.max(mark.start, strip.from / strip.ecg.rate), to = Math.min(mark.end, strip.to / strip.ecg.rate);
    if (from >= to) continue;
    const x = strip.x + (from - strip.from / strip.ecg.rate) * SPEED;
    pen.globalAlpha = 0.08 + 0.42 * mark.weight; pen.fillStyle = COLORS.mark;
    pen.fillRect(x * k + view.x, (strip.y - 8) * k + view.y, (to - from) * SPEED * k, 13 * k);
  }
  pen.globalAlpha = 1;
  for (const strip of strips) {
    if (strip.text) { text(strip.text, strip.x, strip.y, strip.color); continue; }
    if (strip.y + 40 < top || strip.y - 40 > bottom) continue;
    trace(strip, left, right);
    if (strip.pulse) pulse(strip);
    if (strip.label) text(strip.label, strip.x + 1.5, strip.y - strip.high - 0.6, strip.color);
  }
  if (box) caliper();
}

function grid(step, color, wide, left, top, right, bottom, width, height) {
  pen.strokeStyle = color; pen.lineWidth = wide; pen.beginPath();
  for (let x = Math.floor(left / step) * step; x <= right; x += step) { const at = Math.round(x * view.scale + view.x) + 0.5; pen.moveTo(at, 0); pen.lineTo(at, height); }
  for (let y = Math.floor(top / step) * step; y <= bottom; y += step) { const at = Math.round(y * view.scale + view.y) + 0.5; pen.moveTo(0, at); pen.lineTo(width, at); }
  pen.stroke();
}

function trace(strip, left, right) {
  const row = strip.ecg.rows[strip.lead], rate = strip.ecg.rate, k = view.scale;
  const first = Math.max(strip.from, strip.from + Math.floor((left - strip.x) / SPEED * rate) - 1);
  const last = Math.min(strip.to, strip.from + Math.ceil((right - strip.x) / SPEED * rate) + 2);
  pen.strokeStyle = strip.color; pen.lineWidth = Math.max(1, Math.min(1.6, k * 0.32)); pen.lineJoin = "round";
  pen.setLineDash(strip.dashed ? [5, 3] : []);
  pen.beginPath();
  let down = false;
  for (let at = first; at < last; at++) {
    if (row[at] === MISSING) { down = false; continue; }
    const x = (strip.x + (at - strip.from) / rate * SPEED) * k + view.x, y = (strip.y - row[at] / 1000 * GAIN) * k + view.y;
    if (down) pen.lineTo(x, y); else { pen.moveTo(x, y); down = true; }
  }
  pen.stroke(); pen.setLineDash([]);
}

function pulse(strip) {
  const k = view.scale, at = (x, y) => [(strip.x - PULSE + x) * k + view.x, (strip.y - y) * k + view.y];
  pen.strokeStyle = strip.color; pen.lineWidth = 1; pen.beginPath();
  pen.moveTo(...at(0.5, 0)); pen.lineTo(...at(1.5, 0)); pen.lineTo(...at(1.5, GAIN)); pen.lineTo(...at(6.5, GAIN)); pen.lineTo(...at(6.5, 0)); pen.lineTo(...at(7.5, 0));
  pen.stroke();
}

function text(words, x, y, color) {
  pen.font = `600 ${Math.max(11, Math.min(printing ? 27 : 15, view.scale * 3.4))}px system-ui, sans-serif`;
  const at = [x * view.scale + view.x, y * view.scale + view.y];
  pen.lineWidth = 3; pen.strokeStyle = COLORS.paper; pen.strokeText(words, ...at);
  pen.fillStyle = color; pen.fillText(words, ...at);
}

function caliper() {
  const k = view.scale, x = [box.x0, box.x1].map(one => one * k + view.x), y = [box.y0, box.y1].map(one => one * k + view.y);
  pen.fillStyle = COLORS.caliper; pen.globalAlpha = 0.1; pen.fillRect(x[0], y[0], x[1] - x[0], y[1] - y[0]); pen.globalAlpha = 1;
  pen.strokeStyle = COLORS.caliper; pen.lineWidth = 1.5; pen.strokeRect(x[0], y[0], x[1] - x[0], y[1] - y[0]);
  const ms = Math.abs(box.x1 - box.x0) / SPEED * 1000, mv = (box.y0 - box.y1) / GAIN;
  readout.textContent = `${ms.toFixed(0)} ms${ms > 150 ? `, ${(60000 / ms).toFixed(0)} /min` : ""}, ${mv.toFixed(2)} mV`;
}

function zoom(factor, x, y) {
  const scale = Math.max(0.8, Math.min(40, view.scale * factor)), by = scale / view.scale;
  view = { scale, x: x - (x - view.x) * by, y: y - (y - view.y) * by };
  draw();
}

const place = event => { const own = canvas.getBoundingClientRect(); return [event.clientX - own.left, event.clientY - own.top]; };
canvas.addEventListener("wheel", event => { if (!data) return; event.preventDefault(); zoom(Math.exp(-event.deltaY * 0.0016), ...place(event)); }, { passive: false });
canvas.addEventListener("pointerdown", event => {
  if (!data) return;
  canvas.setPointerCapture(event.pointerId); pointers.set(event.pointerId, place(event));
  if (calipers && pointers.size === 1) { const [x, y] = place(event).map((one, axis) => (one - (axis ? view.y : view.x)) / view.scale); box = { x0: x, y0: y, x1: x, y1: y }; }
});
canvas.addEventListener("pointermove", event => {
  if (!pointers.has(event.pointerId)) return;
  const before = pointers.get(event.pointerId), now = place(event);
  pointers.set(event.pointerId, now);
  if (pointers.size === 2) {
    const [one, two] = [...pointers.values()], apart = Math.hypot(one[0] - two[0], one[1] - two[1]);
    if (pinch) zoom(apart / pinch, (one[0] + two[0]) / 2, (one[1] + two[1]) / 2);
    pinch = apart;
  } else if (calipers && box) { box.x1 = (now[0] - view.x) / view.scale; box.y1 = (now[1] - view.y) / view.scale; draw(); }
  else { view.x += now[0] - before[0]; view.y += now[1] - before[1]; draw(); }
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => { pointers.delete(event.pointerId); pinch = null; });
canvas.addEventListener("dblclick", () => fit());
canvas.addEventListener("keydown", event => {
  const middle = [canvas.clientWidth / 2, canvas.clientHeight / 2], step = 40;
  const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
  if (event.key in moves) { view.x += moves[event.key][0]; view.y += moves[event.key][1]; draw(); }
  else if (event.key === "+" || event.key === "=") zoom(1.25, ...middle);
  else if (event.key === "-") zoom(0.8, ...middle);
  else if (event.key === "0") fit();
  else return;
  event.preventDefault();
});
for (const button of root.querySelectorAll("button[data-do]")) button.addEventListener("click", () => {
  const middle = [canvas.clientWidth / 2, canvas.clientHeight / 2], what = button.dataset.do;
  if (what === "in") zoom(1.3, ...middle);
  if (what === "out") zoom(1 / 1.3, ...middle);
  if (what === "fit") { box = null; readout.textContent = ""; fit(); }
  if (what === "layout") { layout = button.getAttribute("aria-pressed") === "true" ? "3x4" : "rows"; button.setAttribute("aria-pressed", layout === "rows"); arrange(); fit(); }
  if (what === "calipers") { calipers = !calipers; button.setAttribute("aria-pressed", calipers); root.classList.toggle("measuring", calipers); if (!calipers) { box = null; readout.textContent = ""; draw(); } }
  if (what === "beats") { beatsOnly = !beatsOnly; button.setAttribute("aria-pressed", beatsOnly); box = null; arrange(); fit(); }
});
let width = 0;
// In the next frame: what it changes would be observed in this one, which browsers report as an error.
new ResizeObserver(() => requestAnimationFrame(() => { if (!printing && root.clientWidth !== width) { width = root.clientWidth; arrange(); fit(); } })).observe(root);
window.addEventListener("beforeprint", forPaper); window.addEventListener("afterprint", forScreen);
window.matchMedia("print").addEventListener("change", event => (event.matches ? forPaper : forScreen)());
watch("value", load);
load();
