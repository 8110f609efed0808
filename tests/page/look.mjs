/**
 * The page in a real browser: `node look.mjs ADDRESS CHROMIUM MODULES OUT < preparation.txt`.
 *
 * ADDRESS is what the service printed, token and all. Ten digits are drawn with a mouse, one with a pen, a finger and the keyboard; one is
 * corrected; the network goes. Prints what was seen as one JSON object; screenshots go to the folder OUT.
 */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { answer, correct, draw, finger, launched, opened, pointer } from "./browser.mjs";

const [address, chromium, modules, out] = process.argv.slice(2);
const axe = readFileSync(`${modules}/axe-core/axe.min.js`, "utf8");
const vectors = readFileSync(0, "utf8").trim().split("\n").map((line) => line.split(" "));

const arc = (x, y, rx, ry, from, to, steps = 24) =>
  Array.from({ length: steps + 1 }, (_, i) => {
    const angle = ((from + ((to - from) * i) / steps) * Math.PI) / 180;
    return [x + rx * Math.cos(angle), y + ry * Math.sin(angle)];
  });
const line = (...points) => points.slice(1).flatMap(([x, y], k) =>
  Array.from({ length: 9 }, (_, i) => [points[k][0] + ((x - points[k][0]) * i) / 8, points[k][1] + ((y - points[k][1]) * i) / 8]));

/** Strokes of each digit, in shares of the field's side, y down. */
const DIGITS = [
  [arc(0.5, 0.5, 0.17, 0.28, -80, 285)],
  [line([0.52, 0.2], [0.48, 0.8])],
  [[...arc(0.5, 0.35, 0.17, 0.15, 190, 380), ...line([0.66, 0.4], [0.32, 0.78], [0.7, 0.77])]],
  [[...arc(0.48, 0.35, 0.15, 0.14, 200, 440), ...arc(0.48, 0.64, 0.18, 0.16, -80, 155)]],
  [line([0.36, 0.2], [0.32, 0.52], [0.66, 0.5]), line([0.64, 0.22], [0.6, 0.82])],
  [[...line([0.66, 0.22], [0.4, 0.22], [0.37, 0.48]), ...arc(0.48, 0.62, 0.17, 0.17, -120, 150)]],
  [[...line([0.6, 0.18], [0.42, 0.42]), ...arc(0.5, 0.64, 0.15, 0.15, 200, 560)]],
  [line([0.32, 0.24], [0.68, 0.24], [0.46, 0.8])],
  [[...arc(0.5, 0.35, 0.13, 0.14, 60, -240), ...arc(0.5, 0.64, 0.16, 0.16, -120, 260)]],
  [[...arc(0.5, 0.36, 0.15, 0.15, 0, -350), ...line([0.65, 0.36], [0.6, 0.82])]],
];

const seen = { problems: [], requested: [] };

async function faults(page, where) {
  const { violations } = await page.evaluate(`${axe}; axe.run()`);
  return violations.map(({ id, impact, nodes }) => `${where}: ${id} (${impact}) ${nodes[0].html.slice(0, 80)}`);
}

const ready = (page) => page.waitForFunction(() => document.querySelector("#model").textContent.includes("without a network"));

function listen(context, page) {
  page.on("console", (message) => message.type() === "error" && seen.problems.push(message.text()));
  page.on("pageerror", (error) => seen.problems.push(String(error)));
  context.on("request", (request) => seen.requested.push(new URL(request.url()).host));
}

const browser = await launched(chromium, modules);
try {
  const desk = await opened(browser, address, { viewport: { width: 1100, height: 800 } }, listen);
  await ready(desk.page);
  seen.model = await desk.page.locator("#model").textContent();
  seen.faults = await faults(desk.page, "empty");
  seen.asked = [await desk.page.locator("#correction").isVisible()];

  seen.digits = [];
  for (const strokes of DIGITS) {
    await desk.page.locator("#field").press("Escape");
    await draw(desk, strokes, pointer("mouse", 0));
    seen.digits.push(await answer(desk.page));
  }
  seen.faults.push(...await faults(desk.page, "drawn"));
  seen.asked.push(await desk.page.locator("#correction").isVisible());
  await desk.page.locator("#field").press("Escape");
  await draw(desk, DIGITS[5], pointer("mouse", 0));
  await desk.page.screenshot({ path: `${out}/desktop.png` });

  seen.vectors = await desk.page.evaluate(async (lines) => {
    const { prepared } = await import("./prepare.js");
    const bytes = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
    return lines.map(([width, height, picture, made]) =>
      prepared(bytes(picture), Number(width), Number(height)).join() === bytes(made).join());
  }, vectors);

  await desk.page.locator("#field").press("Escape");
  await desk.page.locator("#field").press(" ");
  for (let i = 0; i < 12; i++) await desk.page.keyboard.press(i % 2 ? "Shift+ArrowDown" : "ArrowDown");
  await pause(200);
  seen.keys = await answer(desk.page);

  // Escape and Backspace while the button is down: what is drawn then begins nothing.
  seen.lifted = [];
  for (const key of ["Escape", "Backspace"]) {
    const { x, y, width } = await desk.page.locator("#field").boundingBox();
    await desk.page.locator("#field").press("Escape");
    await desk.page.mouse.move(x + width / 4, y + width / 4);
    await desk.page.mouse.down();
    await desk.page.mouse.move(x + width / 2, y + width / 3);
    await desk.page.keyboard.press(key);
    await desk.page.mouse.move(x + width / 3, y + width / 2);
    await desk.page.mouse.up();
    seen.lifted.push(await desk.page.locator("#undo").isDisabled());
  }
  await draw(desk, DIGITS[1], pointer("mouse", 0));
  seen.lifted.push((await answer(desk.page)).answer);

  await desk.page.locator("#field").press("Escape");
  await draw(desk, DIGITS[7], pointer("pen", 0.7));
  seen.pen = await answer(desk.page);
  seen.kept = await correct(desk.page, 9);

  await desk.context.setOffline(true);
  await desk.page.reload();
  seen.network = await desk.page.evaluate(() => fetch("/v1/models/digits").then(() => "there", () => "gone"));
  await draw(desk, DIGITS[7], pointer("mouse", 0));
  seen.offline = await answer(desk.page);

  const phone = await opened(browser, address, {
    viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme: "dark",
  }, listen);
  await ready(phone.page);
  await draw(phone, DIGITS[3], finger);
  seen.finger = await answer(phone.page);
  seen.width = await phone.page.evaluate(() => document.documentElement.scrollWidth);
  seen.faults.push(...await faults(phone.page, "phone"));
  await phone.page.screenshot({ path: `${out}/phone.png`, fullPage: true });

  const { page } = await opened(browser, `${address.split("#")[0]}#another`);
  await page.waitForSelector("#model.problem");
  seen.stranger = await page.locator("#model").textContent();
} finally {
  await browser.close();
}
seen.requested = [...new Set(seen.requested)];
console.log(JSON.stringify(seen));
