/** The page in a real browser, isolated and not: figures that move, agree with the engine's counters, and no jank. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { describe, it } from "node:test";
import { chromium } from "playwright-core";

const EXECUTABLE = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const skip = EXECUTABLE ? false : "no Chromium on this machine";

async function served(args: string[]): Promise<{ url: string; child: ChildProcess }> {
  const child = spawn(process.execPath, ["scripts/play.mjs", "--port", "0", ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.once("data", (chunk) => resolve(String(chunk).trim()));
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  return { url, child };
}

for (const [mode, args, build] of [
  ["cross-origin isolated", [], "shared"],
  ["not isolated", ["--not-isolated"], "plain"],
] as const) {
  describe(`the page, ${mode}`, { skip }, () => {
    it("forwards, shows what the engine counts, and stays smooth", async (t) => {
      const { url, child } = await served([...args]);
      const browser = await chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
      t.after(async () => {
        await browser.close();
        child.kill();
      });
      const page = await browser.newPage({ viewport: { width: 1100, height: 900 } });
      const errors: string[] = [];
      page.on("pageerror", (error) => errors.push(error.message));
      page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
      await page.goto(url);
      await page.waitForSelector("#run:not([disabled])", { timeout: 60_000 });
      assert.match(await page.locator("#facts").innerText(), new RegExp(`564,579 IPv4 and 167,903 IPv6 routes .*${build} build`));
      await page.click("#run");
      await page.waitForFunction(() => Number(document.getElementById("mpps")?.textContent) > 0);
      // Frames drawn in two seconds while the engine runs in its worker.
      const frames = await page.evaluate(
        () =>
          new Promise<number>((resolve) => {
            let n = 0;
            const end = performance.now() + 2000;
            const tick = () => {
              n++;
              if (performance.now() < end) requestAnimationFrame(tick);
              else resolve(n);
            };
            requestAnimationFrame(tick);
          }),
      );
      t.diagnostic(`${frames / 2} frames a second`);
      assert.ok(frames > 40, `${frames} frames in two seconds`);
      mkdirSync("build/screenshots", { recursive: true });
      await page.screenshot({ path: `build/screenshots/play-${build}.png`, fullPage: true });
      await page.selectOption('select[name="family"]', "6");
      await page.selectOption('select[name="distribution"]', "uniform");
      await page.waitForFunction(() => /no route/.test(document.getElementById("drops")?.textContent ?? ""), undefined, {
        timeout: 30_000,
      });
      await page.click("#run");
      await page.waitForFunction(() => /Stopped|Not verified/.test(document.getElementById("status")?.textContent ?? ""));
      assert.match(await page.locator("#status").innerText(), /every packet is accounted for/);
      await page.waitForTimeout(200);
      const shown = Number((await page.locator("#total").innerText()).replaceAll(",", ""));
      const counted = Number(await page.getAttribute("#total", "data-transmitted"));
      assert.ok(shown > 0 && shown === counted, `the page shows ${shown}, the engine counts ${counted}`);
      assert.deepEqual(errors, []);
    });
  });
}
