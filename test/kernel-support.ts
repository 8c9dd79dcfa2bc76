/** Network namespaces that a test makes and removes, and programs in them. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { Host } from "../src/host/host.ts";
import { tap } from "../src/link/tap.ts";
import type { TcpSocket } from "../src/socket/stream.ts";

export const FAMILIES = [4, 6] as const;
export type Family = (typeof FAMILIES)[number];

/** Why a test cannot run here, or false. */
export function missing(...programs: string[]): string | false {
  if (process.getuid?.() !== 0) return "needs root";
  if (!existsSync("/dev/net/tun")) return "needs /dev/net/tun";
  const folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"];
  const absent = ["ip", ...programs].filter((name) => !folders.some((folder) => existsSync(`${folder}/${name}`)));
  return absent.length ? `needs ${absent.join(", ")}` : false;
}

export interface Output {
  readonly code: number | null;
  /** What it printed, errors after the rest. */
  readonly out: string;
  readonly bytes: Buffer;
}

/** A program that runs until it is told to stop. */
export interface Daemon {
  /** What it has printed so far. */
  output(): string;
  /** Resolves when it has printed that; rejects when it has ended before. */
  says(text: RegExp): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** A file whose test hangs must end all the same: what a failed test left open keeps the process alive. */
setTimeout(() => {
  console.error("two minutes are over: this file's tests hang");
  for (const name of namespaces) spawnSync("ip", ["netns", "del", name]);
  process.exit(1);
}, 120_000).unref();

const namespaces = new Set<string>();
const ip = (...args: string[]) => execFileSync("ip", args, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
let made = 0;

/** Numbers of processes come again: what one that was killed has left behind is passed by. */
function freshName(): string {
  const name = `loom${process.pid}x${made++}`;
  return existsSync(`/run/netns/${name}`) ? freshName() : name;
}

function daemonOf(name: string, program: string, args: readonly string[], ending = () => {}): Daemon {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk) => {
      text += chunk;
    });
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  return {
    output: () => text,
    says: (wanted) =>
      until(() => {
        if (child.exitCode !== null) throw new Error(`${name} ended: ${text}`);
        return wanted.test(text);
      }),
    signal: (signal) => {
      child.kill(signal);
    },
    stop: async (signal = "SIGTERM") => {
      ending();
      child.kill(signal);
      await ended;
    },
  };
}

/** A router as a person starts it, once it routes. */
export async function startRouter(file: string): Promise<Daemon> {
  const router = daemonOf("the router", process.execPath, ["dist/src/cli/main.js", "router", "--config", file]);
  await router.says(/routing between /);
  return router;
}

export class Namespace {
  readonly name = freshName();
  private readonly daemons = new Set<Daemon>();

  constructor() {
    ip("netns", "add", this.name);
    namespaces.add(this.name);
    this.ip("link", "set", "lo", "up");
  }

  /** `ip` in the namespace. */
  ip(...args: string[]): string {
    return ip("-n", this.name, ...args);
  }

  /** Brings a device up and gives it addresses. */
  up(device: string, ...addresses: string[]): void {
    this.ip("link", "set", device, "up");
    for (const address of addresses) this.ip("addr", "add", address, "dev", device, ...(address.includes(":") ? ["nodad"] : []));
  }

  /** Runs a shell command; resolves with what it printed, whatever its exit code. */
  run(command: string, input?: Uint8Array): Promise<Output> {
    return new Promise((resolve) => {
      const child = spawn("ip", ["netns", "exec", this.name, "sh", "-c", command]);
      const chunks: Buffer[] = [];
      let error = "";
      child.stdout.on("data", (chunk) => chunks.push(chunk));
      child.stderr.on("data", (chunk) => {
        error += chunk;
      });
      child.on("close", (code) => {
        const bytes = Buffer.concat(chunks);
        resolve({ code, out: bytes.toString("latin1") + error, bytes });
      });
      child.stdin.on("error", () => {});
      child.stdin.end(input);
    });
  }

  /** Starts a program and waits until it has printed `ready` (or, without it, only starts it). */
  async start(program: string, args: readonly string[], ready?: RegExp): Promise<Daemon> {
    const daemon = daemonOf(program, "ip", ["netns", "exec", this.name, program, ...args], () => this.daemons.delete(daemon));
    this.daemons.add(daemon);
    if (ready) await daemon.says(ready);
    return daemon;
  }

