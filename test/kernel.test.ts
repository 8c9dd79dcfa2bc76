/**
 * A host against the Linux kernel, over TAP, in a network namespace that this file makes and removes: both roles, both
 * families, errors, datagrams, and what a dissector says of our packets.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { Host } from "../src/host/host.ts";
import { tap } from "../src/link/tap.ts";
import { body, FAMILIES, hostIn, missing, Namespace, readAll, sha, until, withFolder } from "./kernel-support.ts";

const OURS = { 4: "10.77.0.2", 6: "fd77::2" } as const;
const THEIRS = { 4: "10.77.0.1", 6: "fd77::1" } as const;

for (const offload of [true, false]) {
  const skip = missing("ping", "curl", "nc", "python3");
  describe(`a host and the Linux kernel, offloads ${offload ? "on" : "off"}`, { skip, timeout: 60_000 }, () => {
    let namespace: Namespace;
    let host: Host;
    const kernel = (command: string, input?: Uint8Array) => namespace.run(command, input);
    const url = (family: 4 | 6, port: number) => `http://${hostIn(OURS[family])}:${port}/`;

    before(async () => {
      namespace = new Namespace();
      host = await Host.create({
        interfaces: [{ device: tap({ name: "t0", namespace: namespace.name, offload }), addresses: [`${OURS[4]}/24`, `${OURS[6]}/64`] }],
      });
      namespace.up("t0", `${THEIRS[4]}/24`, `${THEIRS[6]}/64`);
    });

    after(async () => {
      await host?.close();
      await namespace?.remove();
    });

    for (const family of FAMILIES) {
      it(`IPv${family}: the kernel pings the host, the host the kernel`, async () => {
        const { out } = await kernel(`ping -c 3 -i 0.05 -s 1400 ${OURS[family]}`);
        assert.match(out, /3 received/);
        const reply = await host.ping(THEIRS[family], { size: 1000 });
        assert.equal(reply.bytes, 1000);
        assert.equal(reply.hopLimit, 64);
      });

      it(`IPv${family}: the kernel gets the first large datagram and ping for which nobody knew its MAC yet`, async () => {
        const command = [
          "import socket",
          `s=socket.socket(socket.AF_INET${family === 6 ? "6" : ""},socket.SOCK_DGRAM)`,
          `s.bind(('${THEIRS[family]}',7700))`,
          "print('ready',flush=True)",
          "d,a=s.recvfrom(70000)",
          "s.sendto(str(len(d)).encode()+b' '+str(sum(d)).encode(),a)",
        ].join("\n");
        const running = kernel("python3 -", new TextEncoder().encode(command));
        await until(async () => /:7700 /.test((await kernel("ss -uln")).out));
        const data = body(60_000);
        for (const neighbour of host.ip.neighbours.list()) if (neighbour.state !== "NOARP") host.ip.neighbours.remove(neighbour);
        const socket = host.datagram();
        socket.send(data, { address: THEIRS[family], port: 7700 });
        const answer = new TextDecoder().decode((await socket.receive()).data);
        assert.equal(answer, `60000 ${data.reduce((sum, byte) => sum + byte, 0)}`);
        await running;
        for (const neighbour of host.ip.neighbours.list()) if (neighbour.state !== "NOARP") host.ip.neighbours.remove(neighbour);
        assert.equal((await host.ping(THEIRS[family], { size: 40_000 })).bytes, 40_000);
        socket.close();
      });

      it(`IPv${family}: curl fetches from the host`, async () => {
        const listener = host.listen({ port: 8080 });
        const page = body(3_000_000);
        const serving = (async () => {
          const socket = await listener.accept();
          const reader = socket.readable.getReader();
          await reader.read();
          const writer = socket.writable.getWriter();
          await writer.write(new TextEncoder().encode(`HTTP/1.1 200 OK\r\nContent-Length: ${page.length}\r\nConnection: close\r\n\r\n`));
          await writer.write(page);
          await writer.close();
          reader.releaseLock();
          await socket.close();
        })();
        const { bytes, code } = await kernel(`curl -s -m 20 ${url(family, 8080)}`);
        assert.equal(code, 0);
        assert.equal(sha(bytes), sha(page));
        await serving;
        listener.close();
      });

      it(`IPv${family}: the kernel sends to the host`, async () => {
        const listener = host.listen({ port: 9000 });
        const sent = body(5_000_000);
        const sending = kernel(`nc -N ${OURS[family]} 9000`, sent);
        const socket = await listener.accept();
        assert.equal(socket.remoteAddress.address, THEIRS[family]);
        assert.equal(sha(await readAll(socket)), sha(sent));
        await socket.close();
        assert.equal((await sending).code, 0);
        listener.close();
      });

      it(`IPv${family}: the host sends to the kernel, and hears its answer`, async () => {
        await withFolder(async (folder) => {
          const serving = kernel(`nc -l -N ${THEIRS[family]} 9100 > ${folder}/got`, body(100_000));
          await namespace.listens(9100);
          const socket = await host.connect({ hostname: THEIRS[family], port: 9100 });
          const sent = body(5_000_000);
          const writer = socket.writable.getWriter();
          await writer.write(sent);
          await writer.close();
          assert.equal((await readAll(socket)).length, 100_000);
          await socket.closed;
          await serving;
          assert.equal(sha(readFileSync(`${folder}/got`)), sha(sent));
        });
      });

      it(`IPv${family}: a BBR sender to the kernel and back`, async () => {
        const echo = [
          "import socket, sys",
          "s = socket.create_server((sys.argv[1], 9200), family=socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)",
          "print('ready', flush=True)",
          "c = s.accept()[0]",
          "d = bytearray()",
          "while b := c.recv(1 << 20): d += b",
          "c.sendall(d)",
          "c.close()",
        ].join("\n");
        const daemon = await namespace.start("python3", ["-c", echo, THEIRS[family]], /ready/);
        const socket = await host.connect({ hostname: THEIRS[family], port: 9200, congestion: "bbr" });
        const sent = body(8_000_000);
        const writer = socket.writable.getWriter();
        await writer.write(sent);
        const { congestion, control, pacingRate, deliveryRate } = socket.status();
        assert.equal(congestion, "bbr");
        assert.ok(pacingRate && deliveryRate && Number(control.bw) > 0 && Number(control.min_rtt) > 0, JSON.stringify(control));
        await writer.close();
        assert.equal(sha(await readAll(socket)), sha(sent));
        await socket.closed;
        await daemon.stop();
      });

      it(`IPv${family}: closed ports are refused, both ways, at once`, async () => {
        const { out } = await kernel(`curl -s -S -m 5 ${url(family, 81)}`);
        assert.match(out, /Failed to connect|refused/i);
        const start = performance.now();
        await assert.rejects(host.connect({ hostname: THEIRS[family], port: 81 }), { code: "ECONNREFUSED" });
        assert.ok(performance.now() - start < 1000);
      });

      it(`IPv${family}: datagrams go both ways, and a closed port is reported`, async () => {
        const socket = host.datagram({ port: 5353 });
        const asking = kernel(`echo -n question | timeout 0.3 nc -u ${OURS[family]} 5353`);
        const question = await socket.receive();
        assert.equal(Buffer.from(question.data).toString(), "question");
        assert.equal(question.address, THEIRS[family]);
        socket.send(new TextEncoder().encode("answer"), question);
        assert.match((await asking).out, /answer/);
        socket.close();
        const deaf = host.datagram();
        deaf.connect({ address: THEIRS[family], port: 82 });
        deaf.send(new Uint8Array(10));
        await assert.rejects(deaf.receive(), { code: "ECONNREFUSED" });
        deaf.close();
      });
    }

    it("makes no packet that a dissector finds fault with", { skip: missing("tcpdump", "tshark", "traceroute") }, async () => {
      await withFolder(async (folder) => {
        const file = `${folder}/trace.pcap`;
        const capture = await namespace.start("tcpdump", ["-U", "--immediate-mode", "-B", "20000", "-i", "t0", "-w", file], /listening on/);
        for (const family of FAMILIES) await exchangeOfEverything(family);
        await capture.stop("SIGINT");
        const packets = tshark(file, "frame").length;
        assert.ok(packets > 100, `${packets} packets`);
        assert.deepEqual(tshark(file, "_ws.malformed"), []);
        assert.deepEqual(tshark(file, "_ws.expert.severity >= 0x00800000 && !(tcp.checksum.status == 0 || udp.checksum.status == 0)"), []);
        const wrong = ["ip", "tcp", "udp", "icmp", "icmpv6"].map((name) => `${name}.checksum.status == 0`).join(" || ");
        const ours = tshark(file, `(ip.src == ${OURS[4]} || ipv6.src == ${OURS[6]}) && (${wrong})`);
        // With offloads a capture sees checksums before they are completed (and the filter finds them); without, what the wire would.
        if (offload) assert.ok(ours.length > 0);
        else assert.deepEqual(ours, []);
      });
    });

    /** Something of every kind that a host sends: ARP, NDP, ICMP and its errors, fragments, UDP, TCP in every phase, resets. */
    async function exchangeOfEverything(family: 4 | 6): Promise<void> {
      namespace.ip("neigh", "flush", "dev", "t0");
      await host.ping(THEIRS[family], { size: 4000 });
      await kernel(`ping -n -c 1 -s 3000 ${OURS[family]}; traceroute -${family} -n -q 1 -w 1 ${OURS[family]}`);
      await assert.rejects(host.connect({ hostname: THEIRS[family], port: 81 }));
      await kernel(`nc -z -w 1 ${OURS[family]} 81`);
      const socket = host.datagram({ port: 5354 });
      const asking = kernel(`head -c 5000 /dev/zero | timeout 0.2 nc -u ${OURS[family]} 5354`);
      const { address, port } = await socket.receive();
      socket.send(body(7), { address, port });
      socket.send(body(5000), { address, port });
      await asking;
      socket.close();
      const listener = host.listen({ port: 9003 });
      const sending = kernel(`nc -N ${OURS[family]} 9003`, body(200_000));
      const accepted = await listener.accept();
      await accepted.write(body(150_001));
      await accepted.closeWrite();
      await readAll(accepted);
      await sending;
      const cut = kernel(`nc ${OURS[family]} 9003`);
      (await listener.accept()).abort();
      await cut;
      listener.close();
    }

    /** The packets that a filter of tshark's selects, a line each. */
    function tshark(file: string, filter: string): string[] {
      const checks = ["tcp", "udp", "ip"].flatMap((name) => ["-o", `${name}.check_checksum:TRUE`]);
      const out = execFileSync("tshark", ["-r", file, ...checks, "-Y", filter], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
      return out.split("\n").filter((line) => line !== "");
    }

    it("gave every buffer back", async () => {
      await until(() => host.engine.pool().inFlight === 0);
      const { stats } = host.engine.counters();
      assert.equal(stats.double_frees, 0);
      assert.equal(host.engine.pool().inFlight, 0);
      assert.equal(host.tcp.counters.memory_drops, 0);
    });
  });
}
