/**
 * The page in a real browser, isolated and not: figures that move, agree with the engine's counters, and no jank; hosts,
 * labs and tabs that do what they say.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { type Browser, chromium, type Page } from "playwright-core";

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

/** The page, with whatever it complains of kept in `errors`. */
async function opened(browser: Browser, url: string, width = 1100): Promise<{ page: Page; errors: string[] }> {
  const context = await browser.newContext({ viewport: { width, height: 900 } });
  const page = await context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(url);
  return { page, errors };
}

const textHas = (page: Page, id: string, pattern: RegExp) =>
  page.waitForFunction(
    ([id, source]) => new RegExp(source).test(document.getElementById(id)?.textContent ?? ""),
    [id, pattern.source] as const,
    {
      timeout: 60_000,
    },
  );

async function router(page: Page): Promise<void> {
  await page.locator("#router").scrollIntoViewIfNeeded();
  await page.waitForSelector("#run:not([disabled])", { timeout: 60_000 });
}

/** In the page: starts, and stops once a figure is drawn. */
async function stopAtTheFirstFigure(): Promise<void> {
  const [button, mpps] = ["run", "mpps"].map((id) => document.getElementById(id) as HTMLElement);
  const drawn = new Promise((resolve) => {
    new MutationObserver(resolve).observe(mpps, { childList: true, characterData: true, subtree: true });
  });
  button.click();
  await drawn;
  button.click();
}

const numberIn = async (page: Page, id: string) => Number((await page.locator(`#${id}`).innerText()).replaceAll(",", ""));

