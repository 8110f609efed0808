/**
 * Draw on the page, as people do: `node draw.mjs ADDRESS CHROMIUM MODULES < drawings.jsonl`.
 *
 * Each line of the input is {"strokes": [[[x, y], …], …], "label": a class's number or null}; each line of the output what the page said
 * of it: {"answer", "certainty", "time"}, and "kept" where a label corrected it.
 */
import { createInterface } from "node:readline";
import { answer, correct, draw, launched, opened, pointer } from "./browser.mjs";

const [address, chromium, modules] = process.argv.slice(2);
const browser = await launched(chromium, modules);
try {
  const desk = await opened(browser, address, { viewport: { width: 1100, height: 800 } });
  await desk.page.waitForFunction(() => document.querySelector(".class"));
  for await (const line of createInterface({ input: process.stdin })) {
    const { strokes, label } = JSON.parse(line);
    await desk.page.locator("#field").press("Escape");
    await draw(desk, strokes, pointer("pen", 0.5));
    const reply = await answer(desk.page);
    if (label !== null) reply.kept = await correct(desk.page, label);
    console.log(JSON.stringify(reply));
  }
} finally {
  await browser.close();
}
