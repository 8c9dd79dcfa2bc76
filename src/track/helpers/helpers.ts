/**
 * Helpers of connection tracking: they read what some protocols say about connections to come, expect those, and write the addresses
 * in it that translation has changed. Packets of flows with a helper come up here one by one and go on from here.
 */
import * as abi from "../../../assembly/abi.ts";
import type { IpAddress } from "../../base/ip-address.ts";
import type { Engine } from "../../engine/engine.ts";
import { readTuple, type Tuple } from "../flow.ts";
import { expectFlow } from "./expectation.ts";
import { type Announced, announcedIn } from "./ftp.ts";
import { acknowledgementOf, type Opened, open, payloadOf, seal, sequenceOf, shift, withPayload } from "./payload.ts";

/** Helpers there are, as `ct helper` objects name them. */
export type HelperName = "ftp" | "tftp";
/** How long what was announced may take to come (the kernel's: five minutes). */
const EXPECT_MS = 300_000;
const TRIES = 64;
const [TCP, UDP] = [6, 17];

/** Bytes that one direction of a flow has gained, from a sequence number on; and before the last change. */
interface Shift {
  from: number;
  before: number;
  after: number;
}

interface Side {
  shift: Shift;
  /** Where the line that is being sent begins: lines in the middle of which we come are not read. */
  next: number | undefined;
}

const decoder = new TextDecoder("latin1");
const encode = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

export class Helpers {
  private readonly engine: Engine;
  private readonly sides = new Map<number, [Side, Side]>();
  /** Announcements read, and of those the ones that found no place or no port. */
  readonly counters = { announced: 0, refused: 0 };

  private readonly nameOf: (number: number) => string | undefined;

  /** `nameOf`: what a flow's number (abi.EXTENSION_HELPER) names. */
  constructor(engine: Engine, nameOf: (number: number) => string | undefined) {
    this.engine = engine;
    this.nameOf = nameOf;
  }

  /** A packet of a flow with a helper, from its IP header on; what is to be sent in its place. */
  receive(ref: number, packet: Uint8Array): Uint8Array {
    const opened = open(packet);
    const flow = ref >>> 1;
    const helper = this.nameOf(this.engine.plane.flowHelper(flow)) as HelperName | undefined;
    if (!opened) return packet;
    if (helper === "tftp" && opened.protocol === UDP) return this.tftp(flow, ref & 1, opened);
    if (helper === "ftp" && opened.protocol === TCP) return this.ftp(flow, ref & 1, opened);
    return packet;
  }

  private tuple(flow: number, direction: number): Tuple & { zone: number } {
    const { memory, plane } = this.engine;
    const at = memory.base(abi.REGION_HOST);
    plane.flowTuple(flow, direction, at);
    return { ...readTuple(memory, at), zone: memory.getU16(at + abi.TUPLE_KIND) };
  }

  /** RFC 1350 §4: the server answers a request from a port of its own choice. */
  private tftp(flow: number, direction: number, opened: Opened): Uint8Array {
    const [, opcode] = payloadOf(opened);
    if (direction !== 0 || (opcode !== 1 && opcode !== 2)) return opened.packet;
    const original = this.tuple(flow, 0);
    const reply = this.tuple(flow, 1);
    const translated = !reply.dst.equals(original.src) || reply.dport !== original.sport;
    this.expect({
      protocol: UDP,
      source: reply.src,
      destination: reply.dst,
      port: reply.dport as number,
      zone: original.zone,
      master: flow,
      timeoutMs: EXPECT_MS,
      ...(translated && { translateTo: { address: original.src, port: original.sport as number } }),
    });
    return opened.packet;
  }

  private expect(wanted: Parameters<typeof expectFlow>[1]): boolean {
    this.counters.announced++;
    const found = expectFlow(this.engine, wanted);
    if (!found) this.counters.refused++;
    return found;
  }

