/** Where statements may stand, by type and hook of the chains that lead to them: taken and refused as by the kernel. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Firewall } from "../src/filter/index.ts";
import { missing, Namespace } from "./kernel-support.ts";
import { engineOf } from "./support.ts";

const STATEMENTS = [
  "snat ip to 192.0.2.1",
  "dnat ip to 192.0.2.1",
  "masquerade",
  "redirect to :80",
  "reject",
  "reject with icmpx admin-prohibited",
  "fib saddr . iif oif missing drop",
  "fib saddr oif missing drop",
  "fib daddr type local counter",
  "fib daddr . iif type local counter",
  "fib daddr . oif type local counter",
  "tcp flags syn tcp option maxseg size set rt mtu",
];
const CHAINS = [
  ...["prerouting", "input", "forward", "output", "postrouting"].map((hook) => `type filter hook ${hook} priority 0`),
  ...["prerouting", "output"].map((hook) => `type nat hook ${hook} priority -100`),
  ...["input", "postrouting"].map((hook) => `type nat hook ${hook} priority 100`),
  "type route hook output priority -150",
];
/** Straight in the base chain; behind a jump; behind a map of verdicts. */
const WAYS: ((base: string, rule: string) => string)[] = [
  (base, rule) => `chain c { ${base}; ${rule}; }`,
  (base, rule) => `chain b { ${rule}; }; chain a { jump b; }; chain c { ${base}; goto a; }`,
  (base, rule) => `chain b { ${rule}; }; chain c { ${base}; meta l4proto vmap { tcp : jump b, udp : accept }; }`,
];
const RULESETS = STATEMENTS.flatMap((rule) => CHAINS.flatMap((base) => WAYS.map((way) => `table inet t { ${way(base, rule)}; }`)));

async function here(): Promise<boolean[]> {
  const engine = await engineOf("plain", { ports: 2, filterBytes: 4 << 20, flows: 64 });
  const network = engine.createNetwork();
  return RULESETS.map((text) => {
    const taken = (check: boolean) => {
      try {
        new Firewall(engine, network).apply(text, { check });
        return true;
      } catch (error) {
        assert.match((error as Error).message, /has no place in a chain of type|Error: /);
        return false;
      }
    };
    // Whoever only asks is told the same.
    const answer = taken(true);
    if (!answer) assert.equal(taken(false), false, text);
    return answer;
  });
}

async function inKernel(): Promise<boolean[]> {
  const namespace = new Namespace();
  try {
    const { out } = await namespace.run(
      'python3 -c \'import json,subprocess,sys\nfor t in json.load(sys.stdin): print(subprocess.run(["nft","-f","-"],input="flush ruleset\\n"+t,text=True,capture_output=True).returncode)\'',
      new TextEncoder().encode(JSON.stringify(RULESETS)),
    );
    return out
      .trim()
      .split("\n")
      .map((code) => code === "0");
  } finally {
    await namespace.remove();
  }
}

describe("places of statements", () => {
  it("are the kernel's", { skip: missing("nft", "python3"), timeout: 60_000 }, async () => {
    const [ours, theirs] = [await here(), await inKernel()];
    const differing = RULESETS.flatMap((text, i) => (ours[i] === theirs[i] ? [] : [`${text} is ${ours[i] ? "taken" : "refused"} here`]));
    assert.deepEqual(differing, []);
    assert.ok(ours.filter((taken) => taken).length > 60 && ours.filter((taken) => !taken).length > 60);
  });
});
