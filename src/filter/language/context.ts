/**
 * What is known about a packet at a point of a rule: its headers so far. A field of a header that nobody has asked for yet brings the
 * test for that header with it (nft calls these dependencies).
 */
import type { Family, PayloadBase } from "../expressions.ts";
import { ones } from "./constants.ts";
import { Fault } from "./faults.ts";
import { META } from "./keys.ts";
import type { Constant, Selector, Statement } from "./model.ts";
import { ARP, ETHER, type Field, IP, IP6, networkOf, PROTOCOLS, type Protocol, TAGS, TH, transportOf, VLAN } from "./protocols.ts";
import { typeOf } from "./types.ts";
import type { Span } from "./vocabulary.ts";

const TAG_BITS = 32;

export function metaSelector(key: string): Selector {
  const { type, bits, order } = META[key];
  return { k: "meta", key, type: typeOf(type), bits, order };
}
export function fieldSelector(protocol: Protocol, field: Field): Selector & { k: "payload" } {
  const { type, offset, bits } = field;
  return { k: "payload", protocol, field, base: protocol.base, offset, type: typeOf(type), bits, order: "big" };
}
export function constantFor(selector: Selector, from: bigint): Constant {
  return { k: "constant", form: "value", from, to: from, type: selector.type, bits: selector.bits, order: selector.order };
}

export class HeaderContext {
  private readonly known: { link?: Protocol; network?: Protocol; transport?: Protocol } = {};
  /** Some transport was asked for, if not one alone: ports mean something. */
  transportKnown = false;
  private messages?: readonly number[];
  /** The transport of the connection was asked for, in a table whose network layer is settled: its ports mean something. */
  tracked = false;
  /** The protocols of which the packet's is one, where a rule has asked for several. */
  private protocols?: readonly number[];
  /** The transport that bytes by number tell of: they have its names, and no more follows from it. */
  presumed?: Protocol;
  /** What the Ethernet header says comes next, where a rule has asked. */
  private typed = false;
  /** VLAN tags that are known to lie before the one whose fields are read. */
  private tags = 0;

  constructor(
    readonly family: Family,
    private readonly emit: (statement: Statement) => void,
    private readonly emitSet: (selector: Selector, values: readonly bigint[]) => void,
  ) {
    if (family === "ip") this.known.network = IP;
    else if (family === "ip6") this.known.network = IP6;
    else if (family === "arp") this.known.network = ARP;
    else if (family === "bridge") this.known.link = ETHER;
  }

  get network(): Protocol | undefined {
    return this.known.network;
  }
  get link(): Protocol | undefined {
    return this.known.link;
  }
  get transport(): Protocol | undefined {
    return this.known.transport;
  }

  /** A field where it lies in this packet: those of a tag behind other tags. */
  field(protocol: Protocol, field: Field): Selector & { k: "payload" } {
    const selector = fieldSelector(protocol, field);
    return protocol === VLAN && this.tags > 0 ? { ...selector, offset: selector.offset + TAG_BITS * this.tags } : selector;
  }
  private require(selector: Selector, value: bigint): void {
    this.emit({ k: "match", op: "==", l: selector, r: constantFor(selector, value), implied: true });
  }

