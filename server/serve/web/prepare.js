/**
 * Any picture of one digit → 28 × 28 in MNIST's manner: its box scaled to 20 pixels, its centre of mass in the middle.
 *
 * The same bytes as the project's core/data/prepare.py: whole numbers only (all sums are below 2^53, so doubles hold them exactly).
 */
export const SIDE = 28;
const BOX = 20; // pixels of the longer side
const FAINT = 32; // ink below this is no part of the box

/** ink: a byte a pixel, row by row, 0 = paper, 255 = ink. Returns Uint8Array [784]; without ink, an empty field. */
export function prepared(ink, width, height) {
  if (ink.length !== width * height) throw new RangeError(`${ink.length} bytes are not ${width} × ${height}`);
  const field = new Uint8Array(SIDE * SIDE);
  const box = inked(ink, width, height);
  if (!box) return field;
  const high = box.bottom - box.top + 1;
  const wide = box.right - box.left + 1;
  const crop = Array.from({ length: high }, (_, y) =>
    ink.subarray((box.top + y) * width + box.left, (box.top + y) * width + box.left + wide));
  const small = scaled(crop, high, wide);
  centred(small, field);
  return field;
}

/** The box of what is no paper; null if there is nothing. */
function inked(ink, width, height) {
  let [top, bottom, left, right] = [height, -1, width, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (ink[y * width + x] < FAINT) continue;
      [top, bottom] = [Math.min(top, y), y];
      [left, right] = [Math.min(left, x), Math.max(right, x)];
    }
  }
  return bottom < 0 ? null : { top, bottom, left, right };
}

/** The mean of the old pixels by the area that each new one covers of them, rounded half up: rows of numbers. */
function scaled(crop, high, wide) {
  const longer = Math.max(high, wide);
  const [tall, broad] = [high, wide].map((side) => Math.max(1, Math.floor((2 * BOX * side + longer) / (2 * longer))));
  const area = high * wide;
  const squeezed = Array.from({ length: tall }, (_, i) =>
    Array.from({ length: wide }, (_, x) => covered(i, high, tall, (y) => crop[y][x])));
  return Array.from({ length: tall }, (_, i) =>
    Array.from({ length: broad }, (_, k) => Math.floor((2 * covered(k, wide, broad, (x) => squeezed[i][x]) + area) / (2 * area))));
}

/** The sum of the old pixels, each times what the new one covers of it, in 1 / after of an old one. */
function covered(index, before, after, old) {
  const [start, end] = [index * before, (index + 1) * before];
  let total = 0;
  for (let i = Math.floor(start / after); i * after < end; i++) {
    total += (Math.min(end, (i + 1) * after) - Math.max(start, i * after)) * old(i);
  }
  return total;
}

/** Into the field, its centre of mass at (14, 14), as far as it fits. */
function centred(small, field) {
  let [total, down, along] = [0, 0, 0];
  small.forEach((row, y) => row.forEach((value, x) => {
    [total, down, along] = [total + value, down + y * value, along + x * value];
  }));
  const top = start(down, Math.max(total, 1), small.length);
  const left = start(along, Math.max(total, 1), small[0].length);
  small.forEach((row, y) => field.set(row, (top + y) * SIDE + left));
}

function start(moment, total, side) {
  return Math.min(Math.max(Math.floor(((SIDE + 1) * total - 2 * moment) / (2 * total)), 0), SIDE - side);
}
