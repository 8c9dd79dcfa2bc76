/**
 * Urgent data (RFC 9293 §3.8.5): streams with many marks over a wire that loses, numbers that wrap, coalescing on the way,
 * SIGURG, and the Linux kernel over TAP in both roles. What each call returns is compared in test/posix-kernel.test.ts.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "../src/base/ip-address.ts";
import { Random } from "../src/base/random.ts";
import { type Host, Lab } from "../src/index.ts";
import * as c from "../src/posix/constants.ts";
import { Process } from "../src/posix/index.ts";
import type { Tcb } from "../src/tcp/tcb.ts";
import { toMark } from "../src/tcp/urgent.ts";
import * as user from "../src/tcp/user.ts";
import { body, FAMILIES, missing, type Namespace, overTap, until } from "./kernel-support.ts";
import { SEED } from "./support.ts";

const PORT = 513;
const ADDRESSES = { 4: "10.0.0.2", 6: "2001:db8::2" } as const;
const NB = c.SOCK_NONBLOCK;

async function pair(loss: number, first?: number) {
  const lab = await Lab.create({ seed: SEED });
  const make = (n: number) => lab.host({ interfaces: [{ addresses: [`10.0.0.${n}/24`, `2001:db8::${n}/64`] }] });
  const [a, b] = [await make(1), await make(2)];
  lab.link(a, b, { delay: 5, loss });
  if (first !== undefined) Object.assign(a.tcp.hash, { hash: () => (first - Math.floor(a.ip.now * 250)) | 0 });
  return { lab, a, b };
}

describe("urgent data", () => {
  for (const family of FAMILIES) {
    for (const [what, first] of [
      ["", undefined],
      [", where numbers wrap", -5000],
      [", where their sign changes", 0x7fff_f000],
    ] as const) {
      it(`IPv${family}: every mark before its octet, the stream whole, over a wire that loses${what}`, async () => {
        const { lab, a, b } = await pair(0.03, first);
        const random = new Random(SEED);
        const listener = b.tcp.listen(undefined, PORT, 8, { urgentData: "inline" });
        const client = a.tcp.connect(IpAddress.parse(ADDRESSES[family]), PORT);
        await lab.run(20_000, () => listener.waiting > 0);
        if (first !== undefined) assert.equal(client.iss, first | 0);
        const server = listener.accept() as Tcb;
        const data = body(120_000);
        const marks: number[] = [];
        const found: { at: number; octet: number }[] = [];
        const got: Buffer[] = [];
        let taken = 0;
        const drain = () => {
          const out = new Uint8Array(700);
          for (let n = user.read(server, out); n > 0; n = user.read(server, out)) {
            got.push(Buffer.from(out.slice(0, n)));
            taken += n;
          }
        };
        server.events = {
          readable: drain,
          urgent: (isHere) => {
            if (isHere) found.push({ at: taken + toMark(server), octet: server.urgent?.octet ?? -1 });
          },
        };
        for (let sent = 0; sent < data.length; ) {
          const n = Math.min(1 + random.below(4000), data.length - sent);
          assert.equal(user.write(client, data.subarray(sent, sent + n), false, false, true), n);
          sent += n;
          marks.push(sent - 1);
          await lab.run(random.below(40));
        }
        await lab.run(200_000, () => taken === data.length);
        assert.deepEqual(Buffer.concat(got), Buffer.from(data));
        assert.ok(found.length > 10, `${found.length} of ${marks.length}`);
        for (const { at, octet } of found) {
          assert.ok(marks.includes(at), `${at} was not urgent`);
          assert.equal(octet, data[at]);
        }
        assert.equal(found.at(-1)?.at, data.length - 1);
        await lab.run(20_000, () => client.una === client.nxt);
        assert.equal(client.urgent?.sends, false);
        await a.close();
        await b.close();
      });
    }
  }

  it("says SIGURG to the owner of a socket, when it is announced", async () => {
    const { lab, a, b } = await pair(0);
    const [client, server] = [new Process(a), new Process(b)];
    const name = { family: c.AF_INET, address: "10.0.0.2", port: PORT };
    const listening = server.socket(c.AF_INET, c.SOCK_STREAM | NB, 0);
    server.bind(listening, name);
    server.listen(listening, 8);
    const fd = client.socket(c.AF_INET, c.SOCK_STREAM | NB, 0);
    client.connect(fd, name);
    await lab.run(100);
    const accepted = server.accept(listening);
    const signals: [number, number][] = [];
    server.onSignal = (signal, pid) => signals.push([signal, pid]);
    assert.equal(client.send(fd, body(3), c.MSG_OOB), 3);
    await lab.run(100);
    assert.deepEqual(signals, []);
    assert.equal(server.fcntl(accepted, c.F_SETOWN, server.pid), 0);
    assert.equal(server.fcntl(accepted, c.F_GETOWN), server.pid);
    assert.equal(client.send(fd, body(3), c.MSG_OOB), 3);
    await lab.run(100);
    assert.deepEqual(signals, [[c.SIGURG, server.pid]]);
    const woken = server.wait(accepted, c.POLLPRI);
    assert.equal(await woken, c.POLLPRI);
  });

  it("is data like any other where nobody has asked for more (RFC 6093 §3)", async () => {
    const { lab, a, b } = await pair(0);
    const listener = b.listen({ port: PORT });
    const client = a.tcp.connect(IpAddress.parse("10.0.0.2"), PORT);
    const socket = await Promise.race([listener.accept(), lab.run(100)]);
    assert.ok(socket);
    for (let i = 0; i < 5; i++) user.write(client, body(1000), false, false, true);
    user.close(client);
    const parts: Buffer[] = [];
    const reading = (async () => {
      for await (const chunk of socket.readable) parts.push(Buffer.from(chunk));
    })();
    await lab.run(1000);
    await reading;
    const one = Buffer.from(body(1000));
    assert.deepEqual(Buffer.concat(parts), Buffer.concat([one, one, one, one, one]));
  });
});

/** Echoes what is urgent as urgent, and says what it saw: urgent octets, and the stream between them. */
const PEER = `
import fcntl, select, socket, struct, sys, termios
role, address = sys.argv[1], sys.argv[2]
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if role == "server":
    s.bind((address, ${PORT})); s.listen(); print("ready", flush=True); c = s.accept()[0]
else:
    s.connect((address, ${PORT})); c = s
poll = select.poll(); poll.register(c, select.POLLIN | select.POLLPRI)
while True:
    events = poll.poll()[0][1]
    if events & select.POLLPRI:
        octet = c.recv(1, socket.MSG_OOB)
        print("urgent", octet.decode(), flush=True)
        c.send(b"<" + octet, socket.MSG_OOB)
    else:
        piece = c.recv(100)
        if not piece: break
        print("data", piece.decode(), flush=True)
c.close()
`;