  /** Puts the tests that `protocol` needs in front of what uses it. */
  need(protocol: Protocol, at: Span): void {
    if (protocol.base === "link") this.needLink(protocol, at);
    else if (protocol.base === "network") this.needNetwork(protocol, at);
    else this.needTransport(protocol, at);
  }
  private needLink(protocol: Protocol, at: Span): void {
    if (!this.known.link) {
      this.require(metaSelector("iiftype"), 1n);
      this.known.link = ETHER;
    }
    if (protocol !== VLAN || this.known.link === VLAN) return;
    if (this.typed) throw new Fault(at, "conflicting protocols specified: ether vs. vlan");
    this.require(fieldSelector(ETHER, ETHER.fields.get("type") as Field), BigInt(VLAN.number));
    this.known.link = VLAN;
  }
  private needNetwork(protocol: Protocol, at: Span, viaLink = false): void {
    const { network, link } = this.known;
    if (network === protocol) return;
    if (network) throw new Fault(at, `conflicting protocols specified: ${network.name} vs. ${protocol.name}`);
    const number = BigInt(protocol.number);
    if (this.family === "inet" && !link) {
      if (protocol === ARP) throw new Fault(at, "conflicting protocols specified: inet vs. arp");
      this.require(metaSelector("nfproto"), protocol === IP ? 2n : 10n);
    } else if (!link || (link === ETHER && this.family === "bridge" && protocol !== ARP && !viaLink))
      this.require(metaSelector("protocol"), number);
    else this.require(this.field(link, link.fields.get("type") as Field), number);
    this.known.network = protocol;
  }
  private needTransport(protocol: Protocol, at: Span): void {
    const { transport } = this.known;
    if (protocol === TH || transport === protocol) return;
    if (transport) throw new Fault(at, `conflicting protocols specified: ${transport.name} vs. ${protocol.name}`);
    if (!this.known.network && this.family !== "arp") {
      if (protocol.name === "icmp" || protocol.name === "igmp") this.needNetwork(IP, at, true);
      else if (protocol.name === "icmpv6") this.needNetwork(IP6, at, true);
    }
    this.require(metaSelector("l4proto"), BigInt(protocol.number));
    this.known.transport = protocol;
    this.transportKnown = true;
  }
  needName(name: string, at: Span): void {
    this.need(PROTOCOLS.get(name) as Protocol, at);
  }
  /** Extension headers are those of IPv6. */
  needIpv6(at: Span): void {
    this.needNetwork(IP6, at);
  }
  needIp(at: Span, viaLink = false): void {
    this.needNetwork(IP, at, viaLink);
  }
  /** Some fields exist in some messages of ICMP only. */
  needMessage(protocol: Protocol, field: Field): void {
    const { icmp } = field;
    if (!icmp || this.messages?.every((type) => icmp.includes(type))) return;
    const selector = fieldSelector(protocol, protocol.fields.get("type") as Field);
    if (icmp.length === 1) this.require(selector, BigInt(icmp[0]));
    else this.emitSet(selector, icmp.map(BigInt));
    this.messages = icmp;
  }

  /** What a comparison with one value tells about the headers; of bytes by number (`@nh,72,8`) nft draws no conclusions. */
  learn(selector: Selector, value: bigint): void {
    const number = Number(value & ones(32));
    const { known } = this;
    if (selector.k === "ct") this.tracked ||= selector.name === "protocol" && (this.family === "ip" || this.family === "ip6");
    else if (selector.k === "meta") {
      if (selector.key === "l4proto") this.learnTransport(number);
      else if (selector.key === "nfproto") known.network ??= number === 2 ? IP : number === 10 ? IP6 : undefined;
      else if (selector.key === "protocol" && this.family !== "inet")
        known.network ??= networkOf(number)?.base === "network" ? networkOf(number) : undefined;
      else if (selector.key === "iiftype" && number === 1) known.link ??= ETHER;
    } else if (selector.k === "payload" && selector.field && selector.protocol) {
      const { protocol, field } = selector;
      if (selector.raw) {
        if (field.name === protocol.next && protocol.base === "network") this.presumed = transportOf(number);
      } else if (field.name === protocol.next) {
        if (protocol.base === "network") this.learnTransport(number);
        else if (TAGS.has(number)) this.learnTag();
        else {
          this.typed ||= protocol === ETHER;
          this.known.network ??= networkOf(number);
        }
      } else if (field.name === "type" && protocol.name.startsWith("icmp")) this.messages = [number];
    }
  }
  private learnTransport(number: number): void {
    this.transportKnown = true;
    this.protocols = undefined;
    this.known.transport ??= transportOf(number);
  }
  /** What follows are the fields of a tag: of the first, or of the one behind that whose type has just been compared. */
  private learnTag(): void {
    if (this.known.link === VLAN) this.tags++;
    this.known.link = VLAN;
  }
  /** Sets of protocols: no single header is known, but that there are ports may be meant. */
  learnSome(selector: Selector, values: readonly bigint[] = []): void {
    if (selector.k === "payload" && selector.raw) return;
    if (selector.k === "payload" && selector.field?.name === "type" && selector.protocol?.name.startsWith("icmp"))
      this.messages = values.map(Number);
    if (
      (selector.k === "meta" && selector.key === "l4proto") ||
      (selector.k === "payload" && selector.field?.name === selector.protocol?.next)
    ) {
      this.transportKnown = true;
      if (values.length > 0) this.protocols = values.map(Number);
    }
  }
  /** Whether what the rule has asked so far leaves that transport alone, or no transport at all. */
  isOpenTo(name: string): boolean {
    const { number } = PROTOCOLS.get(name) as Protocol;
    return this.protocols?.every((each) => each === number) ?? true;
  }
}

export const baseOf: Readonly<Record<"ll" | "nh" | "th" | "ih", PayloadBase>> = { ll: "link", nh: "network", th: "transport", ih: "inner" };
