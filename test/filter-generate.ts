/** Random packets and random rules over every expression, from small pools so that they meet. */
import * as abi from "../assembly/abi.ts";
import type { Random } from "../src/base/random.ts";
import type { CompareOp, CtKey, Expression, MetaKey, PayloadBase, RulesetSpec, SetSpec, Verdict } from "../src/filter/expressions.ts";
import type { Packet } from "../src/filter/machine/oracle/packet.ts";
import { chainOf, INTERFACES, setOf } from "./filter-rig.ts";

export class Generator {
  readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  below(n: number): number {
    return this.random.below(n);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  chance(part: number): boolean {
    return this.random.float() < part;
  }

  bytes(n: number): Uint8Array {
    return this.random.fill(new Uint8Array(n));
  }

  // ── Packets ─────────────────────────────────────────────────────────────────────────────────────
  /** Of IP, or of anything that a device may bring in. */
  packet(any = false): Packet {
    if (any && this.chance(0.2)) return this.arp();
    const family = this.pick([4, 4, 4, 6, 6] as const);
    const link = this.chance(0.85) ? this.link(family) : new Uint8Array(0);
    const protocol = this.pick([6, 6, 6, 17, 17, family === 4 ? 1 : 58, 47, 4, 132]);
    const later = this.chance(0.08);
    const network = family === 4 ? this.network4(protocol, later) : this.network6(protocol, later);
    const transport = this.transport(protocol);
    const bytes = new Uint8Array(link.length + network.length + transport.length);
    bytes.set(link);
    bytes.set(network, link.length);
    bytes.set(transport, link.length + network.length);
    const flow = this.chance(0.6) ? this.flow(family) : undefined;
    return {
      bytes: this.chance(0.05) ? bytes.slice(0, link.length + network.length + this.below(transport.length + 1)) : bytes,
      l3: link.length,
      l4: link.length + network.length,
      family,
      protocol,
      laterFragment: later,
      openChecksum: this.chance(0.1),
      group: link.length > 0 && (link[0] & 1) === 1,
      input: this.chance(0.8) ? this.pick(INTERFACES) : undefined,
      output: this.chance(0.6) ? this.pick(INTERFACES) : undefined,
      mark: this.pick([0, 1, 2, 0xff00]),
      priority: this.pick([0, 6]),
      ctinfo: flow ? this.pick([0, 1, 2, 3, 4]) : this.pick([abi.CT_UNTRACKED, abi.CT_INVALID]),
      flow,
    };
  }

  private arp(): Packet {
    const bytes = Uint8Array.of(...this.link(4).subarray(0, 12), 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, ...this.bytes(20));
    const known = { l3: 14, l4: 14, family: 0, protocol: 0, laterFragment: false, openChecksum: false } as const;
    return { bytes, ...known, group: (bytes[0] & 1) === 1, input: this.pick(INTERFACES), mark: 0, priority: 0, ctinfo: abi.CT_INVALID };
  }

  private flow(family: 4 | 6) {
    // What tells flows apart follows from their number.
    const id = 1 + this.below(10) + (family === 6 ? 10 : 0);
    const direction = this.pick(["original", "reply"] as const);
    return {
      id,
      direction,
      family,
      protocol: id % 3 ? 6 : 17,
      status: this.pick([8, 10, 14]),
      zone: id % 2 ? 5 : 0,
      mark: this.pick([0, 1, 2]),
    };
  }

  private link(family: 4 | 6): Uint8Array {
    const group = this.chance(0.2)
      ? this.chance(0.5)
        ? [255, 255, 255, 255, 255, 255]
        : [1, 0, 94, 0, 0, 1]
      : [2, 0, 0, 0, 0, this.below(3)];
    return Uint8Array.of(...group, 2, 0, 0, 0, 1, this.below(3), ...(family === 4 ? [8, 0] : [0x86, 0xdd]));
  }

  address4(): number[] {
    return [10, 0, this.below(2), 1 + this.below(4)];
  }

  address6(): number[] {
    return [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, this.below(2), 1 + this.below(3)];
  }

  private network4(protocol: number, later: boolean): Uint8Array {
    const options = this.chance(0.15) ? [148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0] : [];
    const header = Uint8Array.of(
      0x45 + options.length / 4,
      0,
      0,
      60,
      0,
      1,
      later ? 0x20 : 0,
      later ? 5 : 0,
      this.pick([1, 64]),
      protocol,
      0,
      0,
    );
    return Uint8Array.of(...header, ...this.address4(), ...this.address4(), ...options);
  }

  private network6(protocol: number, later: boolean): Uint8Array {
    const extensions: number[] = [];
    let first = protocol;
    if (later) {
      extensions.push(protocol, 0, 0, 8, 0, 0, 0, 1);
      first = 44;
    } else if (this.chance(0.25)) {
      const kind = this.pick([0, 60, 43, 51]);
      extensions.push(protocol, kind === 51 ? 2 : 0, 1, 4, 0, 0, 0, 0, ...(kind === 51 ? [0, 0, 0, 1, 0, 0, 0, 2] : []));
      first = kind;
    }
    return Uint8Array.of(
      0x60,
      this.pick([0, 0x20]),
      0,
      1,
      0,
      40,
      first,
      this.pick([1, 64]),
      ...this.address6(),
      ...this.address6(),
      ...extensions,
    );
  }

  private port(): number[] {
    return this.pick([
      [0, 22],
      [0, 80],
      [1, 187],
      [0x1f, 0x90],
      [0, 53],
    ]);
  }

  private transport(protocol: number): Uint8Array {
    if (protocol === 6) {
      const options = this.pick([
        [],
        [2, 4, 5, 180],
        [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        [2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 1, 1],
        [3, 3, 7, 2, 4, 5, 180, 0],
        [2, 40, 1, 1],
      ]);
      const flags = this.pick([2, 18, 16, 24, 4]);
      const header = [
        ...this.port(),
        ...this.port(),
        0,
        0,
        0,
        this.below(3),
        0,
        0,
        0,
        9,
        (5 + options.length / 4) << 4,
        flags,
        1,
        0,
        ...this.bytes(2),
        0,
        0,
      ];
      return Uint8Array.of(...header, ...options, ...this.bytes(this.below(20)));
    }
    if (protocol === 17)
      return Uint8Array.of(...this.port(), ...this.port(), 0, 20, ...(this.chance(0.2) ? [0, 0] : this.bytes(2)), ...this.bytes(12));
    if (protocol === 132)
      return Uint8Array.of(...this.port(), ...this.port(), ...this.bytes(8), ...this.chunks(), ...this.bytes(this.below(6)));
    if (protocol === 47) return Uint8Array.of(this.pick([0, 0x80, 0xb0]), this.pick([0, 0, 1]), 8, 0, ...this.bytes(20));
    return Uint8Array.of(this.pick([8, 0, 128, 129]), 0, ...this.bytes(18));
  }

  /** Chunks of SCTP, padded to words; the length of some is nothing, or too much. */
  private chunks(): number[] {
    return Array.from({ length: this.below(4) }, () => {
      const length = 4 + this.below(16);
      const said = this.chance(0.1) ? this.pick([0, 3, 400]) : length;
      return [this.pick([0, 1, 3, 192]), this.below(4), 0, said & 255, ...this.bytes(((length + 3) & ~3) - 4)];
    }).flat();
  }

  // ── Rules ───────────────────────────────────────────────────────────────────────────────────────
  /** A register for `length` bytes. */
  private register(length: number): number {
    const words = Math.ceil(length / 4);
    if (words <= 4 && this.chance(0.5)) return 1 + this.below(4);
    return 8 + this.below(17 - words);
  }

  /** Reads something: its length, and a value that it may well have. */
  private read(): { expression: Expression; dreg: number; length: number; value: () => Uint8Array } {
    const of = (expression: (dreg: number) => Expression, length: number, value: () => number[] | Uint8Array) => {
      const dreg = this.register(length);
      return { expression: expression(dreg), dreg, length, value: () => Uint8Array.from(value()) };
    };
    const payload = (base: PayloadBase, offset: number, len: number, value: () => number[] | Uint8Array) =>
      of((dreg) => ({ op: "payload", dreg, base, offset, len }), len, value);
    const meta = (key: MetaKey, length: number, value: () => number[] | Uint8Array) =>
      of((dreg) => ({ op: "meta", dreg, key }), length, value);
    const ct = (key: CtKey, length: number, value: () => number[] | Uint8Array) =>
      of((dreg) => ({ op: "ct", dreg, key, direction: this.pick([undefined, "original", "reply"] as const) }), length, value);
    const name = (text: string) => [...new TextEncoder().encode(text), ...new Array<number>(16 - text.length).fill(0)];
    return this.pick<() => ReturnType<typeof of>>([
      () => payload("network", 12, 4, () => this.address4()),
      () => payload("network", 16, 4, () => this.address4()),
      () => payload("network", 8, 16, () => this.address6()),
      () => payload("network", 24, 16, () => this.address6()),
      () => payload("network", this.below(30), 1 + this.below(8), () => this.bytes(8)),
      () => payload("network", 9, 1, () => [this.pick([1, 6, 17])]),
      () => payload("transport", 0, 2, () => this.port()),
      () => payload("transport", 2, 2, () => this.port()),
      () => payload("transport", 2, 2, () => this.port()),
      () => payload("transport", 0, 4, () => [...this.port(), ...this.port()]),
      () => payload("transport", 13, 1, () => [this.pick([2, 16, 18])]),
      () => payload("transport", this.below(40), 1 + this.below(16), () => this.bytes(16)),
      () => payload("link", 0, 6, () => [2, 0, 0, 0, 0, this.below(3)]),
      () => payload("link", 6, 6, () => [2, 0, 0, 0, 1, this.below(3)]),
      () => payload("link", 12, 2, () => [8, 0]),
      () => payload("inner", this.below(12), 1 + this.below(4), () => this.bytes(4)),
      () => meta("nfproto", 1, () => [this.pick([2, 10])]),
      () => meta("l4proto", 1, () => [this.pick([6, 17, 1])]),
      () =>
        meta("protocol", 2, () =>
          this.pick([
            [8, 0],
            [0x86, 0xdd],
          ]),
        ),
      () => meta("mark", 4, () => [this.below(3), 0, 0, 0]),
      () => meta("priority", 4, () => [this.pick([0, 6]), 0, 0, 0]),
      () => meta("len", 4, () => [this.pick([40, 44, 60]), 0, 0, 0]),
      () => meta("iif", 4, () => [this.pick([0, 2, 3]), 0, 0, 0]),
      () => meta("oif", 4, () => [this.pick([0, 2, 3]), 0, 0, 0]),
      () => meta("iifname", 16, () => name(this.pick(["eth0", "eth1", "lan0", ""]))),
      () => meta("oifname", 16, () => name(this.pick(["eth0", "eth1", "lan0", ""]))),
      () => meta(this.pick(["iiftype", "oiftype"]), 2, () => [1, 0]),
      () => meta(this.pick(["iifgroup", "oifgroup"]), 4, () => [1, 0, 0, 0]),
      () => meta(this.pick(["iifkind", "oifkind"]), 16, () => name(this.pick(["vlan", "bridge"]))),
      () => meta("pkttype", 1, () => [this.below(3)]),
      () => meta(this.pick(["cpu", "sdif", "skuid", "skgid", "cgroup"]), 4, () => [0, 0, 0, 0]),
      () => meta("secpath", 1, () => [0]),
      () => meta("random", 4, () => this.bytes(4)),
      () => meta("time", 8, () => this.bytes(8)),
      () => meta("day", 1, () => [this.below(7)]),
      () => meta("hour", 4, () => [0, this.below(256), 1, 0]),
      () => ct("state", 4, () => [this.pick([1, 2, 4, 8, 64]), 0, 0, 0]),
      () => ct("direction", 1, () => [this.below(2)]),
      () => ct("status", 4, () => [10, 0, 0, 0]),
      () => ct("mark", 4, () => [this.below(3), 0, 0, 0]),
      () => ct(this.pick(["protocol", "l3protocol"]), 1, () => [this.pick([2, 6, 10])]),
      () => ct("zone", 2, () => [5, 0]),
      () => ct("helper", 16, () => name(this.pick(["ftp", "tftp", "sip"]))),
      () => ct(this.pick(["src_ip", "dst_ip"]), 4, () => this.bytes(4)),
      () => ct(this.pick(["src_ip6", "dst_ip6", "label"]), 16, () => this.bytes(16)),
      () => ct(this.pick(["proto_src", "proto_dst"]), 2, () => this.bytes(2)),
      () => ct(this.pick(["packets", "bytes", "avgpkt"]), 8, () => this.bytes(8)),
      () => ct(this.pick(["expiration", "id"]), 4, () => this.bytes(4)),
      () =>
        of(
          (dreg) => ({ op: "exthdr", dreg, header: "tcpopt", type: this.pick([2, 3, 8]), offset: this.below(4), len: 2, present: false }),
          2,
          () => [5, 180],
        ),
      () =>
        of(
          (dreg) => ({ op: "exthdr", dreg, header: "tcpopt", type: this.pick([1, 2, 3, 4]), offset: 0, len: 1, present: true }),
          1,
          () => [this.below(2)],
        ),
      () =>
        of(
          (dreg) => ({
            op: "exthdr",
            dreg,
            header: "ipv6",
            type: this.pick([0, 43, 44, 51, 60]),
            offset: this.below(4),
            len: 2,
            present: false,
          }),
          2,
          () => [1, 4],
        ),
      () =>
        of(
          (dreg) => ({ op: "exthdr", dreg, header: "ipv6", type: this.pick([0, 43, 44, 60]), offset: 0, len: 1, present: true }),
          1,
          () => [this.below(2)],
        ),
      () =>
        of(
          (dreg) => ({
            op: "exthdr",
            dreg,
            header: "sctp",
            type: this.pick([0, 1, 3, 192]),
            offset: 4 * this.below(4),
            len: 2,
            present: false,
          }),
          2,
          () => [0, 1],
        ),
      () =>
        of(
          (dreg) => ({ op: "exthdr", dreg, header: "sctp", type: this.pick([0, 1, 3, 192]), offset: 0, len: 1, present: true }),
          1,
          () => [this.below(2)],
        ),
      () =>
        of(
          (dreg) => ({ op: "exthdr", dreg, header: "ipopt", type: this.pick([7, 148]), offset: 0, len: 1, present: this.chance(0.5) }),
          1,
          () => [1],
        ),
      () =>
        of(
          (dreg) => ({ op: "rt", dreg, key: this.pick(["classid", "ipsec"]) }),
          1,
          () => [0],
        ),
      () =>
        of(
          (dreg) => ({ op: "rt", dreg, key: "tcpmss" }),
          2,
          () => [180, 5],
        ),
      () =>
        of(
          (dreg) => ({ op: "socket", dreg, key: "mark" }),
          4,
          () => [0, 0, 0, 0],
        ),
      () =>
        of(
          (dreg) => ({ op: "fib", dreg, result: "type", flags: this.pick([1, 2]), present: false }),
          4,
          () => [1, 0, 0, 0],
        ),
      () =>
        of(
          (dreg) => ({ op: "fib", dreg, result: "oif", flags: this.pick([1, 9]), present: this.chance(0.5) }),
          1,
          () => [this.below(2)],
        ),
      () =>
        of(
          (dreg) => ({ op: "numgen", dreg, kind: this.pick(["inc", "random"]), modulus: 1 + this.below(4), offset: this.below(2) }),
          4,
          () => [this.below(4), 0, 0, 0],
        ),
      () =>
        of(
          (dreg) => ({ op: "hash", kind: "symhash", dreg, modulus: 1 + this.below(4), offset: 0 }),
          4,
          () => [this.below(4), 0, 0, 0],
        ),
    ])();
  }

  private comparison(sreg: number, length: number, value: () => Uint8Array): Expression {
    const cut = (bytes: Uint8Array, n: number) => {
      const out = new Uint8Array(n);
      out.set(bytes.subarray(0, n));
      return out;
    };
    const n = this.chance(0.9) ? length : 1 + this.below(length);
    if (this.chance(0.2)) {
      const ends = [cut(value(), n), cut(value(), n)].sort((a, b) => Buffer.compare(a, b));
      return { op: "range", sreg, cmp: this.pick(["eq", "neq"]), from: ends[0], to: ends[1] };
    }
    return { op: "cmp", sreg, cmp: this.pick<CompareOp>(["eq", "eq", "eq", "neq", "lt", "lte", "gt", "gte"]), data: cut(value(), n) };
  }

  private transform(sreg: number, length: number): Expression {
    const kind = this.below(4);
    if (kind === 0) return { op: "shift", sreg, dreg: sreg, len: length, left: this.chance(0.5), bits: this.below(9) };
    if (kind === 1)
      return {
        op: "byteorder",
        sreg,
        dreg: sreg,
        to: "hton",
        len: length,
        size: length % 8 === 0 ? 8 : length % 4 === 0 ? this.pick([2, 4]) : 2,
      };
    const xor = this.chance(0.3) ? this.bytes(length) : new Uint8Array(length);
    return { op: "bitwise", sreg, dreg: sreg, len: length, mask: this.bytes(length).map((byte) => byte | 0x0f), xor };
  }

  /** Something to match on. */
  match(): Expression[] {
    if (this.chance(0.25)) return this.lookup();
    const { expression, dreg, length, value } = this.read();
    const between = this.chance(0.2) && (length % 2 === 0 || length === 1) ? [this.transform(dreg, length)] : [];
    const safe = between.filter((e) => e.op !== "byteorder" || length % e.size === 0);
    return [expression, ...safe, this.comparison(dreg, length, value)];
  }

  private key4(): Expression {
    return { op: "payload", dreg: 1, base: "network", offset: this.pick([12, 16]), len: 4 };
  }

  private lookup(): Expression[] {
    const invert = this.chance(0.2);
    return this.pick<() => Expression[]>([
      () => [this.key4(), { op: "lookup", sreg: 1, set: "addresses", invert }],
      () => [this.key4(), { op: "lookup", sreg: 1, set: "ranges", invert }],
      () => [this.key4(), { op: "lookup", sreg: 1, set: "seen", invert }],
      () => [
        { op: "payload", dreg: 1, base: "network", offset: 8, len: 16 },
        { op: "lookup", sreg: 1, set: "ranges6", invert },
      ],
      () => [
        { op: "payload", dreg: 1, base: "transport", offset: 2, len: 2 },
        { op: "lookup", sreg: 1, set: "ports", dreg: 2, invert: false },
        this.comparison(2, 4, () => Uint8Array.of(this.below(3), 0, 0, 0)),
      ],
      () => [
        this.key4(),
        { op: "payload", dreg: 9, base: "transport", offset: 2, len: 2 },
        { op: "lookup", sreg: 1, set: "pairs", invert },
      ],
      () => [
        this.key4(),
        { op: "payload", dreg: 9, base: "transport", offset: 2, len: 2 },
        { op: "lookup", sreg: 1, set: "boxes", invert },
      ],
      () => [
        { op: "payload", dreg: 1, base: "transport", offset: 2, len: 2 },
        { op: "lookup", sreg: 1, set: "verdicts", dreg: 0, invert: false },
      ],
      () => [this.key4(), { op: "objref-map", sreg: 1, set: "counters" }],
    ])();
  }

  verdict(chains: readonly string[]): Verdict {
    const code = this.pick(["accept", "drop", "drop", "continue", "return", "jump", "goto", "queue", "break"] as const);
    if ((code === "jump" || code === "goto") && chains.length > 0) return { code, chain: this.pick(chains) };
    if (code === "queue") return { code, queue: this.below(5) };
    return { code: code === "jump" || code === "goto" ? "accept" : code };
  }

  /** Something to do. */
  private statement(chains: readonly string[]): Expression[] {
    const load = (dreg: number, bytes: number[]): Expression => ({ op: "immediate", dreg, data: Uint8Array.from(bytes) });
    return this.pick<() => Expression[]>([
      () => [{ op: "counter", packets: this.below(3), bytes: 0 }],
      () => [{ op: "counter", packets: 0, bytes: 0 }],
      () => [
        { op: "limit", rate: 1 + this.below(5), per: this.pick([1, 60]), burst: this.below(4), unit: "packets", over: this.chance(0.3) },
      ],
      () => [{ op: "limit", rate: 100 + this.below(1000), per: 1, burst: this.below(400), unit: "bytes", over: this.chance(0.3) }],
      () => [{ op: "quota", bytes: this.below(500), used: 0, over: this.chance(0.5) }],
      () => [{ op: "connlimit", count: this.below(4), over: this.chance(0.5) }],
      () => [{ op: "last" }],
      () => [load(1, [this.below(4), 0, 0, 0]), { op: "meta-set", sreg: 1, key: this.pick(["mark", "priority"]) }],
      () => [load(1, [this.below(4), 0, 0, 0]), { op: "ct-set", sreg: 1, key: "mark" }],
      () => [load(1, [this.below(4), 0, 0, 0]), { op: "ct-set", sreg: 1, key: this.pick(["zone", "event"]) }],
      () => [{ op: "notrack" }],
      () => [{ op: "log", prefix: "x" }],
      () => [
        load(1, this.address4()),
        {
          op: "payload-write",
          sreg: 1,
          base: "network",
          offset: this.pick([12, 16]),
          len: 4,
          csum: { kind: "inet", offset: 10, pseudo: true },
        },
      ],
      () => [
        load(1, this.address6()),
        { op: "payload-write", sreg: 1, base: "network", offset: 24, len: 16, csum: { kind: "none", offset: 0, pseudo: true } },
      ],
      () => [
        load(1, this.port()),
        {
          op: "payload-write",
          sreg: 1,
          base: "transport",
          offset: 2,
          len: 2,
          csum: { kind: "inet", offset: this.pick([16, 6]), pseudo: false },
        },
      ],
      () => [load(1, [5, this.below(256)]), { op: "exthdr-write", sreg: 1, type: 2, offset: 2, len: 2 }],
      () => [load(1, [0, 0, 0, 9]), { op: "exthdr-write", sreg: 1, type: 8, offset: this.pick([2, 6]), len: 4 }],
      () => [{ op: "exthdr-reset", type: this.pick([2, 3, 4, 8]) }],
      () => [{ op: "objref", type: this.pick(["counter", "quota", "limit"]), name: "o" }],
      () => [{ op: "objref", type: "ct helper", name: "o" }],
      () => [
        this.key4(),
        {
          op: "dynset",
          action: this.pick(["add", "update", "update", "delete"]),
          set: "seen",
          key: 1,
          timeoutMs: this.pick([undefined, 5000]),
          invert: this.chance(0.1),
          expressions: [],
        },
      ],
      () => [
        this.key4(),
        { op: "payload", dreg: 2, base: "transport", offset: 2, len: 2 },
        { op: "dynset", action: "update", set: "learned", key: 1, data: 2, invert: false, expressions: [] },
      ],
      () => [
        this.key4(),
        { op: "hash", kind: "jhash", dreg: 2, sreg: 1, len: 4, seed: this.below(9), modulus: 8, offset: 1 },
        { op: "meta-set", sreg: 2, key: "mark" },
      ],
      () => [{ op: "verdict", verdict: this.verdict(chains) }],
      () => [{ op: "verdict", verdict: this.verdict(chains) }],
      () => [{ op: "reject", type: this.pick(["icmp-unreach", "tcp-rst", "icmpx-unreach"]), code: this.below(4) }],
      () => [{ op: "queue", from: this.below(9), total: 1 + this.below(3), flags: this.below(4) }],
      () => [
        load(1, this.address4()),
        load(2, this.port()),
        { op: "nat", kind: this.pick(["snat", "dnat"]), family: 4, addrMin: 1, protoMin: 2, flags: this.pick([0, 4]) },
      ],
      () => [load(1, this.address6()), { op: "nat", kind: "snat", family: 6, addrMin: 1, addrMax: 1, flags: 0 }],
      () => [load(1, this.port()), { op: this.pick(["masq", "redir"] as const), protoMin: 1, flags: 0 }],
      () => [{ op: "synproxy", mss: 1460, wscale: 7, flags: 0 }],
      () => [load(1, [this.pick([2, 9, 77]), 0, 0, 0]), { op: "fwd", device: 1 }],
      () => [load(1, [this.pick([2, 9, 77]), 0, 0, 0]), { op: "dup", device: 1 }],
    ])();
  }

  /** What many rules of one chain begin with, so that neighbours have something in common. */
  private usual(): Expression[] {
    const equal = (sreg: number, data: number[]): Expression => ({ op: "cmp", sreg, cmp: "eq", data: Uint8Array.from(data) });
    const out: Expression[] = [];
    if (this.chance(0.7)) out.push({ op: "meta", dreg: 1, key: "l4proto" }, equal(1, [this.pick([6, 6, 17])]));
    const last = this.below(4);
    if (last === 0) out.push({ op: "payload", dreg: 1, base: "transport", offset: 2, len: 2 }, equal(1, this.port()));
    if (last === 1) out.push({ op: "payload", dreg: 9, base: "network", offset: 16, len: 4 }, equal(9, this.address4()));
    if (last === 2) out.push({ op: "payload", dreg: 1, base: "network", offset: 24, len: 16 }, equal(1, this.address6()));
    return out;
  }

  private isRegular = false;

  rule(chains: readonly string[]): Expression[] {
    const out: Expression[] = this.isRegular && this.chance(0.9) ? this.usual() : [];
    for (let n = this.below(3); n > 0; n--) out.push(...this.match());
    for (let n = 1 + this.below(2); n > 0; n--) out.push(...this.statement(chains));
    if (this.chance(0.1)) out.push(...this.match(), { op: "counter", packets: 0, bytes: 0 });
    return out;
  }

  // ── Rulesets ────────────────────────────────────────────────────────────────────────────────────
  private sets(chains: readonly string[]): SetSpec[] {
    const range4 = (from: number, to: number) => ({ key: Uint8Array.of(10, 0, 0, from), keyEnd: Uint8Array.of(10, 0, to > 3 ? 1 : 0, to) });
    const counter: Expression = { op: "counter", packets: 0, bytes: 0 };
    const pair = () => Uint8Array.of(...this.address4(), ...this.port(), 0, 0);
    const box = () => {
      const a = this.pick([
        [10, 0, 0, 1],
        [10, 0, 0, 3],
        [10, 0, 1, 0],
      ]);
      const b = this.pick([
        [10, 0, 1, 2],
        [10, 0, 1, 255],
      ]);
      const ports = [0, this.below(60), 0, 0];
      return { key: Uint8Array.of(...a, ...ports), keyEnd: Uint8Array.of(...b, this.pick([0, 1, 255]), 80, 0, 0) };
    };
    const unique = <T extends { key: Uint8Array }>(list: T[]): T[] => [
      ...new Map(list.map((e) => [Buffer.from(e.key).toString("hex"), e])).values(),
    ];
    const many = <T>(n: number, make: () => T): T[] => Array.from({ length: n }, make);
    const catchall = <T extends object>(value: T) => (this.chance(0.2) ? [{ key: new Uint8Array(0), catchall: true, ...value }] : []);
    return [
      setOf("addresses", {
        elements: [...unique(many(3, () => ({ key: Uint8Array.from(this.address4()) }))), ...catchall({})],
        expressions: this.chance(0.5) ? [counter] : undefined,
      }),
      setOf("ranges", {
        interval: true,
        elements: [range4(1, 1), range4(2, 3), { key: Uint8Array.of(10, 0, 1, 2), keyEnd: Uint8Array.of(10, 0, 1, 2) }].slice(
          this.below(3),
        ),
      }),
      setOf("ranges6", {
        keyLength: 16,
        interval: true,
        elements: [
          { key: Uint8Array.from(this.address6()), keyEnd: Uint8Array.of(0x20, 1, 0xd, 0xb8, ...new Array<number>(10).fill(0), 1, 2) },
        ],
      }),
      setOf("seen", {
        dynamic: true,
        timeouts: true,
        timeoutMs: this.pick([undefined, 2000]),
        size: this.pick([2, 100]),
        elements: [],
        expressions: this.chance(0.5) ? [{ op: "limit", rate: 2, per: 1, burst: 2, unit: "packets", over: false }] : undefined,
      }),
      setOf("learned", { dynamic: true, size: 100, map: { kind: "data", length: 2 } }),
      setOf("ports", {
        keyLength: 2,
        map: { kind: "data", length: 4 },
        elements: unique(many(3, () => ({ key: Uint8Array.from(this.port()), data: Uint8Array.of(this.below(3), 0, 0, 0) }))),
      }),
      setOf("pairs", { keyLength: 8, fields: [4, 2], elements: unique(many(4, () => ({ key: pair() }))) }),
      setOf("boxes", { keyLength: 8, fields: [4, 2], interval: true, elements: unique(many(4, box)) }),
      setOf("verdicts", {
        keyLength: 2,
        map: { kind: "verdict" },
        elements: [
          ...unique(many(4, () => ({ key: Uint8Array.from(this.port()), verdict: this.verdict(chains) }))),
          ...catchall({ verdict: this.verdict(chains) }),
        ],
      }),
      setOf("counters", {
        map: { kind: "object", type: "counter" },
        elements: unique(many(3, () => ({ key: Uint8Array.from(this.address4()), object: "o" }))),
      }),
    ];
  }

  /** Chains only jump to those behind them, so that none jumps in a circle. */
  ruleset(): RulesetSpec {
    this.isRegular = this.chance(0.4);
    const names = ["x", "y", "z"].slice(this.below(3));
    const rules = (chains: readonly string[], most: number) => Array.from({ length: 1 + this.below(most) }, () => this.rule(chains));
    const regular = names.map((name, i) => ({ ...chainOf(rules(names.slice(i + 1), 3)), name, base: undefined }));
    // Verdict maps are asked by every chain, so that only chains which ask none may be their targets.
    const leaf = {
      ...chainOf([
        [{ op: "counter", packets: 0, bytes: 0 }],
        [{ op: "verdict", verdict: { code: "return" } }],
        [{ op: "verdict", verdict: { code: "drop" } }],
      ]),
      name: "leaf",
      base: undefined,
    };
    const base = [
      chainOf(rules(names, this.chance(0.1) ? 150 : this.isRegular ? 30 : 8), { name: "a", policy: this.pick(["accept", "drop"]) }),
      chainOf(rules(names, 3), { name: "b", priority: 5 }),
    ];
    const objects = [
      { name: "o", object: { type: "counter", packets: 5, bytes: 0 } as const },
      { name: "o", object: { type: "quota", bytes: 300, used: 0, over: this.chance(0.5) } as const },
      { name: "o", object: { type: "limit", rate: 3, per: 1, burst: 2, unit: "packets", over: false } as const },
      { name: "o", object: { type: "ct helper", helper: "ftp", protocol: 6 } as const },
    ];
    const family = this.pick(["inet", "ip", "ip6", "inet", "netdev"] as const);
    const atDevice = family === "netdev" || (family === "inet" && this.chance(0.2));
    const bound = base.map((chain) => ({
      ...chain,
      base: { ...chain.base, hook: "ingress" as const, devices: ["eth0", this.pick(["lan0", "eth1"])] },
    }));
    return {
      tables: [
        {
          family,
          name: "t",
          dormant: false,
          sets: this.sets(["leaf"]),
          objects,
          chains: [...(atDevice ? bound : base), ...regular, leaf],
        },
      ],
    };
  }
}
