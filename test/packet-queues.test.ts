/** `queue` statements with a listener in JavaScript: at every hook, answered at once or later, accepted, dropped, changed. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { QueuedPacket, QueueVerdict } from "../src/host/index.ts";
import { auditFlows } from "./flow-audit.ts";
import { lanAndServer, until } from "./nat-rig.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const rule = (hook: string, priority: string, body: string, more = "") =>
  `table inet q {\n chain c {\n type filter hook ${hook} priority ${priority}; policy accept\n ${body}\n }\n ${more}\n}`;

const NAT = `table ip nat {
  chain out {
    type nat hook postrouting priority srcnat
    oifname "wan" masquerade
  }
  chain in {
    type nat hook prerouting priority dstnat
    iifname "wan" udp dport 8053 dnat to 10.0.0.2:53
  }
}`;

async function exchange(ruleset: string, answer: (packet: QueuedPacket) => QueueVerdict | Promise<QueueVerdict>) {
  const made = await lanAndServer(`${NAT}\n${ruleset}`);
  const seen: QueuedPacket[] = [];
  const stop = made.router.onQueue(5, (packet) => {
    seen.push(packet);
    return answer(packet);
  });
  const inbox = made.server.datagram({ port: 7 });
  const socket = made.client.datagram({ port: 5000 });
  const send = async (text: string) => {
    socket.send(bytes(text), { address: "192.0.2.2", port: 7 });
    await made.lab.run(50);
    const got = inbox.tryReceive();
    return got && { ...got, text: new TextDecoder().decode(got.data) };
  };
  return { ...made, seen, stop, inbox, socket, send };
}

describe("packets that wait for a verdict", () => {
  for (const [hook, priority, place] of [
    ["prerouting", "raw", { in: "lan", out: "" }],
    ["prerouting", "filter", { in: "lan", out: "" }],
    ["forward", "filter", { in: "lan", out: "wan" }],
    ["postrouting", "filter", { in: "lan", out: "wan" }],
    ["postrouting", "200", { in: "lan", out: "wan" }],
  ] as const)
    for (const isLate of [false, true])
      it(`go on from ${hook} ${priority}${isLate ? ", later" : ", at once"}: translated, tracked and counted once`, async () => {
        const { lab, seen, send, router, inbox, socket } = await exchange(rule(hook, priority, "udp dport 7 counter queue to 5"), () =>
          isLate ? lab.clock.sleep(20).then(() => "accept" as const) : "accept",
        );
        const got = await send("hello");
        assert.equal(got?.text, "hello");
        assert.equal(got.address, "192.0.2.1", "masqueraded");
        assert.deepEqual({ in: seen[0].in, out: seen[0].out }, place);
        assert.equal(seen[0].hook, hook);
        assert.equal(seen[0].bytes[0] >>> 4, 4);
        assert.equal((await send("again"))?.text, "again");
        assert.equal(seen.length, 2);
        // Its flow is one, and answers find it.
        inbox.send(bytes("back"), { address: got.address, port: got.port });
        await lab.run(100);
        assert.equal(socket.tryReceive()?.data.length, 4);
        const flows = [...router.conntrack.list({ protocol: "udp" })];
        assert.equal(flows.length, 1);
        assert.equal(flows[0].original.packets, 2);
        assert.match(router.firewall.list(), /counter packets 2 bytes/);
        auditFlows(router.engine);
        assert.deepEqual(router.queues.get(5), { waiting: 0, accepted: 2, dropped: 0, lost: 0 });
      });

  it("go on behind the chain that sent them, and meet those that follow", async () => {
    const { send, seen, router } = await exchange(
      rule(
        "forward",
        "filter",
        "udp dport 7 queue to 5\n udp dport 7 counter name never drop",
        "counter never {}\n counter later {}\n chain d {\n type filter hook forward priority 10; policy accept\n udp dport 7 counter name later\n }",
      ),
      () => "accept",
    );
    assert.equal((await send("x"))?.text, "x");
    assert.equal(seen.length, 1);
    const text = router.firewall.list();
    assert.match(text, /counter never \{\s+packets 0/);
    assert.match(text, /counter later \{\s+packets 1/);
  });

  it("wait twice where two chains ask, by the verdict of a map too", async () => {
    const { send, seen } = await exchange(
      rule(
        "forward",
        "filter",
        "udp dport 7 queue to 5",
        "chain d {\n type filter hook forward priority 10; policy accept\n udp dport vmap { 7 : queue }\n }",
      ).replace("udp dport vmap { 7 : queue }", "udp dport 7 queue to 5"),
      () => "accept",
    );
    assert.equal((await send("x"))?.text, "x");
    assert.equal(seen.length, 2);
  });

  it("are dropped with the flow that they would have begun", async () => {
    const { send, router } = await exchange(rule("forward", "filter", "udp dport 7 queue to 5"), () => "drop");
    assert.equal(await send("x"), undefined);
    assert.equal(router.conntrack.count, 0);
    assert.equal(router.queues.get(5)?.dropped, 1);
    auditFlows(router.engine);
  });

  it("go on as other bytes, and with another mark", async () => {
    const { send, router } = await exchange(
      rule(
        "forward",
        "filter",
        "udp dport 7 queue to 5",
        "chain d {\n type filter hook forward priority 10; policy accept\n meta mark 7 counter\n }",
      ),
      ({ bytes: packet }) => {
        const changed = packet.slice();
        // "hello" becomes "jello": its checksum falls by as much.
        changed[28] += 2;
        const view = new DataView(changed.buffer);
        view.setUint16(26, view.getUint16(26) - 0x200);
        return { bytes: changed, mark: 7 };
      },
    );
    assert.equal((await send("hello"))?.text, "jello");
    assert.match(router.firewall.list(), /mark 0x00000007 counter packets 1/);
  });

  it("are asked about on their way to this host and from it", async () => {
    for (const [hook, priority] of [
      ["input", "filter"],
      ["output", "raw"],
      ["output", "filter"],
      ["postrouting", "filter"],
    ] as const) {
      const { lab, client, router, stop, seen } = await exchange(
        rule(hook, priority, "icmp type { echo-request, echo-reply } queue to 5"),
        () => lab.clock.sleep(10).then(() => "accept" as const),
      );
      assert.equal((await until(lab, client.ping("10.0.0.1"))).from, "10.0.0.1", hook);
      assert.equal((await until(lab, router.ping("10.0.0.2"))).from, "10.0.0.2", hook);
      assert.ok(seen.length >= 2, `${hook}: ${seen.length}`);
      stop();
      await assert.rejects(until(lab, client.ping("10.0.0.1", { timeout: 100 })), { code: "ETIMEDOUT" });
      auditFlows(router.engine);
    }
  });

  it("pass with `bypass` while nobody listens, and are dropped without", async () => {
    const { send, stop, seen } = await exchange(rule("forward", "filter", "udp dport 7 queue flags bypass to 5"), () => "accept");
    assert.ok(await send("x"));
    assert.equal(seen.length, 1);
    stop();
    assert.ok(await send("x"));
    assert.equal(seen.length, 1);
    const other = await exchange(rule("forward", "filter", "udp dport 7 queue to 6"), () => "accept");
    assert.equal(await other.send("x"), undefined, "nobody listens to that one");
    const bypassed = await exchange(rule("forward", "filter", "udp dport 7 queue flags bypass to 6"), () => "accept");
    assert.ok(await bypassed.send("x"), "somebody listens to another");
  });

  it("are lost by name: no room to wait, a handler that fails or says nothing, the end of the listener", async () => {
    const never = await exchange(rule("forward", "filter", "udp dport 7 queue to 5"), () => new Promise<QueueVerdict>(() => {}));
    await never.lab.run(5000);
    const inFlight = never.router.engine.pool().inFlight;
    for (let i = 0; i < 3; i++) await never.send("x");
    assert.deepEqual(never.router.queues.get(5), { waiting: 3, accepted: 0, dropped: 0, lost: 0 });
    never.stop();
    assert.equal(never.router.engine.pool().inFlight, inFlight);
    auditFlows(never.router.engine);
    const few = await exchange(rule("forward", "filter", "udp dport 7 queue to 4"), () => "accept");
    few.router.onQueue(4, () => new Promise(() => {}), { most: 2 });
    for (let i = 0; i < 5; i++) await few.send("x");
    assert.deepEqual(few.router.queues.get(4), { waiting: 2, accepted: 0, dropped: 0, lost: 3 });
    for (const answer of [
      () => {
        throw new Error("mine");
      },
      async () => {
        throw new Error("mine");
      },
      () => undefined as never,
      () => ({ bytes: new Uint8Array(3) }),
    ]) {
      const failing = await exchange(rule("forward", "filter", "udp dport 7 queue to 5"), answer);
      assert.equal(await failing.send("x"), undefined);
      assert.equal(failing.router.queues.get(5)?.lost, 1);
      auditFlows(failing.router.engine);
    }
  });

  it("lose their flow when it ends meanwhile, and are then of none", async () => {
    let go = (_verdict: QueueVerdict) => {};
    const { send, router, lab } = await exchange(
      rule(
        "forward",
        "filter",
        "udp dport 7 ct state established queue to 5",
        "chain d {\n type filter hook forward priority 10; policy accept\n ct state invalid counter drop\n }",
      ),
      () =>
        new Promise((resolve) => {
          go = resolve;
        }),
    );
    const first = await send("x");
    assert.ok(first, "a flow's first packet is not asked about");
    router.conntrack.flush();
    go("accept");
    await lab.run(50);
    auditFlows(router.engine);
  });

  it("are of one listener a queue", async () => {
    const { router } = await exchange(rule("forward", "filter", "udp dport 7 queue to 5"), () => "accept");
    assert.throws(() => router.onQueue(5, () => "accept"), { code: "EBUSY" });
    assert.throws(() => router.onQueue(70_000, () => "accept"), /expected a whole number from 0 to 65535/);
    assert.throws(() => router.onQueue(6, "accept" as never), /expected a function/);
  });
});
