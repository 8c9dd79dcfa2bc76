/**
 * Little programs of system calls as text, one call a line: `fd = socket AF_INET SOCK_STREAM`, `send $fd "text"`. The same
 * program runs here, over a host, and (kernel.py) on the kernel; the results are written in one form and compared.
 *
 * Words: numbers, CONSTANTS|joined, "text", hex:BYTES, $variables, zeros:N, int:N, int:N,M, names (4:127.0.0.1:80, 6:::1:$port,
 * u:path, u:@abstract). `tcp4`, `tcp6`, `udp4`, `udp6`, `stream`, `dgram`, `seqpacket` are sockets that do not block.
 */
import type { Lab } from "../../src/lab/index.ts";
import * as posix from "../../src/posix/index.ts";
import { decodeName, type EpollEvent, encodeName, errorName, type Process, type Slot, type SocketName } from "../../src/posix/index.ts";

export type Argument = number | { var: string } | { hex: string } | { zeros: number } | { name: string; port?: string };

export interface Step {
  call: string;
  args: Argument[];
  out: string[];
}

export interface Outcome {
  ret: number;
  data?: string;
  name?: string;
  flags?: number;
  list?: unknown[];
  vars?: number[];
}

const CONSTANTS = posix as unknown as Record<string, number>;
const NB = posix.SOCK_NONBLOCK;
const SHORT: Record<string, number[]> = {
  tcp4: [posix.AF_INET, posix.SOCK_STREAM | NB],
  tcp6: [posix.AF_INET6, posix.SOCK_STREAM | NB],
  udp4: [posix.AF_INET, posix.SOCK_DGRAM | NB],
  udp6: [posix.AF_INET6, posix.SOCK_DGRAM | NB],
  stream: [posix.AF_UNIX, posix.SOCK_STREAM | NB],
  dgram: [posix.AF_UNIX, posix.SOCK_DGRAM | NB],
  seqpacket: [posix.AF_UNIX, posix.SOCK_SEQPACKET | NB],
};
const UNIX_PREFIX = "PREFIX";
const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

