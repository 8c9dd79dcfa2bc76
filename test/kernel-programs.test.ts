/** Programs that everybody has, against a host: curl, nginx, ssh, ping, traceroute, mtr. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import * as http2 from "node:http2";
import { Duplex } from "node:stream";
import { describe, it } from "node:test";
import type { Host } from "../src/host/host.ts";
import type { TcpListenerSocket } from "../src/socket/listener.ts";
import type { TcpSocket } from "../src/socket/stream.ts";
import { body, FAMILIES, hostIn, missing, type Namespace, overTap, sha, until, withFolder } from "./kernel-support.ts";
import { sshServer } from "./ssh.ts";

const OURS = { 4: "10.80.0.2", 6: "fd80::2" } as const;
const THEIRS = { 4: "10.80.0.1", 6: "fd80::1" } as const;
const LARGE = 100 << 20;

/** A connection in the shape that Node's own servers take. */
const duplex = (socket: TcpSocket) => Duplex.fromWeb({ readable: socket.readable, writable: socket.writable } as never);

/** Node's HTTP over a host: `GET /N` gives N bytes, anything else the digest of what was sent. */
function answer(request: http.IncomingMessage | http2.Http2ServerRequest, response: http.ServerResponse | http2.Http2ServerResponse): void {
  const length = Number(request.url?.slice(1));
  const reply = response as http.ServerResponse;
  if (request.method === "GET") {
    reply.setHeader("content-length", length);
    reply.end(body(length));
    return;
  }
  const chunks: Buffer[] = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => reply.end(sha(Buffer.concat(chunks))));
}

function serve(listener: TcpListenerSocket, server: { emit(event: "connection", socket: Duplex): boolean }): void {
  void (async () => {
    for await (const socket of listener) server.emit("connection", duplex(socket));
  })();
}

