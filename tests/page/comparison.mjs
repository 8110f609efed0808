/**
 * The page of a comparison in a real browser: `node comparison.mjs ADDRESS CHROMIUM MODULES OUT`.
 *
 * It is looked at in light, in the dark, on a telephone and on paper. Prints what was seen as one JSON object; screenshots go to the
 * folder OUT.
 */
import { readFileSync } from "node:fs";
import { checked, cut, launched, listening, noted, opened, wide } from "./browser.mjs";

const [address, chromium, modules, out] = process.argv.slice(2);
const seen = noted();
const faults = checked(readFileSync(`${modules}/axe-core/axe.min.js`, "utf8"), seen), listen = listening(seen);
/** Are all pictures drawn? One that cannot be read has no width. */
const drawn = (page) => page.evaluate(() => [...document.images].map((one) => one.complete && one.naturalWidth > 0));
const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);

const browser = await launched(chromium, modules);
try {
  const desk = await opened(browser, address, { viewport: { width: 1100, height: 900 } }, listen);
  seen.pictures = await drawn(desk.page);
  seen.cut = await cut(desk.page);
  await faults(desk.page, "light");
  await desk.page.screenshot({ path: `${out}/light.png`, fullPage: true });
  await desk.page.getByText("Settings that all runs share").click();
  await faults(desk.page, "open");
  await desk.page.emulateMedia({ media: "print", colorScheme: "dark" });
  seen.print = { cut: await cut(desk.page), paper: await background(desk.page) };
  await desk.page.pdf({ path: `${out}/printed.pdf`, format: "A4" });

  const dark = await opened(browser, address, { viewport: { width: 1100, height: 900 }, colorScheme: "dark" }, listen);
  seen.dark = await background(dark.page);
  await faults(dark.page, "dark");

  const phone = await opened(browser, address,
    { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }, listen);
  seen.width = await wide(phone.page);
  seen.phone = await cut(phone.page);
  await faults(phone.page, "phone");
  await phone.page.screenshot({ path: `${out}/phone.png`, fullPage: true });
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
