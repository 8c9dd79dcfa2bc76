/** Deadlines on a host's clock: whatever waits, waits so long and no longer. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Lab } from "../src/index.ts";

const late = (error: unknown) => (error as { code?: string }).code === "ETIMEDOUT";
const outcome = (promise: Promise<unknown>) => {
  let told: unknown = "waits";
  promise.then(
    (value) => {
      told = value;
    },
    (error) => {
      told = error.code ?? error;
    },
  );
  return () => told;
};

async function pair() {
  const lab = await Lab.create({ interfaces: 2, hosts: 2 });
  const [a, b] = [
    await lab.host({ interfaces: [{ addresses: ["10.0.0.1/24"] }] }),
    await lab.host({ interfaces: [{ addresses: ["10.0.0.2/24"] }] }),
  ];
  const link = lab.link(a, b, { delay: 5 });
  const listener = b.listen({ port: 80, receiveBuffer: 20_000 });
  const opening = a.connect({ hostname: "10.0.0.2", port: 80, sendBuffer: 20_000 });
  await lab.run(100);
  return { lab, a, b, link, listener, socket: await opening, served: await listener.accept() };
}

describe("deadlines", () => {
  it("of reads: those that wait reject, the connection goes on", async () => {
    const { lab, socket, served } = await pair();
    socket.setDeadline(500, "read");
    const space = new Uint8Array(10);
    const [first, second] = [outcome(socket.read(space)), outcome(socket.read(space))];
    await lab.run(490);
    assert.deepEqual([first(), second()], ["waits", "waits"]);
    await lab.run(20);
    assert.deepEqual([first(), second()], ["ETIMEDOUT", "ETIMEDOUT"]);
    // Over is over, for what would have to wait; what is there is read.
    await assert.rejects(socket.read(space), late);
    await served.write(Uint8Array.of(1, 2, 3));
    await lab.run(100);
    assert.equal(await socket.read(space), 3);
    socket.setDeadline(undefined);
    const third = outcome(socket.read(space));
    await lab.run(10_000);
    assert.equal(third(), "waits");
    await served.write(Uint8Array.of(4));
    await lab.run(100);
    assert.equal(third(), 1);
    // Another one takes the place of the first.
    socket.setDeadline(1000, "read");
    socket.setDeadline(3000);
    const fourth = outcome(socket.read(space));
    await lab.run(2900);
    assert.equal(fourth(), "waits");
    await lab.run(200);
    assert.equal(fourth(), "ETIMEDOUT");
    await lab.engine.close();
  });

  it("of writes: what was sent is sent, and the end can be asked for again", async () => {
    const { lab, socket, served } = await pair();
    socket.setDeadline(500, "write");
    const [writing, closing] = [outcome(socket.write(new Uint8Array(1_000_000).fill(7))), outcome(socket.closeWrite())];
    await lab.run(600);
    assert.deepEqual([writing(), closing()], ["ETIMEDOUT", "ETIMEDOUT"]);
    await assert.rejects(socket.write(new Uint8Array(1_000_000)), late);
    const space = new Uint8Array(65_536);
    const read = outcome(served.read(space));
    await lab.run(100);
    assert.ok((read() as number) > 0 && space[0] === 7);
    socket.setDeadline(undefined);
    const end = outcome(socket.closeWrite());
    let total = read() as number;
    for (let n = 1; n; ) {
      const next = outcome(served.read(space));
      await lab.run(1000);
      n = next() as number;
      total += n ?? 0;
    }
    assert.equal(end(), undefined);
    assert.ok(total < 1_000_000, `${total}`);
    await lab.engine.close();
  });

  it("of a stream break the stream", async () => {
    const { lab, socket } = await pair();
    socket.setDeadline(500);
    const reading = outcome(socket.readable.getReader().read());
    await lab.run(600);
    assert.equal(reading(), "ETIMEDOUT");
    await lab.engine.close();
  });

  it("of whatever takes a signal, on the host's clock", async () => {
    const { lab, a, b, link, listener } = await pair();
    const accepting = outcome(listener.accept({ signal: b.timeout(300) }));
    const inbox = b.datagram({ port: 7 });
    const receiving = outcome(inbox.receive({ signal: b.timeout(300) }));
    link.set({ loss: 1 });
    const opening = outcome(a.connect({ hostname: "10.0.0.2", port: 80, signal: a.timeout(300) }));
    await lab.run(290);
    assert.deepEqual([accepting(), receiving(), opening()], ["waits", "waits", "waits"]);
    await lab.run(20);
    assert.deepEqual([accepting(), receiving(), opening()], ["ETIMEDOUT", "ETIMEDOUT", "ETIMEDOUT"]);
    await assert.rejects(listener.accept({ signal: AbortSignal.abort(new Error("not at all")) }), /not at all/);
    // Whoever waits next is served.
    link.set({ loss: 0 });
    const [next, datagram] = [outcome(listener.accept({ signal: b.timeout(5000) })), outcome(inbox.receive({ signal: b.timeout(5000) }))];
    const again = a.connect({ hostname: "10.0.0.2", port: 80 });
    a.datagram().send(Uint8Array.of(1), { address: "10.0.0.2", port: 7 });
    await lab.run(2000);
    await again;
    assert.equal(typeof next(), "object");
    assert.equal(typeof datagram(), "object");
    await lab.engine.close();
  });

  it("say what they have to be", async () => {
    const { lab, a, socket } = await pair();
    assert.throws(() => socket.setDeadline(-1), /a deadline in -1; expected milliseconds, or undefined for none/);
    assert.throws(() => socket.setDeadline(1, "all" as "read"), /a deadline of "all"; expected "read", "write" or "both"/);
    assert.throws(() => a.timeout(Number.NaN), /timeout: NaN; expected milliseconds/);
    await lab.engine.close();
  });
});