/** GETs `path` over a connection that stays open, `times` times; the bodies. */
async function getMany(host: Host, address: string, path: string, times: number): Promise<Uint8Array[]> {
  const socket = await host.connect({ hostname: address, port: 80 });
  const space = new Uint8Array(65_536);
  const bodies: Uint8Array[] = [];
  let pending = Buffer.alloc(0);
  const more = async () => {
    const n = await socket.read(space);
    if (n === null) throw new Error("the server closed");
    pending = Buffer.concat([pending, space.subarray(0, n)]);
  };
  for (let i = 0; i < times; i++) {
    await socket.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`));
    while (!pending.includes("\r\n\r\n")) await more();
    const end = pending.indexOf("\r\n\r\n") + 4;
    const head = pending.subarray(0, end).toString();
    assert.match(head, /^HTTP\/1.1 200 /);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
    while (pending.length < end + length) await more();
    bodies.push(Uint8Array.from(pending.subarray(end, end + length)));
    pending = pending.subarray(end + length);
  }
  await socket.closeWrite();
  assert.equal(await socket.read(space), null);
  return bodies;
}

describe("programs and a host", { skip: missing("ping", "curl"), timeout: 60_000 }, () => {
  let namespace: Namespace;
  let host: Host;

  overTap(OURS, THEIRS, (...made) => {
    [host, namespace] = made;
    serve(host.listen({ port: 80 }), http.createServer(answer));
    serve(host.listen({ port: 82 }), http2.createServer(answer));
  });

  it("ping -R and -T get the way back, as from a kernel; whole and in fragments", async () => {
    const [us, them] = [OURS[4], THEIRS[4]];
    const shown = async (options: string) => {
      const { out, code } = await namespace.run(`ping -n -c 1 -W 2 ${options}`);
      assert.equal(code, 0, `${options}: ${out}`);
      return [...out.matchAll(/^(?:RR: |TS: )?\t(?:([\d.]+)\b)?/gm)].map(([, address]) => address);
    };
    for (const size of ["", "-s 4000"]) assert.deepEqual(await shown(`${size} -R ${us}`), [them, us, us, them], size);
    assert.deepEqual(await shown(`-T tsandaddr ${us}`), [them, us, us, them]);
    assert.equal((await shown(`-T tsonly ${us}`)).length, 4);
    const prespecified = await namespace.run(`ping -n -c 1 -W 2 -T tsprespec ${us} 10.9.9.9 ${us}`);
    // Its own clock knows no midnight, and the second address is not its own: nothing stands behind the first.
    assert.match(prespecified.out, new RegExp(`TS: \\t${us}\\t-?\\d+ absolute not-standard\\n\\n`), prespecified.out);
  });

  for (const family of FAMILIES) {
    const url = (port: number, path: string) => `http://${hostIn(OURS[family])}:${port}/${path}`;

    it(`IPv${family}: curl fetches and sends 100 MB`, async () => {
      const page = body(LARGE);
      const down = await namespace.run(`curl -sS -m 30 ${url(80, String(LARGE))} | sha256sum`);
      assert.equal(down.out.slice(0, 64), sha(page));
      const up = await namespace.run(`curl -sS -m 30 -T - ${url(80, "")}`, page);
      assert.equal(up.out, sha(page));
    });

    it(`IPv${family}: curl keeps a connection for many requests, and speaks HTTP/2`, async () => {
      const many = await namespace.run(`curl -sS -m 20 -w '%{num_connects} ' ${`${url(80, "1000")} -o /dev/null `.repeat(20)}`);
      assert.equal(many.out.trim(), `1${" 0".repeat(19)}`);
      const h2 = await namespace.run(`curl -sS -m 20 --http2-prior-knowledge -w '%{stderr}%{http_version}' ${url(82, "3000000")}`);
      assert.ok(h2.out.endsWith("2"), h2.out.slice(-100));
      assert.equal(sha(h2.bytes), sha(body(3_000_000)));
      const parallel = `${url(82, "20000")} -o /dev/null `.repeat(50);
      const together = await namespace.run(
        `curl -sS -m 20 -Z --parallel-immediate --http2-prior-knowledge -w '%{size_download}\\n' ${parallel}`,
      );
      assert.equal(together.bytes.toString(), "20000\n".repeat(50));
    });

    it(`IPv${family}: ping of every size, whole, in fragments, and with DF`, { skip: missing("ping") }, async () => {
      for (const size of [0, 1, 56, 1400, 1452, 1472, 1473, 3000, 20_000, 65_000]) {
        const { out, code } = await namespace.run(`ping -n -c 2 -i 0.01 -W 2 -s ${size} ${OURS[family]}`);
        assert.equal(code, 0, `${size} bytes: ${out}`);
      }
      const fits = family === 4 ? 1472 : 1452;
      assert.equal((await namespace.run(`ping -n -c 1 -M do -s ${fits} ${OURS[family]}`)).code, 0);
      const { bytes } = await host.ping(THEIRS[family], { size: 20_000 });
      assert.equal(bytes, 20_000);
      const flood = await namespace.run(`ping -n -f -c 2000 ${OURS[family]}`);
      assert.match(flood.out, /2000 received, 0% packet loss/);
    });

    it(`IPv${family}: traceroute by UDP, ICMP and TCP, and mtr, end at the host`, { skip: missing("traceroute", "mtr") }, async () => {
      for (const method of ["", "-I", "-T -p 80"]) {
        const { out } = await namespace.run(`traceroute -${family} -n -q 1 -w 1 ${method} ${OURS[family]}`);
        assert.match(out, new RegExp(`\\n 1 +${OURS[family].replaceAll(".", "\\.")} `), method);
        assert.equal(out.trim().split("\n").length, 2, out);
      }
      const { out } = await namespace.run(`mtr -n -r -c 3 -i 0.1 -G 0.5 -Z 1 ${OURS[family]}`);
      assert.match(out, new RegExp(`1\\.\\|-- ${OURS[family].replaceAll(".", "\\.")} +0\\.0% +3`), out);
    });
  }

  it("nginx serves a hundred clients of ours at once, each keeping its connection", { skip: missing("nginx") }, async () => {
    await withFolder(async (folder) => {
      mkdirSync(`${folder}/www`);
      const page = body(50_000);
      writeFileSync(`${folder}/www/page`, page);
      const listen = FAMILIES.map((family) => `listen ${hostIn(THEIRS[family])}:80 backlog=512;`).join(" ");
      const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
      writeFileSync(
        `${folder}/nginx.conf`,
        `user root; daemon off; pid ${folder}/pid; error_log stderr; events { worker_connections 512; }
        http { access_log off; ${temp} server { ${listen} root ${folder}/www; } }`,
      );
      const nginx = await namespace.start("nginx", ["-e", "stderr", "-p", folder, "-c", `${folder}/nginx.conf`]);
      await namespace.listens(80);
      const clients = Array.from({ length: 100 }, (_, i) => getMany(host, THEIRS[i % 2 ? 4 : 6], "/page", 10));
      const wanted = sha(page);
      for (const bodies of await Promise.all(clients)) {
        assert.equal(bodies.length, 10);
        for (const each of bodies) assert.equal(sha(each), wanted);
      }
      await nginx.stop();
    });
  });

  it("ssh goes through a relay on the host", { skip: missing("ssh", "sshd", "ssh-keygen") }, async () => {
    await withFolder(async (folder) => {
      const ssh = await sshServer(namespace, folder, 2222);
      const listener = host.listen({ port: 22 });
      void (async () => {
        for await (const near of listener) {
          const far = await host.connect({ hostname: THEIRS[4], port: 2222 });
          near.readable.pipeTo(far.writable).catch(() => {});
          far.readable.pipeTo(near.writable).catch(() => {});
        }
      })();
      const sent = body(3_000_000);
      const up = await namespace.run(ssh(`root@${OURS[6]} sha256sum`), sent);
      assert.equal(up.out.slice(0, 64), sha(sent));
      const down = await namespace.run(ssh(`-o ProxyCommand='nc ${OURS[4]} 22' root@relay 'head -c 3000000 /dev/zero'`));
      assert.equal(sha(down.bytes), sha(new Uint8Array(3_000_000)));
      listener.close();
    });
  });

  it("gave every buffer back", async () => {
    await until(() => host.engine.pool().inFlight === 0);
    assert.equal(host.engine.counters().stats.double_frees, 0);
    assert.equal(host.tcp.counters.memory_drops, 0);
  });
});
