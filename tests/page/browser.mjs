/** The page in Debian's Chromium, by playwright-core: opened, drawn on with a mouse, a pen or a finger, and what it then says. */
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";

/** Chromium, to be closed. modules: the folder that npm filled. */
export function launched(executablePath, modules) {
  const { chromium } = createRequire(`${modules}/`)("playwright-core");
  return chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

/** A window of its own at an address, with the protocol by which real pointer events are sent. */
export async function opened(browser, address, options = {}, listen = () => {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  listen(context, page);
  const client = await context.newCDPSession(page);
  await page.goto(address);
  return { context, page, client };
}

/** What is seen of a page: errors that it logs, faults that axe finds, the kinds of addresses that it asks for. */
export const noted = () => ({ problems: [], faults: [], requested: [] });

export const listening = (seen) => (context, page) => {
  page.on("console", (message) => message.type() === "error" && seen.problems.push(message.text()));
  page.on("pageerror", (error) => seen.problems.push(String(error)));
  context.on("request", (request) => {
    const kind = request.url().split(":")[0];
    if (!seen.requested.includes(kind)) seen.requested.push(kind);
  });
};

/** Looks for faults with axe, whose source is given. */
export const checked = (axe, seen) => async (page, where) => {
  const { violations } = await page.evaluate(`${axe}; axe.run()`);
  seen.faults.push(...violations.map(({ id, impact, nodes }) => `${where}: ${id} (${impact}) ${nodes[0].html.slice(0, 80)}`));
};

export const wide = (page) => page.evaluate(() => document.documentElement.scrollWidth);
/** By how many pixels each table's last column stays outside its box, however far one scrolls. */
export const cut = (page) => page.evaluate(() => [...document.querySelectorAll(".table")].filter((box) => box.checkVisibility()).map((box) => {
  box.scrollLeft = box.scrollWidth;
  const last = box.querySelector("th:last-child").getBoundingClientRect().right;
  box.scrollLeft = 0;
  return Math.max(0, Math.round(last - box.getBoundingClientRect().right));
}));

/** Strokes in shares of the field's side, [x, y, …] a point; returns when the last of it is read. how: `pointer(…)` or `finger`. */
export async function draw({ page, client }, strokes, how) {
  const { x, y, width } = await page.locator("#field").boundingBox();
  for (const stroke of strokes) {
    const points = stroke.map(([px, py]) => [x + px * width, y + py * width]);
    for (const [i, [px, py]] of [...points, points.at(-1)].entries()) {
      await how(client, i === 0 ? "begin" : i === points.length ? "end" : "go", px, py);
    }
  }
  await page.waitForFunction(() => document.querySelector("#answer").textContent !== "–");
  await pause(100); // the last frame's reading
}

const MOUSE = { begin: "mousePressed", go: "mouseMoved", end: "mouseReleased" };
/** A mouse or a pen. */
export const pointer = (pointerType, force) => (client, phase, x, y) => client.send("Input.dispatchMouseEvent",
  { type: MOUSE[phase], x, y, button: "left", buttons: phase === "end" ? 0 : 1, clickCount: 1, pointerType, force });
const TOUCH = { begin: "touchStart", go: "touchMove", end: "touchEnd" };
export const finger = (client, phase, x, y) => client.send("Input.dispatchTouchEvent",
  { type: TOUCH[phase], touchPoints: phase === "end" ? [] : [{ x, y }] });

/** What the page says of the drawing. */
export async function answer(page) {
  const text = (id) => page.locator(id).textContent();
  return { answer: await text("#answer"), certainty: await text("#certainty"), time: await text("#time") };
}

/** Say what the drawing is, by a class's number; returns what the page says to that. */
export async function correct(page, label) {
  await page.locator("#classes button").nth(label).click();
  await page.waitForFunction(() => document.querySelector("#kept").textContent !== "");
  return page.locator("#kept").textContent();
}