  /** Waits until something listens on a TCP port. */
  listens(port: number): Promise<void> {
    return until(async () => (await this.run(`ss -Hltn sport = :${port}`)).out.includes(`:${port}`));
  }

  async stopAll(): Promise<void> {
    for (const daemon of [...this.daemons]) await daemon.stop("SIGKILL");
  }

  async remove(): Promise<void> {
    await this.stopAll();
    ip("netns", "del", this.name);
    namespaces.delete(this.name);
  }
}

export type Addresses = Readonly<Record<Family, string>>;

/** A host and the kernel on both ends of a TAP device, in a namespace of its own, for the tests of a suite. */
export function overTap(ours: Addresses, theirs: Addresses, use: (host: Host, namespace: Namespace) => void): void {
  let namespace: Namespace | undefined;
  let host: Host | undefined;
  before(async () => {
    namespace = new Namespace();
    const device = tap({ name: "t0", namespace: namespace.name });
    host = await Host.create({ interfaces: [{ device, addresses: [`${ours[4]}/24`, `${ours[6]}/64`] }] });
    namespace.up("t0", `${theirs[4]}/24`, `${theirs[6]}/64`);
    use(host, namespace);
  });
  after(async () => {
    await host?.close();
    await namespace?.remove();
  });
}

export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("it did not happen within ten seconds");
}

export const hostIn = (address: string) => (address.includes(":") ? `[${address}]` : address);
export const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Bytes that repeat only after a long time; the same as kernel-agent.py's. */
export const body = (length: number) => {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = Math.imul(i, 0x9e3779b1) >>> 24;
  return out;
};

export async function readAll(socket: TcpSocket): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of socket.readable) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A folder for the time of `use`. */
export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "loom-"));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What the kernel's socket answers for one connection (see kernel-agent.py). */
export interface AgentReport {
  readonly id: number;
  readonly error?: string;
  readonly sha: string;
  readonly bytes: number;
  /** TCP_INFO's options: timestamps 1, SACK 2, window scale 4, ECN 8, ECN seen 16, data in SYN 32. */
  readonly options: number;
  readonly retransmissions: number;
  readonly congestion: string;
}

export interface AgentOrder {
  /** Accept one connection and answer it, or make one. */
  readonly role: "serve" | "call";
  readonly address: string;
  readonly port: number;
  readonly congestion: string;
  /** Bytes it sends. */
  readonly send: number;
  readonly fastOpen?: boolean;
}

/** The kernel's sockets as a program in a namespace uses them: many connections at once, without a process for each. */
export class KernelAgent {
  private readonly child;
  private readonly waiting = new Map<number, { listening?: () => void; done: (report: AgentReport) => void }>();
  private next = 1;

  constructor(namespace: Namespace) {
    const script = fileURLToPath(new URL("../../test/kernel-agent.py", import.meta.url));
    this.child = spawn("ip", ["netns", "exec", namespace.name, "python3", script], { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      const message = JSON.parse(line) as AgentReport & { listening?: boolean };
      const entry = this.waiting.get(message.id);
      if (message.listening) entry?.listening?.();
      else {
        this.waiting.delete(message.id);
        entry?.done(message);
      }
    });
  }

  /** Begins an order; `ready` resolves when the agent listens, `report` when the connection is over. */
  order(order: AgentOrder): { ready: Promise<void>; report: Promise<AgentReport> } {
    const id = this.next++;
    let listening!: () => void;
    const ready = new Promise<void>((resolve) => {
      listening = resolve;
    });
    const report = new Promise<AgentReport>((done) => this.waiting.set(id, { listening, done }));
    this.write({ id, ...order });
    return { ready, report };
  }

  /** Sets sysctls of the namespace, by their paths below net/ipv4. */
  async sysctl(values: Record<string, string | number>): Promise<void> {
    const id = this.next++;
    const done = new Promise<AgentReport>((resolve) => this.waiting.set(id, { done: resolve }));
    this.write({ id, role: "sysctl", values });
    const { error } = await done;
    if (error) throw new Error(error);
  }

  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.child.on("close", () => resolve()));
    this.child.stdin.end();
    await ended;
  }

  private write(message: unknown): void {
    this.child.stdin.write(`${JSON.stringify(message)}\n`);
  }
}
