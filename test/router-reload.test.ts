/** A reload that opens devices: all of them or nothing. */
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import type { Device } from "../src/engine/engine.ts";
import { LoomError } from "../src/index.ts";
import { deviceOf } from "../src/router/devices-node.ts";
import { type DeviceMaker, Router, type RouterConfig } from "../src/router/index.ts";

/** Devices by name, each of which only one can have at a time, and none that begins with "no". */
class Kernel {
  readonly open: string[] = [];
  readonly ever: string[] = [];

  readonly deviceOf: DeviceMaker = (config) => async () => {
    const { name } = config as { name: string };
    if (name.startsWith("no")) throw new LoomError("ENOENT", `there is no ${name}`);
    if (this.open.includes(name)) throw new LoomError("EBUSY", `${name} is in use`);
    this.open.push(name);
    this.ever.push(name);
    return { name, poll: () => 0, close: () => void this.open.splice(this.open.indexOf(name), 1) } satisfies Device;
  };
}

const iface = (name: string, device: string, more: object = {}) => ({ name, device: { kind: "tap" as const, name: device }, ...more });

describe("a reload with devices", () => {
  let router: Router | undefined;
  afterEach(async () => {
    await router?.close();
    router = undefined;
  });

  const start = async (config: RouterConfig) => {
    const kernel = new Kernel();
    router = await Router.create(config, { device: kernel.deviceOf });
    return { kernel, router };
  };

  it("touches nothing when one of them cannot be opened, however often", async () => {
    const config: RouterConfig = {
      interfaces: [iface("lan", "tap0", { addresses: ["10.0.0.1/24"] }), iface("wan", "tap1", { addresses: ["192.0.2.1/24"] })],
      ruleset: "table ip a {\n\tchain c {\n\t}\n}\n",
      routes: [{ to: "10.9.0.0/16", via: "10.0.0.2" }],
    };
    const { kernel, router } = await start(config);
    const before = router.host.ip.interfaces.slice();
    const next = {
      interfaces: [iface("lan", "tap0", { addresses: ["10.1.0.1/24"] }), iface("dmz", "tap2"), iface("more", "none")],
      ruleset: "table ip b {\n}\n",
    };
    for (let i = 0; i < 20; i++) await assert.rejects(router.reload(next), { code: "ENOENT", message: /there is no none/ });
    assert.deepEqual(router.host.ip.interfaces, before, "the same interfaces, not others of their names");
    assert.deepEqual(
      router.host
        .addresses()
        .map(({ address }) => address)
        .filter((text) => text.startsWith("1")),
      ["10.0.0.1", "192.0.2.1"],
    );
    assert.equal(router.rules.engine?.has("ip", "a"), true);
    assert.deepEqual(kernel.open, ["tap0", "tap1"]);
    await router.reload({ ...next, interfaces: next.interfaces.slice(0, 2) });
    assert.deepEqual(kernel.open, ["tap0", "tap2"]);
  });

  it("opens what another interface has now as soon as that is gone", async () => {
    const { kernel, router } = await start({ interfaces: [iface("lan", "tap0")] });
    await router.reload({ interfaces: [iface("inside", "tap0"), iface("dmz", "tap1")] });
    assert.deepEqual(
      [router.host.ip.interfaces.map(({ name }) => name), kernel.open.toSorted()],
      [
        ["inside", "dmz"],
        ["tap0", "tap1"],
      ],
    );
    await router.reload({ interfaces: [iface("inside", "tap1"), iface("dmz", "tap0")] });
    assert.deepEqual(kernel.open.toSorted(), ["tap0", "tap1"]);
  });

  it("has ports for interfaces in the place of others, when the engine has no more", async () => {
    const all = (prefix: string) => ({ interfaces: Array.from({ length: 8 }, (_, i) => iface(`${prefix}${i}`, `${prefix}${i}`)) });
    const { kernel, router } = await start(all("a"));
    const nine = { interfaces: [...Array.from({ length: 16 }, (_, i) => iface(`a${i}`, `a${i}`)), iface("b", "b")] };
    await assert.rejects(router.reload(nine), { code: "ENOMEM", message: /all 16 ports of this engine have interfaces/ });
    assert.equal(kernel.open.length, 8);
    for (const prefix of ["b", "c", "d", "e"]) await router.reload(all(prefix));
    assert.deepEqual(
      kernel.open.toSorted(),
      all("e").interfaces.map(({ name }) => name),
    );
  });
});

describe("a router's generators", () => {
  it("give their memory and their ports back", async () => {
    const generator = (destination: string) => ({
      interfaces: [
        { name: "in", device: { kind: "generator" as const, destinations: [destination], flows: 20_000 } },
        { name: "out", addresses: ["10.0.0.1/24"] },
      ],
    });
    const router = await Router.create(generator("10.0.0.2"), { device: deviceOf });
    router.host.engine.poll();
    for (let i = 0; i < 4; i++) await router.reload(generator(`10.0.0.${3 + i}`));
    await router.reload({
      interfaces: [
        { name: "out", addresses: ["10.0.0.1/24"] },
        { name: "other", addresses: ["10.1.0.1/24"] },
      ],
    });
    const made = () => router.host.engine.counters().stats.generated;
    const before = made();
    assert.notEqual(before, 0);
    for (let i = 0; i < 10; i++) router.host.engine.poll();
    assert.equal(made(), before, "a port that was a generator's makes nothing");
    await router.close();
  });
});