describe("urgent data and the Linux kernel", { skip: missing("python3"), timeout: 60_000 }, () => {
  const OURS = { 4: "10.78.0.2", 6: "fd78::2" } as const;
  const THEIRS = { 4: "10.78.0.1", 6: "fd78::1" } as const;
  let namespace: Namespace;
  let host: Host;

  overTap(OURS, THEIRS, (...made) => {
    [host, namespace] = made;
  });

  /** Sends words whose last letter is urgent; what came back apart, and the rest. */
  async function talk(process: Process, fd: number, output: () => string): Promise<void> {
    const buffer = new Uint8Array(100);
    let stream = "";
    for (const word of ["abC", "D", "efghI"]) {
      assert.equal(process.send(fd, Buffer.from(word), c.MSG_OOB), word.length);
      await until(() => output().includes(`urgent ${word.at(-1)}`));
      await process.wait(fd, c.POLLPRI);
      assert.equal(process.recv(fd, buffer, c.MSG_OOB), 1);
      assert.equal(String.fromCharCode(buffer[0]), word.at(-1));
      for (let n = process.recv(fd, buffer, 0); n > 0; n = process.recv(fd, buffer, 0)) stream += Buffer.from(buffer.subarray(0, n));
    }
    assert.equal(stream, "<<<");
    process.close(fd);
    await until(
      () =>
        output()
          .replaceAll(/urgent .\n/g, "")
          .replaceAll(/data |\n|ready/g, "") === "abefgh",
    );
  }

  for (const family of FAMILIES) {
    const domain = family === 4 ? c.AF_INET : c.AF_INET6;

    it(`IPv${family}: the host connects, and both see what the other calls urgent`, async () => {
      const daemon = await namespace.start("python3", ["-c", PEER, "server", THEIRS[family]], /ready/);
      const process = new Process(host);
      const fd = process.socket(domain, c.SOCK_STREAM | NB, 0);
      process.connect(fd, { family: domain, address: THEIRS[family], port: PORT });
      await process.wait(fd, c.POLLOUT);
      await talk(process, fd, daemon.output);
      await daemon.stop();
    });

    it(`IPv${family}: the kernel connects`, async () => {
      const process = new Process(host);
      const listening = process.socket(domain, c.SOCK_STREAM | NB, 0);
      assert.equal(process.setsockopt(listening, c.SOL_SOCKET, c.SO_REUSEADDR, 1), 0);
      assert.equal(process.bind(listening, { family: domain, address: OURS[family], port: PORT }), 0);
      process.listen(listening, 8);
      const daemon = await namespace.start("python3", ["-c", PEER, "client", OURS[family]]);
      await process.wait(listening, c.POLLIN);
      await talk(process, process.accept4(listening, NB), daemon.output);
      process.close(listening);
      await daemon.stop();
    });
  }
});
