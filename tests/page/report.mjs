/**
 * A run's report.html in a real browser: `node report.mjs ADDRESS CHROMIUM MODULES OUT`.
 *
 * Its curves are followed by mouse, keys and finger; it is looked at in light, in the dark, on a telephone, on paper, and without scripts.
 * Prints what was seen as one JSON object; screenshots go to the folder OUT.
 */
import { readFileSync } from "node:fs";
import { checked, cut, finger, launched, listening, noted, opened, wide } from "./browser.mjs";

const [address, chromium, modules, out] = process.argv.slice(2);
const axe = readFileSync(`${modules}/axe-core/axe.min.js`, "utf8");
const seen = noted();
const faults = checked(axe, seen), listen = listening(seen);

const curves = (page, i = 0) => page.locator("figure[data-curves]").nth(i);
const valueText = (page) => curves(page).locator(".field").getAttribute("aria-valuetext");
const shown = async (page, i = 0) => ({
  picture: await curves(page, i).locator("img").isVisible(), curves: await curves(page, i).locator(".field").isVisible(),
});

const browser = await launched(chromium, modules);
try {
  const desk = await opened(browser, address, { viewport: { width: 1100, height: 900 } }, listen);
  seen.desk = await shown(desk.page);
  seen.fields = await desk.page.locator(".field").count();
  seen.end = await valueText(desk.page);
  const field = curves(desk.page).locator(".field");
  await field.scrollIntoViewIfNeeded();
  const box = await field.boundingBox();
  await desk.page.mouse.move(box.x + 46, box.y + 100);
  seen.hovered = await valueText(desk.page);
  await desk.page.screenshot({ path: `${out}/light.png` });
  await desk.page.mouse.move(0, 0);
  seen.left = await valueText(desk.page);
  await field.focus();
  seen.keys = [];
  for (const key of ["Home", "ArrowRight", "End", "ArrowLeft", "Escape"]) {
    await desk.page.keyboard.press(key);
    seen.keys.push(await valueText(desk.page));
  }
  await curves(desk.page).getByText("by gradient examples").click();
  await field.press("Home");
  seen.examples = await valueText(desk.page);
  const before = await field.locator(".curve").count();
  await curves(desk.page).locator(".keys button").first().click();
  seen.hidden = before - await field.locator(".curve").count();
  seen.cut = await cut(desk.page);
  await faults(desk.page, "light");
  await desk.page.emulateMedia({ media: "print", colorScheme: "dark" });
  seen.print = { ...await shown(desk.page), cut: await cut(desk.page),
    paper: await desk.page.evaluate(() => getComputedStyle(document.body).backgroundColor) };
  await desk.page.pdf({ path: `${out}/printed.pdf`, format: "A4" });

  const dark = await opened(browser, address, { viewport: { width: 1100, height: 900 }, colorScheme: "dark" }, listen);
  seen.dark = await dark.page.evaluate(() =>
    [getComputedStyle(document.body), getComputedStyle(document.querySelectorAll(".picture")[1])].map((one) => one.backgroundColor));
  await faults(dark.page, "dark");
  await dark.page.screenshot({ path: `${out}/dark.png`, fullPage: true });

  const phone = await opened(browser, address,
    { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }, listen);
  seen.width = await wide(phone.page);
  const small = curves(phone.page).locator(".field");
  await small.scrollIntoViewIfNeeded();
  const at = await small.boundingBox();
  await finger(phone.client, "begin", at.x + 46, at.y + 50);
  await finger(phone.client, "end");
  seen.finger = await valueText(phone.page);
  seen.phone = await cut(phone.page);
  await faults(phone.page, "phone");
  await phone.page.screenshot({ path: `${out}/phone.png`, fullPage: true });

  const plain = await opened(browser, address, { viewport: { width: 1100, height: 900 }, javaScriptEnabled: false }, listen);
  seen.plain = { picture: await curves(plain.page).locator("img").isVisible(), fields: await plain.page.locator(".field").count() };
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
