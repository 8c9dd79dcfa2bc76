/**
 * A host against the Linux kernel, over TAP, in a network namespace that this file makes and removes: real programs on
 * the kernel's side, both roles, both families.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Host } from "../src/host/host.ts";
import { tap } from "../src/link/tap.ts";
import type { TcpSocket } from "../src/socket/stream.ts";

const NAMESPACE = `loom${process.pid}`;
const OURS = { 4: "10.77.0.2", 6: "fd77::2" } as const;
const THEIRS = { 4: "10.77.0.1", 6: "fd77::1" } as const;
const CONTROLS = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
const FAMILIES = [4, 6] as const;

function missing(...programs: string[]): string | false {
  if (process.getuid?.() !== 0) return "needs root";
  if (!existsSync("/dev/net/tun")) return "needs /dev/net/tun";
  const absent = ["ip", ...programs].filter(
    (name) => !["/usr/bin", "/usr/sbin", "/bin", "/sbin"].some((folder) => existsSync(`${folder}/${name}`)),
  );
  return absent.length ? `needs ${absent.join(", ")}` : false;
}

const ip = (...args: string[]) => execFileSync("ip", args, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });

/** Runs a shell command in the namespace; resolves with what it printed, whatever its exit code. */
function kernel(command: string, input?: Uint8Array): Promise<{ code: number | null; out: string; bytes: Buffer }> {
  return new Promise((resolve) => {
    const child = spawn("ip", ["netns", "exec", NAMESPACE, "sh", "-c", command]);
    const chunks: Buffer[] = [];
    let error = "";
    child.stdout.on("data", (chunk) => chunks.push(chunk));
    child.stderr.on("data", (chunk) => {
      error += chunk;
    });
    child.on("close", (code) => {
      const bytes = Buffer.concat(chunks);
      resolve({ code, out: bytes.toString() + error, bytes });
    });
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

const url = (family: 4 | 6, port: number) => `http://${family === 4 ? OURS[4] : `[${OURS[6]}]`}:${port}/`;
const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

async function readAll(socket: TcpSocket): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of socket.readable) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Bytes that repeat only after a long time. */
const body = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 2654435761) >>> 24);

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("it did not happen within five seconds");
}

const listens = (port: number) => until(async () => (await kernel(`ss -Hltn sport = :${port}`)).out.includes(`:${port}`));

