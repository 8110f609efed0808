/** The page: draw, and the model answers in the browser, as you draw. */
import { prepared, SIDE } from "./prepare.js";
import { Strokes } from "./strokes.js";

const $ = (id) => document.getElementById(id);
const STEP = 0.02; // of the field's side: one press of an arrow
const FAR = 0.08; // the same with shift
const token = location.hash.slice(1);
const strokes = new Strokes();
const pen = { x: 0.5, y: 0.25, down: false, shown: false }; // of the keyboard
let model = null; // {about, session, ort}, once it is here
let reading = null; // {image, probabilities} of what is drawn now
let wanted = false;
let busy = false;

/** Ask the service for something of this page; its token goes along. Raises Error with the service's own sentence. */
async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: { ...options.headers, authorization: `Bearer ${token}` } });
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Error(body.error ?? `${response.status} ${response.statusText}`);
}

async function loadModel() {
  const about = await (await ask("about.json")).json();
  if (!about.file) throw new Error(about.why);
  const ort = await import("./ort/ort.wasm.min.mjs").catch(() => {
    throw new Error("ONNX Runtime's own files for browsers are missing: run `make page` where the service is, then load this page again");
  });
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("ort/", location.href).href;
  const file = await (await ask(about.file)).arrayBuffer();
  return { about, ort, session: await ort.InferenceSession.create(new Uint8Array(file)) };
}

async function begin() {
  resized();
  try {
    model = await loadModel();
  } catch (error) {
    $("model").textContent = error.message;
    $("model").className = "problem";
    return;
  }
  const { about } = model;
  $("model").textContent = `${about.name}, version ${about.version}, in this browser`;
  $("classes").replaceChildren(...about.labels.map(row));
  changed();
  navigator.serviceWorker?.register("offline.js").then(keepOffline, () => {}); // none over TLS that the browser does not trust
}

/** The model, asked for once more through the worker, which keeps it for a time without a network. */
async function keepOffline() {
  const worker = navigator.serviceWorker;
  if (!worker.controller) await new Promise((go) => worker.addEventListener("controllerchange", go, { once: true }));
  await Promise.all(["about.json", model.about.file].map((path) => ask(path)));
  if (await caches.match(model.about.file, { ignoreVary: true })) $("model").textContent += ", also without a network";
}

function row(label, index) {
  const line = document.createElement(model.about.learn ? "button" : "div");
  line.className = "class";
  line.append(...["b", "i", "span"].map((tag) => document.createElement(tag)));
  line.firstChild.textContent = label;
  if (model.about.learn) {
    line.type = "button";
    line.addEventListener("click", () => correct(index));
  }
  const item = document.createElement("li");
  item.append(line);
  return item;
}

// ── drawing ──

function resized() {
  const field = $("field");
  field.width = field.height = Math.round(field.clientWidth * devicePixelRatio);
  redraw();
}

function redraw() {
  const field = $("field");
  const context = field.getContext("2d");
  context.clearRect(0, 0, field.width, field.height);
  const style = getComputedStyle(field);
  strokes.show(context, field.width, style.color);
  if (!pen.shown) return;
  context.beginPath();
  context.arc(pen.x * field.width, pen.y * field.width, 0.03 * field.width, 0, 2 * Math.PI);
  context.lineWidth = 0.008 * field.width;
  context.strokeStyle = style.getPropertyValue(pen.down ? "--unsure" : "--best");
  context.stroke();
}

function changed() {
  $("undo").disabled = $("clear").disabled = strokes.empty;
  $("kept").textContent = "";
  redraw();
  wanted = true;
  if (!busy) requestAnimationFrame(read);
  busy = true;
}

/** One reading after another, always of the newest drawing. */
async function read() {
  while (wanted) {
    wanted = false;
    try {
      reading = model && !strokes.empty ? await timed() : null;
    } catch (error) {
      reading = null; // of this drawing; the next is read again
      console.error(error);
    }
    showAnswer();
  }
  busy = false;
}

async function timed() {
  const start = performance.now();
  const { ink, width, height } = strokes.picture();
  const image = prepared(ink, width, height);
  const probabilities = await predicted(image);
  return { image, probabilities, milliseconds: performance.now() - start };
}

/** image: Uint8Array [784] → probabilities. */
async function predicted(image) {
  const { ort, session } = model;
  const input = new ort.Tensor("float32", Float32Array.from(image, (value) => value / 255), [1, SIDE, SIDE, 1]);
  const { probabilities } = await session.run({ image: input });
  return Array.from(probabilities.data);
}

