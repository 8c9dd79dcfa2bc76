/** The router's examples and the programs of docs/router.md, as they stand there. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { parseConfig, Router } from "../src/router/index.ts";

const run = (...args: string[]) => spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
const page = readFileSync("docs/router.md", "utf8");
const blocks = (language: string) => [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))].map((match) => match[1]);

describe("examples of routers", { concurrency: 1 }, () => {
  for (const name of readdirSync("examples").filter((each) => each.endsWith(".yaml"))) {
    it(`examples/${name} is right`, () => {
      const { status, stdout, stderr } = run("dist/src/cli/main.js", "router", "--check", "--config", `examples/${name}`);
      assert.deepEqual([status, stdout, stderr], [0, `examples/${name}: right\n`, ""]);
    });

    it(`examples/${name} runs: its rules, balancers and queues are taken`, async () => {
      const config = parseConfig(readFileSync(`examples/${name}`, "utf8"));
      const router = await Router.create(config, { device: () => () => ({ name: "nowhere", poll: () => 0 }) });
      const tables = router.rules.engine?.list() ?? "";
      for (const part of [config.nat && "masquerade", config.egress && "names6", config.ruleset && "chain input"]) {
        if (part) assert.ok(tables.includes(part), part);
      }
      assert.equal(router.balancer?.services.size, config.balancers?.length ?? 0);
      await router.close();
    });
  }

  it("docs/router.md: its configuration is right, its program runs", () => {
    const [whole] = blocks("yaml");
    assert.equal(parseConfig(whole).interfaces.length, 2);
    const [program] = blocks("js");
    const { status, stdout, stderr } = run("--input-type=module", "-e", program);
    assert.equal(stderr, "");
    assert.equal(status, 0);
    assert.equal(stdout, "10.0.0.1 { lan: 1 }\n");
  });

  const verify = ["/usr/bin/systemd-analyze", "/bin/systemd-analyze"].find(existsSync);
  it("examples/packetloom-router.service is a unit that systemd takes", { skip: verify ? false : "needs systemd-analyze" }, () => {
    const { stdout, stderr } = spawnSync(verify ?? "", ["verify", "--man=no", "examples/packetloom-router.service"], { encoding: "utf8" });
    assert.doesNotMatch(stdout + stderr, /Unknown|Failed to parse|Invalid/i);
  });
});
