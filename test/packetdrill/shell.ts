/**
 * Commands in backquotes are never run: they are read, and what they would set is set in the stack. A command that is
 * not known makes the script unsupported.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Mismatch, Unsupported } from "./script.ts";
import { DEFAULTS, sysctl } from "./sysctls.ts";
import type { Wire } from "./wire.ts";

/** $((256*1024)). */
function arithmetic(text: string): string {
  return text.replace(/\$\(\(([\d\s*+]+)\)\)/g, (_, sum: string) =>
    String(sum.split("+").reduce((total, product) => total + product.split("*").reduce((n, factor) => n * Number(factor), 1), 0)),
  );
}

/** Words of a command, quotes taken off; what follows a redirection is left out. */
function words(line: string): string[] {
  const out: string[] = [];
  for (const [part] of line.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)) out.push(part.replace(/["']/g, ""));
  return out.filter((word, i) => !/^\d*>/.test(word) && out[i - 1] !== ">");
}

function commands(text: string): string[] {
  return text
    .replace(/\\\n/g, " ")
    .replace(/\\(.)/g, "$1")
    .split(/\n|;|&&|\|\|/)
    .map((line) => line.replace(/(^|\s)#.*$/, "").trim())
    .filter((line) => line !== "");
}

const dotted = (name: string) => name.replace(/^\/(proc\/sys|sys)\//, "").replaceAll("/", ".");

export class Shell {
  private readonly wire: Wire;
  /** Where the script lies: its commands name files from there. */
  private readonly folder: string;
  private readonly counted: Record<string, number> = {};

  constructor(wire: Wire, file: string) {
    this.wire = wire;
    this.folder = dirname(resolve(file));
  }

  run(text: string): void {
    for (const line of commands(arithmetic(text))) this.command(line);
  }

  private command(line: string): void {
    const [name, ...args] = words(line);
    const file = name.split("/").pop() ?? name;
    if (file === "defaults.sh") this.defaults(name);
    else if (file === "sysctl") this.assignments(args.filter((arg) => !arg.startsWith("-")));
    else if (/^set_sysctls(\.py)?$/.test(file)) this.assignments(args);
    else if (/^echo /.test(line) && line.includes(">")) this.echo(line);
    else if (file === "ip") this.ip(args, line);
    else if (file === "tc") this.tc(args, line);
    else if (file === "nstat") this.statistics(line);
    else if (file === "grep" && line.includes("/proc/net/tcp")) this.sockets(line);
    // Offloads of the real device: every segment of this wire is as large as its MTU lets it be.
    else if (file === "ethtool" && args[0] === "-K") return;
    else if (file === "dd") this.file(args);
    else if (!/^(true|sleep|modprobe|sync|rm)$/.test(file) && !/^sysctl_restore/.test(file))
      throw new Unsupported(`the command "${line}" is not known`);
  }

  private defaults(name: string): void {
    const path = resolve(this.folder, name);
    if (existsSync(path)) {
      const nested = new Shell(this.wire, path);
      // Shell files may hold loops and functions; lines that set nothing are theirs alone.
      for (const line of commands(arithmetic(readFileSync(path, "utf8"))))
        if (/^(sysctl|ip|tc)\s|defaults\.sh$/.test(line)) nested.command(line);
    } else for (const [key, value] of DEFAULTS) sysctl(this.wire.host, key, value);
  }

  private assignments(args: readonly string[]): void {
    for (const arg of args) {
      const [name, ...value] = arg.split("=");
      if (value.length > 0) sysctl(this.wire.host, dotted(name), value.join("="));
    }
  }

  /** `dd if=/dev/zero of=FILE bs=N count=N` makes a file of zeros. */
  private file(args: readonly string[]): void {
    const named = new Map(args.map((arg) => arg.split("=") as [string, string]));
    if (named.get("if") !== "/dev/zero") throw new Unsupported(`dd from ${named.get("if")}`);
    const size = (text: string | undefined) =>
      Number.parseInt(text ?? "512", 10) * ({ k: 1024, K: 1024, M: 1 << 20 }[text?.at(-1) ?? ""] ?? 1);
    this.wire.files.set(named.get("of") ?? "", size(named.get("bs")) * Number(named.get("count") ?? 1));
  }

  /** Grep's exit code is the command's: without a match the script fails. */
  private sockets(line: string): void {
    const port = Number.parseInt(/:([0-9A-F]{4})/.exec(line)?.[1] ?? "", 16);
    if (!line.includes('" 0A "') || Number.isNaN(port)) throw new Unsupported(`the command "${line}" is not known`);
    if (this.wire.host.tcp.users(port).listeners.length === 0) throw new Mismatch(`nobody listens on port ${port}`);
  }

  /**
   * `nstat` begins to count anew, but for `nstat -s`; `| grep NAME` wants to see that NAME has counted since, and
   * `| grep -q " 3 "` behind it how often.
   */
  private statistics(line: string): void {
    const counters = this.wire.host.tcp.counters as unknown as Record<string, number>;
    const [nstat, ...greps] = line.split("|").map((part) => words(part.trim()));
    const [name, times] = greps.map((grep) => grep.slice(1).find((word) => !word.startsWith("-") && !word.startsWith(">")) ?? "");
    if (name !== undefined) {
      const key = name
        .replace(/^TcpExt|^Tcp/, "")
        .replace(/^TCP/, "")
        .replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_")
        .toLowerCase();
      if (!(key in counters)) throw new Unsupported(`the counter ${name} of "${line}" is not known`);
      const seen = counters[key] - (this.counted[key] ?? 0);
      if (seen === 0 || (times !== undefined && seen !== Number(times))) {
        throw new Mismatch(`the counter ${name}: expected ${times?.trim() ?? "more than 0"}, got ${seen}`);
      }
    }
    if (!nstat.includes("-s")) Object.assign(this.counted, counters);
  }

  private echo(line: string): void {
    const [, value, name] = /^echo\s+(?:-n\s+)?["']?([^"'>]*?)["']?\s*>\s*(\S+)/.exec(line) ?? [];
    if (name === undefined || !/^\/(proc\/sys|sys\/module)\//.test(name)) throw new Unsupported(`the command "${line}" is not known`);
    sysctl(this.wire.host, dotted(name), value);
  }

  /** Of past connections a host remembers Fast Open's cookies; routes may say something about connections. */
  private ip(args: readonly string[], line: string): void {
    const known = args.filter((arg) => !/^-[46]?/.test(arg));
    if (known[0] === "tcp_metrics") {
      if (known[1] === "flush") this.wire.host.tcp.cookies.forget();
      return;
    }
    if (known[0] === "route") {
      this.route(known.slice(2), line);
      return;
    }
    throw new Unsupported(`the command "${line}" is not known`);
  }

  private route(args: readonly string[], line: string): void {
    const metrics: Record<string, number | string> = {};
    for (let i = 1; i < args.length; i++) {
      const name = args[i];
      if (name === "via" || name === "dev" || name === "proto" || name === "scope" || name === "src" || name === "table") i++;
      else {
        const value = args[i + 1] === "lock" ? args[i + 2] : args[i + 1];
        i += args[i + 1] === "lock" ? 2 : 1;
        metrics[name] = value;
      }
    }
    const { host } = this.wire;
    for (const [name, value] of Object.entries(metrics)) {
      if (name === "advmss") {
        host.tcp.setDefaults({ maxMss: Number(value) });
        // To the stack it also bounds what is sent, which to Linux it does not.
        for (const tcb of host.tcp.list()) tcb.ownOptions.maxMss = Number(value);
      } else if (name === "initcwnd") host.tcp.setDefaults({ initialWindow: Number(value) });
      else if (name === "mtu") host.setMtu("tun0", Number(value));
      else throw new Unsupported(`the route's ${name} in "${line}"`);
    }
  }

  /** A queue without room loses everything, a fair one paces; any other passes packets on at once, as this wire does. */
  private tc(args: readonly string[], line: string): void {
    if (args[0] !== "qdisc") throw new Unsupported(`the command "${line}" is not known`);
    const limit = args.indexOf("limit");
    this.wire.host.tcp.setDefaults({ pacing: args.includes("fq") });
    if (limit >= 0) this.wire.block(Number(args[limit + 1]) === 0);
    else if (!/pfifo|fq|noqueue/.test(line) && !line.includes("delete") && !line.includes("del "))
      throw new Unsupported(`the queue of "${line}"`);
    else this.wire.block(false);
  }
}