for (const offload of [true, false]) {
  const skip = missing("ping", "curl", "nc");
  describe(`a host and the Linux kernel, offloads ${offload ? "on" : "off"}`, { skip }, () => {
    let host: Host;

    before(async () => {
      ip("netns", "add", NAMESPACE);
      host = await Host.create({
        interfaces: [{ device: tap({ name: "t0", namespace: NAMESPACE, offload }), addresses: [`${OURS[4]}/24`, `${OURS[6]}/64`] }],
      });
      ip("-n", NAMESPACE, "link", "set", "lo", "up");
      ip("-n", NAMESPACE, "link", "set", "t0", "up");
      ip("-n", NAMESPACE, "addr", "add", `${THEIRS[4]}/24`, "dev", "t0");
      ip("-n", NAMESPACE, "addr", "add", `${THEIRS[6]}/64`, "dev", "t0", "nodad");
    });

    after(async () => {
      await host?.close();
      ip("netns", "del", NAMESPACE);
    });

    for (const family of FAMILIES) {
      it(`IPv${family}: the kernel pings the host, the host the kernel`, async () => {
        const { out } = await kernel(`ping -c 3 -i 0.05 -s 1400 ${OURS[family]}`);
        assert.match(out, /3 received/);
        const reply = await host.ping(THEIRS[family], { size: 1000 });
        assert.equal(reply.bytes, 1000);
        assert.equal(reply.hopLimit, 64);
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
        const folder = mkdtempSync(join(tmpdir(), "loom-"));
        const file = join(folder, "got");
        const serving = kernel(`nc -l -N ${THEIRS[family]} 9100 > ${file}`, body(100_000));
        await listens(9100);
        const socket = await host.connect({ hostname: THEIRS[family], port: 9100 });
        const sent = body(5_000_000);
        const writer = socket.writable.getWriter();
        await writer.write(sent);
        await writer.close();
        assert.equal((await readAll(socket)).length, 100_000);
        await socket.closed;
        await serving;
        assert.equal(sha(readFileSync(file)), sha(sent));
        rmSync(folder, { recursive: true });
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
        const asking = kernel(`echo -n question | nc -u -w 1 ${OURS[family]} 5353`);
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

    it("traceroute sees the host as the last hop", { skip: missing("traceroute") }, async () => {
      const { out } = await kernel(`traceroute -n -q 1 -w 1 ${OURS[4]}`);
      assert.match(out, new RegExp(`1\\s+${OURS[4].replaceAll(".", "\\.")}`));
    });

    const allowed = existsSync(CONTROLS) ? readFileSync(CONTROLS, "utf8").trim().split(" ") : [];
    for (const control of ["reno", "cubic", "bbr"]) {
      const absent = missing("sysctl") || (allowed.includes(control) ? false : `the kernel does not allow ${control} in a namespace`);
      it(`takes what the kernel sends with ${control}`, { skip: absent }, async () => {
        await kernel(`sysctl -qw net.ipv4.tcp_congestion_control=${control}`);
        const listener = host.listen({ port: 9001 });
        const sent = body(3_000_000);
        const sending = kernel(`nc -N ${OURS[4]} 9001`, sent);
        const socket = await listener.accept();
        const using = await kernel("ss -Htin dport = :9001");
        assert.match(using.out, new RegExp(control));
        assert.equal(sha(await readAll(socket)), sha(sent));
        await socket.close();
        await sending;
        listener.close();
      });
    }

    for (const [what, setting] of [
      ["SACK", "tcp_sack=0"],
      ["timestamps", "tcp_timestamps=0"],
      ["window scaling", "tcp_window_scaling=0"],
    ] as const) {
      it(`speaks to a kernel without ${what}`, { skip: missing("sysctl") }, async () => {
        await kernel(`sysctl -qw net.ipv4.${setting}`);
        const listener = host.listen({ port: 9002 });
        const sent = body(1_000_000);
        const sending = kernel(`nc -N ${OURS[4]} 9002`, sent);
        const socket = await listener.accept();
        const { sack, timestamps, windowScale } = socket.status();
        assert.deepEqual([sack, timestamps, windowScale[0] > 0], [what !== "SACK", what !== "timestamps", what !== "window scaling"]);
        assert.equal(sha(await readAll(socket)), sha(sent));
        await socket.close();
        await sending;
        listener.close();
        await kernel(`sysctl -qw net.ipv4.${setting.replace("=0", "=1")}`);
      });
    }

    it("makes no packet that a dissector finds fault with", { skip: missing("tcpdump", "tshark") }, async () => {
      const folder = mkdtempSync(join(tmpdir(), "loom-"));
      const file = join(folder, "trace.pcap");
      const capturing = kernel(`timeout -s INT 3 tcpdump -U -i t0 -w ${file} 2>&1`);
      await until(() => existsSync(file));
      const listener = host.listen({ port: 9003 });
      const sending = kernel(`nc -N ${OURS[6]} 9003`, body(200_000));
      const socket = await listener.accept();
      await readAll(socket);
      await socket.close();
      await sending;
      listener.close();
      await host.ping(THEIRS[6]);
      await assert.rejects(host.connect({ hostname: THEIRS[4], port: 81 }));
      await capturing;
      const faults = execFileSync(
        "tshark",
        [
          "-r",
          file,
          "-o",
          "tcp.check_checksum:TRUE",
          "-o",
          "ip.check_checksum:TRUE",
          "-Y",
          "_ws.malformed || ((ip.src == 10.77.0.2 || ipv6.src == fd77::2) && (tcp.checksum.status == 0 || udp.checksum.status == 0 || icmpv6.checksum.status == 0 || ip.checksum.status == 0))",
        ],
        { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
      );
      // With offloads on, a capture sees checksums before they are completed; only without does it see what the wire would.
      if (!offload) assert.equal(faults, "");
      const count = execFileSync("tshark", ["-r", file, "-Y", "_ws.malformed"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
      assert.equal(count, "");
      rmSync(folder, { recursive: true });
    });

    it("gave every buffer back", async () => {
      await new Promise((resolve) => setTimeout(resolve, 200));
      const { stats } = host.engine.counters();
      assert.equal(stats.double_frees, 0);
      assert.equal(host.engine.pool().inFlight, 0);
      assert.equal(host.tcp.counters.memory_drops, 0);
    });
  });
}