  private ftp(flow: number, direction: number, opened: Opened): Uint8Array {
    const sides = this.sidesOf(flow);
    const mine = sides[direction];
    const sequence = sequenceOf(opened);
    const payload = payloadOf(opened);
    let out = opened;
    let grown = 0;
    if (payload.length > 0 && (mine.next === undefined || mine.next === sequence)) {
      const line = decoder.decode(payload);
      const announced = announcedIn(line, direction === 1);
      const written = announced && this.data(flow, direction, announced);
      if (announced && written !== undefined) {
        out = withPayload(opened, encode(line.slice(0, announced.from) + written + line.slice(announced.to)));
        grown = out.packet.length - opened.packet.length;
      }
    }
    if (payload.length > 0) mine.next = line(payload) ? (sequence + payload.length) >>> 0 : undefined;
    this.adjust(sides, direction, out, sequence, acknowledgementOf(opened));
    if (grown !== 0) {
      this.engine.plane.flowLiberal(flow);
      mine.shift = { from: (sequence + 1) >>> 0, before: mine.shift.after, after: mine.shift.after + grown };
    }
    return seal(out);
  }

  private sidesOf(flow: number): [Side, Side] {
    let sides = this.sides.get(flow);
    if (!sides) {
      const side = (): Side => ({ shift: { from: 0, before: 0, after: 0 }, next: undefined });
      sides = [side(), side()];
      this.sides.set(flow, sides);
      // Flows that are gone go from here too, a few with each that comes.
      for (const each of this.sides.keys()) {
        if (each === flow || this.engine.plane.flowHelper(each) !== 0) break;
        this.sides.delete(each);
      }
    }
    return sides;
  }

  /** A sender's numbers move by what it gained, the acknowledgements of the other side move back. */
  private adjust(sides: [Side, Side], direction: number, out: Opened, sequence: number, acknowledgement: number): void {
    const [mine, other] = [sides[direction].shift, sides[1 - direction].shift];
    const gained = ((sequence - mine.from) | 0) >= 0 ? mine.after : mine.before;
    const back = ((acknowledgement - other.after - other.from) | 0) >= 0 ? other.after : other.before;
    if (gained !== 0 || back !== 0) shift(out, gained, -back);
  }

  /** Expects the connection; what the line has to say instead, or undefined when it says the right thing already. */
  private data(flow: number, direction: number, announced: Announced): string | undefined {
    const original = this.tuple(flow, 0);
    const reply = this.tuple(flow, 1);
    const [mine, theirs] = direction === 0 ? [original, reply] : [reply, original];
    const inside = announced.address ?? mine.src;
    // Nobody may announce somebody else's address (FTP bounce, RFC 2577 §3).
    if (!inside.equals(mine.src)) return undefined;
    const outside: IpAddress = theirs.dst;
    const common = { protocol: TCP, source: theirs.src, destination: outside, zone: original.zone, master: flow, timeoutMs: EXPECT_MS };
    if (outside.equals(inside)) {
      this.expect({ ...common, port: announced.port });
      return undefined;
    }
    const port = this.freePort(outside, announced.port, theirs.src, original.zone);
    if (port === undefined || !this.expect({ ...common, port, translateTo: { address: inside, port: announced.port } })) return undefined;
    return announced.write(outside, port);
  }

  /** The port that was announced if nobody talks there, else the next that is free. */
  private freePort(address: IpAddress, wanted: number, from: IpAddress, zone: number): number | undefined {
    const { memory, plane } = this.engine;
    const at = memory.base(abi.REGION_HOST);
    const is4 = address.family === 4;
    for (let i = 0; i < TRIES; i++) {
      const port = 1024 + ((wanted - 1024 + i + 64_512) % 64_512);
      memory.u8.fill(0, at, at + abi.TUPLE_SIZE);
      memory.u8.set(from.bytes(), at);
      memory.u8.set(address.bytes(), at + (is4 ? 4 : 16));
      memory.u8[at + abi.TUPLE_PORTS + 2] = port >>> 8;
      memory.u8[at + abi.TUPLE_PORTS + 3] = port;
      memory.setU32(at + abi.TUPLE_KIND, (zone | (TCP << 16) | ((is4 ? 4 : 6) << 24)) >>> 0);
      if (plane.flowFind(at) === 0) return port;
    }
    return undefined;
  }
}

/** Does it end with a line's end? */
function line(payload: Uint8Array): boolean {
  return payload[payload.length - 1] === 10;
}
