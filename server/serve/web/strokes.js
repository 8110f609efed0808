/** What is drawn: strokes of points [x, y, t, pressure]; x, y as shares of the field's side, t in milliseconds from the first point. */
const BROAD = 0.12; // a line's breadth over the longer side of the digit's box: with it, as broad as MNIST's
const SHOWN = 0.045; // the same over the field's side, as people see it
const LEAST = 0.04; // a dot's size over the field's side
const ACROSS = 200; // pixels of the longer side of the picture that is prepared

export class Strokes {
  constructor() {
    this.all = [];
    this.start = 0;
  }

  get empty() { return !this.all.length; }

  /** The first point of a stroke. */
  begin(x, y, time, pressure) {
    if (this.empty) this.start = time;
    this.all.push([]);
    this.go(x, y, time, pressure);
  }

  /** One more point of it. */
  go(x, y, time, pressure) {
    const [px, py] = [x, y].map((share) => rounded(Math.min(Math.max(share, 0), 1), 1e4));
    this.all.at(-1).push([px, py, rounded(Math.max(time - this.start, 0), 10), rounded(pressure, 100)]);
  }

  undo() { this.all.pop(); }

  clear() { this.all = []; }

  /** On a square context of so many pixels, as people see them. */
  show(context, side, colour) {
    context.strokeStyle = colour;
    traced(context, this.all, SHOWN * side, (x, y) => [x * side, y * side]);
  }

  /** The picture that is prepared: {ink: Uint8Array, width, height}, 0 = paper, 255 = ink. */
  picture() {
    const points = this.all.flat();
    const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
    const [left, right, top, bottom] = [least(xs), most(xs), least(ys), most(ys)];
    const longer = Math.max(right - left, bottom - top, LEAST);
    const [scale, line] = [ACROSS / longer, BROAD * ACROSS];
    const margin = Math.ceil(line / 2) + 2;
    const width = Math.ceil((right - left) * scale) + 2 * margin;
    const height = Math.ceil((bottom - top) * scale) + 2 * margin;
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    context.fillRect(0, 0, width, height);
    context.strokeStyle = "#fff";
    traced(context, this.all, line, (x, y) => [(x - left) * scale + margin, (y - top) * scale + margin]);
    const { data } = context.getImageData(0, 0, width, height);
    return { ink: Uint8Array.from({ length: width * height }, (_, i) => data[4 * i]), width, height };
  }
}

function traced(context, strokes, line, toPixels) {
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = line;
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...toPixels(...stroke[0]));
    for (const point of stroke.length > 1 ? stroke.slice(1) : stroke) context.lineTo(...toPixels(...point));
    context.stroke();
  }
}

const rounded = (value, steps) => Math.round(value * steps) / steps;
const least = (values) => values.reduce((a, b) => Math.min(a, b));
const most = (values) => values.reduce((a, b) => Math.max(a, b));
