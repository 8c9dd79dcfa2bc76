/**
 * Node's modules over a host, against programs on the Linux kernel's side of a TAP device: curl and Node itself, and real
 * servers of Redis and PostgreSQL for their clients from npm. In a network namespace that this file makes and removes.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { after, before, describe, it } from "node:test";
import { Redis } from "ioredis";
import pg from "pg";
import { Host } from "../src/host/host.ts";
import { tap } from "../src/link/tap.ts";
import { forHost, type HostModules, ioredisConnector } from "../src/node/index.ts";
import { CERTIFICATE, KEY } from "./node/certificate.ts";

const NAMESPACE = `loomnode${process.pid}`;
const OURS = "10.78.0.2";
const THEIRS = "10.78.0.1";
const FOLDERS = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
/** Debian keeps PostgreSQL's programs out of the path, one folder a version. */
const POSTGRES = existsSync("/usr/lib/postgresql")
  ? readdirSync("/usr/lib/postgresql")
      .map((version) => `/usr/lib/postgresql/${version}/bin`)
      .find((folder) => existsSync(`${folder}/initdb`))
  : undefined;

function missing(...programs: string[]): string | false {
  if (process.getuid?.() !== 0) return "needs root";
  if (!existsSync("/dev/net/tun")) return "needs /dev/net/tun";
  const absent = ["ip", ...programs].filter((name) => !FOLDERS.some((folder) => existsSync(`${folder}/${name}`)));
  return absent.length ? `needs ${absent.join(", ")}` : false;
}

const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const body = (length: number) => Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 2654435761) >>> 24));

