/**
 * Linux as the router of topology.ts, in a namespace, with the outer ends of its links in another, where agent.py sends
 * and hears frames. One router serves many cases: `begin` forgets the one before.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Frame } from "./case.ts";
import type { Router } from "./router.ts";
import {
  FIRST_HOST,
  GATEWAY4,
  GATEWAY6,
  host4,
  host6,
  LAST_HOST,
  macOf,
  PORTS,
  type PortName,
  PREFIX4,
  PREFIX6,
  SYSCTLS,
} from "./topology.ts";

/** Of `nft -j list ruleset`: a rule with its statements. */
interface Listed {
  readonly rule?: {
    readonly family: string;
    readonly table: string;
    readonly chain: string;
    readonly expr: readonly { readonly counter?: { readonly packets: number; readonly bytes: number } }[];
  };
}

/** Counters of rules, numbered within their chain. */
function countersOf(listed: readonly Listed[]): string[] {
  const numbers = new Map<string, number>();
  return listed.flatMap(({ rule }) => {
    if (!rule) return [];
    const chain = `${rule.family} ${rule.table} ${rule.chain}`;
    const number = numbers.get(chain) ?? 0;
    numbers.set(chain, number + 1);
    return rule.expr.flatMap(({ counter }) => (counter ? [`${chain} ${number} packets ${counter.packets} bytes ${counter.bytes}`] : []));
  });
}

const MANY = { maxBuffer: 64 << 20, encoding: "utf8" } as const;
const ip = (args: string, input?: string) => execFileSync("ip", args.split(" "), { ...MANY, input, stdio: ["pipe", "pipe", "pipe"] });
/** Before there are links: no addresses of their own, and the groups of those that they get are told of once, at once. */
const QUIET = [
  "cd /proc/sys/net/ipv6",
  "for f in conf/*/addr_gen_mode; do echo 1 > $f; done",
  "for f in conf/*/mldv2_unsolicited_report_interval; do echo 1 > $f; done",
  "echo 1 > mld_qrv",
].join("\n");
let made = 0;

export class KernelRouter implements Router {
  private readonly router = `loomr${process.pid}x${made++}`;
  private readonly outer = `${this.router}o`;
  private agent!: ChildProcess;
  private readonly waiting: ((line: string) => void)[] = [];

  static async create(): Promise<KernelRouter> {
    const router = new KernelRouter();
    try {
      router.build();
      await router.start();
    } catch (error) {
      await router.close();
      throw error;
    }
    return router;
  }

  private build(): void {
    const { router, outer } = this;
    for (const name of [router, outer]) {
      ip(`netns add ${name}`);
      spawnSync("ip", ["netns", "exec", name, "sh", "-c", QUIET]);
    }
    for (const port of PORTS) {
      ip(`-n ${router} link add ${port.name} mtu ${port.mtu} address ${macOf(port)} type veth peer ${port.name} mtu 9000 netns ${outer}`);
      // Checksums and segments as they would be on a wire.
      ip(`netns exec ${router} ethtool -K ${port.name} tx off rx off gro off gso off tso off`);
      ip(`netns exec ${outer} ethtool -K ${port.name} tx off rx off gro off gso off tso off`);
    }
    ip(`-n ${outer} link add mark0 type veth peer mark1`);
    spawnSync("ip", ["netns", "exec", outer, "sh", "-c", "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done"]);
    for (const name of ["mark0", "mark1", ...PORTS.map((port) => port.name)]) ip(`-n ${outer} link set ${name} arp off up`);
    ip(`-n ${router} -batch -`, this.plan().join("\n"));
  }

  private plan(): string[] {
    const lines = ["link set lo up"];
    for (const port of PORTS) {
      const { name } = port;
      lines.push(`link set ${name} addrgenmode none up`);
      lines.push(`addr add ${port.address4}/${PREFIX4} dev ${name}`, `addr add ${port.address6}/${PREFIX6} dev ${name} nodad`);
      for (let last = FIRST_HOST; last <= LAST_HOST; last++) {
        for (const host of [host4(port, last), host6(port, last)])
          lines.push(`neigh add ${host} lladdr ${macOf(port, last)} dev ${name} nud permanent`);
      }
    }
    return [...lines, `route add default via ${GATEWAY4}`, `route add default via ${GATEWAY6}`];
  }

  private async start(): Promise<void> {
    const script = join(process.cwd(), "test/netfilter/agent.py");
    const args = ["netns", "exec", this.outer, "python3", script, this.router, ...PORTS.map((port) => port.name)];
    this.agent = spawn("ip", args, { stdio: ["pipe", "pipe", "inherit"] });
    if (!this.agent.stdout) throw new Error("the agent has no output");
    createInterface({ input: this.agent.stdout }).on("line", (line) => this.waiting.shift()?.(line));
    this.agent.on("exit", () => {
      for (const answer of this.waiting.splice(0)) answer('{"error":"the agent has ended"}');
    });
    await this.order({ do: "sysctl", values: SYSCTLS });
    await this.order({ do: "begin", ruleset: "" });
  }

  private async order<T>(order: unknown): Promise<T> {
    const line = await new Promise<string>((resolve) => {
      this.waiting.push(resolve);
      this.agent.stdin?.write(`${JSON.stringify(order)}\n`);
    });
    const report = JSON.parse(line);
    if (report.error) throw new Error(report.error);
    return report;
  }

  async begin(ruleset: string, sysctls: Readonly<Record<string, number>> = {}): Promise<void> {
    await this.order({ do: "begin", ruleset, sysctls });
  }

  async send(frames: readonly Frame[]): Promise<Frame[][]> {
    const { steps } = await this.order<{ steps: [PortName, string][][] }>({
      do: "send",
      steps: frames.map(({ port, frame }) => [port, frame]),
    });
    return steps.map((out) => out.map(([port, frame]) => ({ port, frame })));
  }

  async wait(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms));
  }

  async connections(): Promise<string[]> {
    const { lines } = await this.order<{ lines: string[] }>({ do: "connections" });
    return lines.sort();
  }

  async counters(): Promise<string[]> {
    const { ruleset } = await this.order<{ ruleset: { nftables: Listed[] } }>({ do: "ruleset" });
    return countersOf(ruleset.nftables);
  }

  /** Runs a command in the router's namespace. */
  shell(command: string): Promise<{ code: number; out: string }> {
    return this.order({ do: "shell", command });
  }

  async close(): Promise<void> {
    if (this.agent && this.agent.exitCode === null) {
      const ended = new Promise<void>((resolve) => this.agent.on("exit", () => resolve()));
      this.agent.stdin?.end();
      await ended;
    }
    for (const name of [this.router, this.outer]) spawnSync("ip", ["netns", "del", name]);
  }
}
