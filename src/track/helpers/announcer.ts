/** What a helper knows of the flow in hand, and how it says that another is to come. */
import * as abi from "../../../assembly/abi.ts";
import type { IpAddress } from "../../base/ip-address.ts";
import type { Engine } from "../../engine/engine.ts";
import { networkOfSpace, type Place, readTuple, type Tuple } from "../flow.ts";
import { type Expectation, type Expected, expectFlow } from "./expectation.ts";

/** How long what was announced may take to come (the kernel's: five minutes). */
const EXPECT_MS = 300_000;
/** Ports tried before an announcement finds none. */
const TRIES = 64;

/** Both ends of a flow, as the sender of a packet sees them and as its receiver does. */
export interface Ends {
  readonly flow: number;
  readonly place: Place;
  readonly mine: Tuple;
  readonly theirs: Tuple;
}
/** Something that the sender of a packet listens for. */
export interface Announcement {
  readonly protocol: number;
  readonly port: number;
  /** Ports from this one on, of consecutive numbers, that belong together; the first is even where there are several. Default 1. */
  readonly ports?: number;
  readonly timeoutMs?: number;
  readonly helper?: number;
  readonly permanent?: boolean;
  /** Most that the flow may expect at once. */
  readonly most: number;
}

export class Announcer {
  /** Announcements read, and of those the ones that found no place or no port. */
  readonly counters = { announced: 0, refused: 0 };

  constructor(private readonly engine: Engine) {}

  ends(flow: number, direction: number): Ends {
    const { memory, plane } = this.engine;
    const at = memory.base(abi.REGION_HOST);
    let zone = 0;
    const tuple = (which: number): Tuple => {
      plane.flowTuple(flow, which, at);
      // One of them alone may be in the zone.
      zone |= memory.getU16(at + abi.TUPLE_KIND);
      return readTuple(memory, at);
    };
    const [mine, theirs] = [tuple(direction), tuple(1 - direction)];
    const place = { zone, network: networkOfSpace(memory.u8[at + abi.TUPLE_KIND + 3]) };
    return { flow, place, mine, theirs };
  }

  /** Under which port the other side finds what the sender announced; undefined when there is none. */
  announce({ flow, place, mine, theirs }: Ends, { ports = 1, port, ...wanted }: Announcement): number | undefined {
    this.counters.announced++;
    const outside: IpAddress = theirs.dst;
    const isSame = outside.equals(mine.src);
    const common = { timeoutMs: EXPECT_MS, ...wanted, source: theirs.src, destination: outside, place, master: flow };
    for (let i = 0; i < (isSame ? 1 : TRIES); i++) {
      const first = 1024 + ((port - 1024 + i * ports + 64_512) % 64_512);
      if (first + ports > 65_536) continue;
      const found = this.expectAll(ports, (k) => ({
        ...common,
        port: (isSame ? port : first) + k,
        ...(!isSame && { translateTo: { address: mine.src, port: port + k } }),
      }));
      if (found === "expected") return isSame ? port : first;
      if (found === "no place") break;
    }
    this.counters.refused++;
    return undefined;
  }

  /** All of them or none. */
  private expectAll(ports: number, wanted: (k: number) => Expectation): Expected {
    for (const ask of [true, false])
      for (let k = 0; k < ports; k++) {
        const found = expectFlow(this.engine, wanted(k), ask);
        if (found !== "expected") return found;
      }
    return "expected";
  }

  expect(wanted: Expectation): Expected {
    return expectFlow(this.engine, wanted);
  }

  /** The flow outlives silence of so long. */
  prolong(flow: number, timeoutMs: number): void {
    this.engine.plane.flowProlong(flow, this.engine.clock.now() >>> 0, timeoutMs);
  }
}