export function parse(text: string): Step[] {
  const lines = text.split("\n").map((line) => line.replace(/#.*/, "").trim());
  return lines.filter((line) => line !== "").map(parseLine);
}

function parseLine(line: string): Step {
  const [, outs, call, rest] = /^(?:([\w ]+) = )?(\w+)\s*(.*)$/.exec(line) as RegExpExecArray;
  const out = outs ? outs.split(" ") : [];
  if (SHORT[call]) return { call: "socket", args: SHORT[call], out };
  const words = rest.match(/"[^"]*"|\S+/g) ?? [];
  return { call, args: words.map(parseWord), out };
}

function parseWord(word: string): Argument {
  if (word.startsWith('"')) return { hex: hexOf(Buffer.from(word.slice(1, -1))) };
  if (word.startsWith("$")) return { var: word.slice(1) };
  if (word.startsWith("hex:")) return { hex: word.slice(4) };
  if (word.startsWith("zeros:")) return { zeros: Number(word.slice(6)) };
  if (word.startsWith("int:")) return { hex: hexOf(new Uint8Array(Int32Array.from(word.slice(4).split(","), Number).buffer)) };
  const inet = /^([46]):(.*):(\$?\w+)$/.exec(word);
  if (inet) return inetName(inet[1] === "4" ? posix.AF_INET : posix.AF_INET6, inet[2], inet[3]);
  if (word.startsWith("u:@")) return { name: hexOf(encodeName({ family: posix.AF_UNIX, path: `\0${UNIX_PREFIX}${word.slice(3)}` })) };
  if (word.startsWith("u:")) return { name: hexOf(encodeName({ family: posix.AF_UNIX, path: UNIX_PREFIX + word.slice(2) })) };
  if (word === "nobody") return { name: "0000".padEnd(32, "0") };
  const numbers = word.split("|").map((part) => (/^-?\d/.test(part) ? Number(part) : CONSTANTS[part]));
  if (numbers.some((n) => typeof n !== "number" || Number.isNaN(n))) throw new Error(`no constant ${word}`);
  return numbers.reduce((a, b) => (b < 0 ? b : (a | b) >>> 0), 0);
}

function inetName(family: number, address: string, port: string): Argument {
  const isVariable = port.startsWith("$");
  const name = hexOf(encodeName({ family, address, port: isVariable ? 0 : Number(port) }));
  return isVariable ? { name, port: port.slice(1) } : { name };
}

/** What the calls returned, in words that do not depend on chance: no numbers of descriptors or dynamic ports. */
export function describeOutcomes(steps: readonly Step[], outcomes: readonly Outcome[]): string[] {
  const ports = new Map<number, string>();
  return steps.map(({ call, out }, i) => {
    const { ret, data, name, flags, list } = outcomes[i];
    if (call === "port") {
      ports.set(ret, `$${out[0]}`);
      return "port";
    }
    if (ret < 0) return `-${errorName(ret)}`;
    const makesFd = ["socket", "accept4", "dup", "epoll"].includes(call);
    const parts = [makesFd ? "fd" : call === "poll" ? pollNames(ret) : String(ret)];
    if (data !== undefined && call === "recvpacket") parts.push(withoutChance(data));
    else if (data !== undefined) parts.push(data.length > 64 ? `${data.length / 2} bytes` : data);
    if (name !== undefined) parts.push(nameText(name, ports));
    if (flags) parts.push(`flags ${flags}`);
    if (list) parts.push(JSON.stringify(list));
    return parts.join(" ");
  });
}

/** An IPv4 packet but for its identification, and the checksum that it enters. */
function withoutChance(packet: string): string {
  return `${packet.slice(0, 8)}IDID${packet.slice(12, 20)}SUMS${packet.slice(24)}`;
}

function pollNames(mask: number): string {
  const names = ["IN", "PRI", "OUT", "ERR", "HUP", "NVAL", "RDNORM", "RDBAND", "WRNORM", "WRBAND", "RDHUP"];
  return names.filter((name) => mask & CONSTANTS[`POLL${name}`]).join("|") || "0";
}

function nameText(hex: string, ports: Map<number, string>): string {
  const name = hex === "" ? undefined : decodeName(Buffer.from(hex, "hex"));
  if (name === undefined || typeof name === "number") return "nobody";
  if ("path" in name)
    return `unix ${JSON.stringify(name.path.replace(/^(\0?)(PREFIX|\d{6})/, "$1").replace(/^\0[0-9a-f]{5}$/, "automatic"))}`;
  return `${name.address} ${ports.get(name.port) ?? (name.port ? "port" : 0)}`;
}

/** Runs a program over a host in virtual time. */
export async function runHere(lab: Lab, process: Process, steps: readonly Step[]): Promise<Outcome[]> {
  const run = new Run(lab, process);
  const out: Outcome[] = [];
  for (const step of steps) out.push(await run.step(step));
  process.exit();
  await lab.run(100);
  return out;
}

type Value = number | Uint8Array | SocketName;

class Run {
  private readonly vars = new Map<string, number>();
  private readonly lab: Lab;
  private readonly process: Process;

  constructor(lab: Lab, process: Process) {
    this.lab = lab;
    this.process = process;
  }

  async step({ call, args, out }: Step): Promise<Outcome> {
    const outcome = await this.call(call, args.map((arg) => this.value(arg)) as never[]);
    for (const [i, value] of (outcome.vars ?? [outcome.ret]).entries()) if (out[i]) this.vars.set(out[i], value);
    return outcome;
  }

  private value(arg: Argument): Value {
    if (typeof arg === "number") return arg;
    if ("var" in arg) return this.vars.get(arg.var) ?? -1;
    if ("hex" in arg) return new Uint8Array(Buffer.from(arg.hex, "hex"));
    if ("zeros" in arg) return new Uint8Array(arg.zeros);
    const name = decodeName(Buffer.from(arg.name, "hex")) as SocketName;
    return arg.port === undefined ? name : ({ ...name, port: this.vars.get(arg.port) } as SocketName);
  }

  private async call(call: string, a: never[]): Promise<Outcome> {
    const p = this.process;
    const [fd, second, third, fourth] = a as number[];
    const bytes = (size: number) => new Uint8Array(size);
    switch (call) {
      case "recv":
      case "read": {
        const into = bytes(second);
        const ret = call === "recv" ? p.recv(fd, into, third) : p.read(fd, into);
        return ret > 0 ? { ret, data: hexOf(into.subarray(0, ret)) } : { ret };
      }
      case "recvpacket":
      case "recvfrom": {
        const [into, from] = [bytes(second), {} as Slot<SocketName>];
        const ret = p.recvfrom(fd, into, third, from);
        return ret < 0 ? { ret } : { ret, data: hexOf(into.subarray(0, ret)), name: from.value ? hexOf(encodeName(from.value)) : "" };
      }
      case "recvmsg":
        return this.recvmsg(fd, second, third);
      case "sendrights": {
        const data = new Uint8Array(Int32Array.from(a.slice(2)).buffer);
        const control = [{ level: posix.SOL_SOCKET, type: posix.SCM_RIGHTS, data }];
        return { ret: p.sendmsg(fd, { iov: [a[1]], control }) };
      }
      case "fill":
        return this.until(() => p.send(fd, bytes(1000)));
      case "drain":
        return this.until(() => p.recv(fd, bytes(65_536)));
      case "getsockname":
      case "getpeername": {
        const slot: Slot<SocketName> = {};
        const ret = p[call](fd, slot);
        return slot.value ? { ret, name: hexOf(encodeName(slot.value)) } : { ret };
      }
      case "port": {
        const slot: Slot<SocketName> = {};
        p.getsockname(fd, slot);
        return { ret: (slot.value as { port: number }).port };
      }
      case "getsockopt": {
        const into = bytes(fourth ?? 4);
        const ret = p.getsockopt(fd, second, third, into);
        return ret < 0 ? { ret } : { ret, data: hexOf(into.subarray(0, ret)) };
      }
      case "length":
        return { ret: p.getsockopt(fd, second, third, bytes(fourth)) };
      case "poll": {
        const entries = [{ fd, events: second, revents: 0 }];
        p.poll(entries);
        return { ret: entries[0].revents };
      }
      case "pipe2":
      case "socketpair": {
        const pair: [number, number] = [-1, -1];
        const ret = call === "pipe2" ? p.pipe2(pair, fd) : p.socketpair(fd, second, third ?? 0, pair);
        return { ret, vars: pair };
      }
      case "epoll":
        return { ret: p.epollCreate1() };
      case "epollctl":
        return { ret: p.epollCtl(fd, second, third, { events: fourth, data: a[4] }) };
      case "epollwait": {
        const events: EpollEvent[] = [];
        const ret = p.epollWait(fd, events, second);
        return ret > 0 ? { ret, list: events.slice(0, ret).map(({ events, data }) => [events, data]) } : { ret };
      }
      case "unlink":
        return { ret: p.unlink((a[0] as { path: string }).path) };
      case "namespace":
        return { ret: 0 };
      case "settle":
        await this.lab.run(fd ?? 15);
        return { ret: 0 };
      default:
        return { ret: (p as unknown as Record<string, (...args: never[]) => number>)[call](...a) };
    }
  }

  private recvmsg(fd: number, size: number, flags = 0): Outcome {
    const into = new Uint8Array(size);
    const message: posix.Message = { iov: [into], control: [] };
    const ret = this.process.recvmsg(fd, message, flags);
    if (ret < 0) return { ret };
    const control = message.control ?? [];
    const out = { ret, data: hexOf(into.subarray(0, ret)), flags: message.flags };
    const rights = control.find((each) => each.level === posix.SOL_SOCKET && each.type === posix.SCM_RIGHTS);
    if (!rights) return { ...out, list: control.map(({ level, type, data }) => [level, type, hexOf(data)]) };
    const vars = [...new Int32Array(rights.data.slice().buffer)];
    return { ...out, list: [vars.length], vars };
  }

  private until(call: () => number): Outcome {
    let ret = call();
    while (ret > 0) ret = call();
    return { ret };
  }
}