function showAnswer() {
  const best = reading ? reading.probabilities.indexOf(Math.max(...reading.probabilities)) : -1;
  const unsure = reading && reading.probabilities[best] < model.about.threshold;
  const answer = reading ? model.about.labels[best] : "–";
  if ($("answer").textContent !== answer) $("answer").textContent = answer; // said aloud only when it is another
  $("answer").className = $("certainty").className = unsure ? "unsure" : "";
  $("certainty").textContent = reading ? `${percent(reading.probabilities[best])}${unsure ? ", not sure" : ""}` : "";
  $("time").textContent = reading ? `prepared and read in ${reading.milliseconds.toFixed(1)} ms` : "\u00a0";
  $("correction").hidden = !(reading && model.about.learn);
  document.querySelectorAll(".class").forEach((line, index) => {
    const share = reading ? reading.probabilities[index] : 0;
    line.classList.toggle("best", index === best);
    line.children[1].style.width = `${100 * share}%`;
    line.children[2].textContent = reading ? percent(share) : "";
    line.disabled = !reading;
  });
  showImage();
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function showImage() {
  const context = $("seen").getContext("2d");
  const picture = context.createImageData(SIDE, SIDE);
  (reading?.image ?? new Uint8Array(SIDE * SIDE)).forEach((value, i) => picture.data.set([value, value, value, 255], 4 * i));
  context.putImageData(picture, 0, 0);
}

/** What is drawn is the class with this index, says a person. */
async function correct(index) {
  if (!reading) return;
  const { labels, version } = model.about;
  const best = reading.probabilities.indexOf(Math.max(...reading.probabilities));
  const drawn = JSON.stringify(strokes.all);
  const body = JSON.stringify({
    image: Array.from(reading.image), label: index, strokes: strokes.all,
    read: best, confidence: reading.probabilities[best], version,
  });
  try {
    await ask("corrections", { method: "POST", headers: { "content-type": "application/json" }, body });
    if (JSON.stringify(strokes.all) === drawn) clear(); // else somebody drew on meanwhile
    $("kept").className = "";
    $("kept").textContent = `Kept as ${labels[index]}. Its owner looks at it before it is learned.`;
  } catch (error) {
    $("kept").className = "problem";
    $("kept").textContent = `Not kept: ${error.message}`;
  }
}

// ── hands ──

const field = $("field");
function pointOf(event) {
  const { left, top, width, height } = field.getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / height, event.timeStamp, event.pressure];
}

let drawing = null; // the pointer that draws

field.addEventListener("pointerdown", (event) => {
  if (drawing !== null || (event.pointerType === "mouse" && event.button !== 0)) return;
  field.setPointerCapture(event.pointerId);
  drawing = event.pointerId;
  pen.shown = pen.down = false;
  strokes.begin(...pointOf(event));
  changed();
});
field.addEventListener("pointermove", (event) => {
  if (event.pointerId !== drawing) return;
  const samples = event.getCoalescedEvents?.() ?? [];
  for (const sample of samples.length ? samples : [event]) strokes.go(...pointOf(sample));
  changed();
});
for (const end of ["pointerup", "pointercancel"]) {
  field.addEventListener(end, (event) => { if (event.pointerId === drawing) drawing = null; });
}

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
field.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (MOVES[event.key]) {
    const by = event.shiftKey ? FAR : STEP;
    [pen.x, pen.y] = [pen.x, pen.y].map((value, axis) => Math.min(Math.max(value + by * MOVES[event.key][axis], 0), 1));
    pen.shown = true;
    if (pen.down) strokes.go(pen.x, pen.y, event.timeStamp, 0.5);
  } else if (event.key === " ") {
    if (!event.repeat) {  // a key that is held lifts the pen once
      drawing = null;
      [pen.down, pen.shown] = [!pen.down, true];
      if (pen.down) strokes.begin(pen.x, pen.y, event.timeStamp, 0.5);
    }
  } else if (event.key === "Backspace") undo();
  else if (event.key === "Escape") clear();
  else return;
  event.preventDefault();
  changed();
});
field.addEventListener("blur", () => { pen.shown = false; redraw(); });

function undo() {
  strokes.undo();
  lift();
  changed();
}

function clear() {
  strokes.clear();
  lift();
  changed();
}

/** Whoever draws begins a new stroke: the last one may be gone. */
function lift() {
  pen.down = false;
  drawing = null;
}

$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", clear);
new ResizeObserver(resized).observe(field);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
begin();