describe("the sections of the page", { skip }, () => {
  let url: string;
  let child: ChildProcess;
  let browser: Browser;

  before(async () => {
    mkdirSync("build/screenshots", { recursive: true });
    ({ url, child } = await served(["--not-isolated"]));
    browser = await chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
  });
  after(async () => {
    await browser?.close();
    child?.kill();
  });

  it("two hosts: a stream, round trips, connections", async () => {
    const { page, errors } = await opened(browser, url);
    await page.selectOption('select[name="congestion"]', "bbr");
    await page.selectOption('select[name="segments"]', "cut");
    await page.click("#tcp-run");
    await textHas(page, "tcp-status", /Done|wrong/);
    assert.match(await page.locator("#tcp-status").innerText(), /^Done/);
    for (const id of ["tcp-gbps", "tcp-rtt", "tcp-crr", "tcp-cwnd"]) assert.ok((await numberIn(page, id)) > 0, id);
    assert.match(await page.locator("#tcp-mode").innerText(), /startup|drain|probe/i);
    assert.match((await page.getAttribute("#tcp-rate", "aria-label")) ?? "", /Gbit\/s on average/);
    assert.deepEqual(errors, []);
  });

  it("the lab: the same seed is the same run, another path another one", async () => {
    const { page, errors } = await opened(browser, url);
    const slide = (name: string, value: string) =>
      page.locator(`input[name="${name}"]`).evaluate((input: HTMLInputElement, value) => {
        input.value = value;
        input.dispatchEvent(new Event("input", { bubbles: true }));
      }, value);
    const run = async () => {
      await page.click("#lab-run");
      await page.waitForSelector("#lab-run[disabled]");
      await page.waitForSelector("#lab-run:not([disabled])", { timeout: 60_000 });
      assert.match(await page.locator("#lab-status").innerText(), /took/);
      return page.locator("#lab-results").innerText();
    };
    await slide("rate", "2");
    const first = await run();
    assert.match(first, /cubic.*\n.*reno.*\n.*bbr.*\n.*dctcp/);
    assert.equal(await run(), first);
    await slide("loss", "5");
    assert.notEqual(await run(), first);
    assert.deepEqual(errors, []);
  });

  it("a gateway: rules change what is let through, mistakes are shown as nft shows them", async () => {
    const { page, errors } = await opened(browser, url);
    const outcome = async (patterns: readonly RegExp[]) => {
      for (const [i, pattern] of patterns.entries())
        await page.waitForFunction(
          ([i, source]) => new RegExp(source).test(document.querySelectorAll("#gateway-tries tbody tr")[i as number]?.textContent ?? ""),
          [i, pattern.source] as const,
          { timeout: 20_000 },
        );
    };
    const choose = (preset: string) => page.selectOption('select[name="preset"]', preset);
    await page.click("#gateway-run");
    await outcome([/pings.*answered/, /the server saw 203\.0\.113\.1 /, /25refused|25.*unreachable/, /8080refused/, /80no answer/]);
    await textHas(page, "gateway-flows", /src=10\.0\.0\.2 dst=203\.0\.113\.80 .*dst=203\.0\.113\.1 /);
    await textHas(page, "gateway-listing", /iifname "lan" tcp dport 80 counter packets [1-9]/);
    await choose("forwarded");
    await textHas(page, "gateway-listing", /dnat ip to 10\.0\.0\.2:80/);
    await outcome([/answered/, /answered/, /refused|unreachable/, /the LAN saw 203\.0\.113\.80/, /no answer/]);
    await textHas(page, "gateway-flows", /src=203\.0\.113\.80 dst=203\.0\.113\.1 .*src=10\.0\.0\.2 dst=203\.0\.113\.80 sport=80/);
    await page.screenshot({ path: "build/screenshots/play-gateway.png", fullPage: true });
    await choose("open");
    await outcome([/answered/, /saw 10\.0\.0\.2 /, /saw 10\.0\.0\.2 /, /refused/, /the LAN saw 203\.0\.113\.80/]);
    await page.fill(
      "#gateway-rules",
      "table ip gateway {\n  chain forward { type filter hook forward priority filter; policy dorp; }\n}\n",
    );
    await page.click("#gateway-apply");
    await textHas(page, "gateway-fault", /:2:\d+-\d+: Error: .*\n.*dorp.*\n *\^\^\^\^/);
    await choose("closed");
    await outcome([/no answer/, /no answer/, /no answer/, /refused/, /no answer/]);
    assert.ok(await page.locator("#gateway-fault").isHidden());
    await page.click("#gateway-run");
    await textHas(page, "gateway-status", /^Stopped/);
    // Stopped before it has begun: nothing goes on.
    await page.evaluate(() => {
      const button = document.getElementById("gateway-run");
      button?.click();
      button?.click();
    });
    await page.waitForTimeout(2000);
    assert.match(await page.locator("#gateway-status").innerText(), /^Stopped/);
    assert.deepEqual(errors, []);
  });

  it("tabs find, ping, echo and serve each other", async () => {
    const { page, errors } = await opened(browser, url);
    const [second] = await Promise.all([page.context().waitForEvent("page"), page.click("#tabs-open")]);
    await textHas(page, "tabs-peers", /10\.99\.\d+\.\d+[\d.]+ ms/);
    await textHas(second, "tabs-peers", /10\.99\.\d+\.\d+[\d.]+ ms/);
    assert.equal(await page.locator("#tabs-peers tbody tr").count(), 1);
    await page.fill("#tabs-text", "good morning");
    await page.click("#tabs-say");
    await textHas(page, "tabs-peers", /echoed “good morning”/);
    await textHas(second, "tabs-peers", /sent 12 bytes/);
    await page.click("#tabs-peers button");
    await textHas(page, "tabs-peers", /16 MB at/);
    await second.close();
    await textHas(page, "tabs-peers", /nobody yet/);
    assert.deepEqual(errors, []);
  });

  it("a table that cannot be had is named, and asked for again", async () => {
    const { page } = await opened(browser, url);
    await page.route("**/internet6.bin.gz", (route) => route.fulfill({ status: 503 }), { times: 1 });
    await page.locator("#router").scrollIntoViewIfNeeded();
    await textHas(page, "status", /http:.*internet6\.bin\.gz could not be fetched: the server answered 503/);
    await page.click("#again");
    await page.waitForSelector("#run:not([disabled])", { timeout: 60_000 });
    assert.ok(await page.locator("#again").isHidden());
  });

  it("a short run gives no ratio, changed settings make stale figures, one worker says why", async () => {
    const { page } = await opened(browser, url);
    await router(page);
    // A busy machine may be too late to stop in time: the run is long then, and says so.
    const tooShort = /too short a run for a ratio/;
    for (let tries = 0; tries < 10 && !tooShort.test(await page.locator("#status").innerText()); tries++) {
      await page.evaluate(stopAtTheFirstFigure);
      await textHas(page, "status", /^(Stopped|Not verified)/);
    }
    await textHas(page, "status", tooShort);
    await page.waitForFunction(() => document.getElementById("ratio")?.textContent === "–");
    await page.selectOption('select[name="frameSize"]', "imix");
    await textHas(page, "status", /settings before/);
    assert.ok(await page.locator("#numbers.stale").count());
    assert.deepEqual(await page.locator('select[name="flows"] option').allInnerTexts(), ["12", "72", "1032"]);
    assert.ok(await page.locator('select[name="workers"]').isDisabled());
    assert.ok(await page.locator("#workers-why").isVisible());
  });

  it("fits a narrow screen, and says what it needs without JavaScript", async () => {
    const { page } = await opened(browser, url, 320);
    await router(page);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
    const context = await browser.newContext({ javaScriptEnabled: false });
    const bare = await context.newPage();
    await bare.goto(url);
    const text = await bare.locator("body").innerText();
    assert.match(text, /needs JavaScript/);
    assert.doesNotMatch(text, /Loading/);
  });
});

for (const [mode, args, isIsolated] of [
  ["cross-origin isolated", [], true],
  ["not isolated", ["--not-isolated"], false],
] as const) {
  describe(`the page, ${mode}`, { skip }, () => {
    it("forwards, shows what the engine counts, and stays smooth", async (t) => {
      const { url, child } = await served([...args]);
      const browser = await chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
      t.after(async () => {
        await browser.close();
        child.kill();
      });
      const { page, errors } = await opened(browser, url);
      await router(page);
      assert.match(await page.locator("#facts").innerText(), /564,579 IPv4 and 167,903 IPv6 routes .*plain build/);
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
      await page.screenshot({ path: `build/screenshots/play-${isIsolated ? "isolated" : "plain"}.png`, fullPage: true });
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
      if (!isIsolated) return;
      await page.selectOption('select[name="workers"]', "2");
      await page.click("#run");
      await textHas(page, "status", /Running/);
      await page.waitForFunction(() => Number(document.getElementById("mpps")?.textContent) > 0);
      await page.waitForTimeout(500);
      await page.click("#run");
      await textHas(page, "status", /Stopped|Not verified|wrong/);
      assert.match(await page.locator("#status").innerText(), /every packet is accounted for/);
      assert.deepEqual(errors, []);
    });
  });
}