describe("Node's modules over a host, and the Linux kernel", { skip: missing(), timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "loom-node-"));
  const children: ChildProcess[] = [];
  let host: Host;
  let modules: HostModules;

  before(async () => {
    run("ip", "netns", "add", NAMESPACE);
    host = await Host.create({ interfaces: [{ device: tap({ name: "t0", namespace: NAMESPACE }), addresses: [`${OURS}/24`] }] });
    modules = forHost(host);
    for (const words of ["link set lo up", "link set t0 up", `addr add ${THEIRS}/24 dev t0`]) {
      run("ip", "-n", NAMESPACE, ...words.split(" "));
    }
  });

  after(async () => {
    modules?.http.globalAgent.destroy();
    await Promise.all(children.map((child) => child.kill() && child.exitCode === null && once(child, "exit")));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await host?.close();
    assert.equal(host?.engine.pool().inFlight, 0);
    run("ip", "netns", "del", NAMESPACE);
    rmSync(folder, { recursive: true, force: true });
  });

  /** A program in the namespace, until the end of this file. */
  const start = (command: string, ...args: string[]): ChildProcess => {
    const child = spawn("ip", ["netns", "exec", NAMESPACE, command, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    children.push(child);
    return child;
  };
  const listens = async (port: number) => {
    for (let i = 0; i < 400; i++) {
      if (run("ip", "netns", "exec", NAMESPACE, "ss", "-Hltn", "sport", "=", `:${port}`).includes(`:${port}`)) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`nobody listens on port ${port} after ten seconds`);
  };
  const curl = async (...args: string[]) => buffer(start("curl", "-s", "-m", "10", ...args).stdout as NonNullable<ChildProcess["stdout"]>);

  it("http: the kernel's curl fetches and posts, over one connection", { skip: missing("curl") }, async () => {
    const page = body(3_000_000);
    const ports = new Set<number | undefined>();
    const server = modules.http.createServer((incoming, response) => {
      ports.add(incoming.socket.remotePort);
      if (incoming.method === "POST") incoming.pipe(response);
      else response.end(page);
    });
    server.listen(80);
    await once(server, "listening");
    const file = join(folder, "posted");
    writeFileSync(file, body(1_000_000));
    assert.equal(sha(await curl(`http://${OURS}/a`)), sha(page));
    ports.clear();
    const twice = await curl(`http://${OURS}/a`, `http://${OURS}/b`);
    assert.equal(sha(twice), sha(Buffer.concat([page, page])));
    assert.equal(ports.size, 1);
    assert.equal(sha(await curl("-H", "Expect:", "--data-binary", `@${file}`, `http://${OURS}/`)), sha(body(1_000_000)));
    await new Promise((resolve) => server.close(resolve));
  });

  it("https: the kernel's curl checks the certificate", { skip: missing("curl") }, async () => {
    const file = join(folder, "ca.pem");
    writeFileSync(file, CERTIFICATE);
    const server = modules.https.createServer({ key: KEY, cert: CERTIFICATE }, (incoming, response) =>
      response.end(`secured ${incoming.socket.remoteAddress}`),
    );
    server.listen(443);
    await once(server, "listening");
    const answer = await curl("--cacert", file, "--resolve", `server.test:443:${OURS}`, "https://server.test/");
    assert.equal(String(answer), `secured ::ffff:${THEIRS}`);
    await new Promise((resolve) => server.close(resolve));
  });

  it("http: requests to a server of Node on the kernel's side", async () => {
    const program = `require("http").createServer((q, r) => q.pipe(r)).listen(8000, "${THEIRS}")`;
    start(process.execPath, "-e", program);
    await listens(8000);
    const sent = body(2_000_000);
    const answers = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const made = modules.http.request({ host: THEIRS, port: 8000, method: "POST" });
        made.end(sent);
        const [response] = await once(made, "response");
        return sha(await buffer(response));
      }),
    );
    assert.deepEqual(answers, Array(8).fill(sha(sent)));
  });

  it("ioredis: commands, pipelines, subscriptions and a blocking read of a real Redis", { skip: missing("redis-server") }, async () => {
    start("redis-server", "--port", "6379", "--bind", THEIRS, "--protected-mode", "no", "--save", "", "--dir", folder);
    await listens(6379);
    const options = { host: THEIRS, port: 6379, Connector: ioredisConnector(host) as never };
    const [redis, other] = [new Redis(options), new Redis(options)];
    assert.equal(await redis.set("name", "packetloom"), "OK");
    assert.equal(await redis.get("name"), "packetloom");
    const large = body(2_000_000);
    await redis.set("large", large);
    assert.equal(sha((await redis.getBuffer("large")) as Buffer), sha(large));
    const pipeline = redis.pipeline();
    for (let i = 0; i < 1000; i++) pipeline.incr("counter");
    assert.equal((await pipeline.exec())?.at(-1)?.[1], 1000);
    const popped = other.blpop("list", 5);
    await redis.rpush("list", "item");
    assert.deepEqual(await popped, ["list", "item"]);
    await other.subscribe("news");
    const heard = once(other, "message");
    await redis.publish("news", "hello");
    assert.deepEqual(await heard, ["news", "hello"]);
    assert.match((await redis.client("LIST")) as string, new RegExp(`addr=${OURS.replaceAll(".", "\\.")}:`));
    await Promise.all([redis.quit(), other.quit()]);
  });

  const noPostgres = missing("setpriv") || (POSTGRES ? false : "needs postgresql");
  it("pg: queries, parameters, a large result and TLS of a real PostgreSQL", { skip: noPostgres }, async () => {
    const data = join(folder, "postgres");
    mkdirSync(data);
    const owner = ["uid", "gid"].map((_, i) => Number(run("id", i === 0 ? "-u" : "-g", "postgres")));
    chownSync(folder, owner[0], owner[1]);
    chownSync(data, owner[0], owner[1]);
    const as = ["--reuid=postgres", "--regid=postgres", "--clear-groups"];
    run("setpriv", ...as, `${POSTGRES}/initdb`, "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "--no-locale", "-E", "UTF8");
    writeFileSync(join(data, "pg_hba.conf"), "host all all 0.0.0.0/0 trust\n");
    for (const [name, text] of [
      ["server.key", KEY],
      ["server.crt", CERTIFICATE],
    ]) {
      writeFileSync(join(data, name), `${text}\n`, { mode: 0o600 });
      chownSync(join(data, name), owner[0], owner[1]);
    }
    const settings = ["-c", "ssl=on", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", `unix_socket_directories=${folder}`];
    const server = start("setpriv", ...as, `${POSTGRES}/postgres`, "-D", data, "-h", THEIRS, ...settings);
    // It listens before it is ready.
    for await (const lines of server.stderr as NonNullable<ChildProcess["stderr"]>) if (String(lines).includes("ready to accept")) break;
    for (const ssl of [false, { ca: CERTIFICATE, servername: "server.test", host: "server.test" }]) {
      const stream = () => new modules.net.Socket() as never;
      const client = new pg.Client({ host: THEIRS, port: 5432, user: "postgres", database: "postgres", stream, ssl });
      await client.connect();
      const { rows } = await client.query("select $1::int + 1 as next, inet_client_addr()::text as address", [41]);
      assert.deepEqual(rows, [{ next: 42, address: `${OURS}/32` }]);
      const large = await client.query("select i, repeat('x', 1000) as text from generate_series(1, 5000) as i");
      assert.equal(large.rowCount, 5000);
      assert.equal(large.rows[4999].text.length, 1000);
      const used = await client.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()");
      assert.equal(used.rows[0].ssl, Boolean(ssl));
      await assert.rejects(client.query("select nothing"), { code: "42703" });
      await client.end();
    }
  });
});
