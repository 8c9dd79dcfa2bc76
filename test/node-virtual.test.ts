/** `packetloom/node` in virtual time: its sockets wait by the host's clock, so that hours pass at once. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { forHost as denoForHost } from "../src/deno/index.ts";
import { Lab } from "../src/index.ts";
import { forHost } from "../src/node/index.ts";

const HOUR = 3_600_000;

async function network() {
  const lab = await Lab.create({ seed: 4 });
  const host = (i: number) => lab.host({ interfaces: [{ addresses: [`10.0.0.${i}/24`, `2001:db8::${i}/64`] }] });
  const [client, server] = [await host(1), await host(2)];
  const link = lab.link(client, server, { delay: 10 });
  return { lab, client, server, link };
}

describe("Node's sockets in virtual time", { timeout: 30_000 }, () => {
  it("time out after hours of silence, and not while something comes", async () => {
    const { lab, client, server } = await network();
    const listener = forHost(server)
      .net.createServer((peer) => peer.pipe(peer))
      .listen(7, "10.0.0.2");
    await lab.run(10);
    const socket = forHost(client).net.connect(7, "10.0.0.2");
    const fired: number[] = [];
    socket.setTimeout(2 * HOUR, () => fired.push(lab.clock.now()));
    socket.resume();
    await lab.run(HOUR);
    const written = lab.clock.now();
    socket.write("x");
    await lab.run(1.9 * HOUR);
    assert.deepEqual(fired, []);
    await lab.run(0.2 * HOUR);
    assert.equal(fired.length, 1);
    // The echo was the last byte that passed: a round trip after the write.
    assert.ok(fired[0] >= written + 2 * HOUR && fired[0] < written + 2 * HOUR + 100, String(fired[0] - written));
    socket.destroy();
    listener.close();
    await lab.run(1000);
    await lab.engine.close();
  });

  it("try the next address when one does not answer", async () => {
    const { lab, client, server } = await network();
    const listener = forHost(server).net.createServer().listen(7, "10.0.0.2");
    await lab.run(10);
    client.names.hosts.add("2001:db8::77", "two.test").add("10.0.0.2", "two.test");
    const began = lab.clock.now();
    let connected = 0;
    const socket = forHost(client).net.connect({ port: 7, host: "two.test", autoSelectFamilyAttemptTimeout: 400 }, () => {
      connected = lab.clock.now();
    });
    await lab.run(5000);
    assert.ok(connected >= began + 400 && connected < began + 600, String(connected - began));
    assert.equal(socket.remoteAddress, "10.0.0.2");
    socket.destroy();
    listener.close();
    await lab.run(1000);
    await lab.engine.close();
  });

  it("of Deno's shape let the process go when their last bytes have arrived", async () => {
    const { lab, client, server } = await network();
    const listener = denoForHost(server).listen({ port: 7, hostname: "10.0.0.2" });
    const accepting = listener.accept();
    const connecting = denoForHost(client).connect({ hostname: "10.0.0.2", port: 7 });
    await lab.run(100);
    const [conn, peer] = await Promise.all([connecting, accepting]);
    let holds = 0;
    const { engine } = lab;
    const [hold, letGo] = [engine.hold.bind(engine), engine.letGo.bind(engine)];
    engine.hold = () => void (holds++, hold());
    engine.letGo = () => void (holds--, letGo());
    const writing = conn.write(new Uint8Array(100_000));
    const reading = peer.read(new Uint8Array(100_000));
    await lab.run(100);
    await Promise.all([writing, reading]);
    conn.close();
    await lab.run(6000);
    assert.equal(holds, -1, "let go once, though the peer has not closed");
    peer.close();
    listener.close();
    await lab.run(1000);
    await engine.close();
  });
});
