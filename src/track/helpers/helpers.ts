/**
 * Helpers of connection tracking: they read what some protocols say about connections to come, expect those, and write the addresses
 * in it that translation has changed. Packets of flows with a helper come up here one by one and go on from here.
 */
import type { Engine } from "../../engine/engine.ts";
import { helperName } from "../../engine/helper-names.ts";
import { Announcer } from "./announcer.ts";
import { ftpChange, isFtpWhole } from "./ftp.ts";
import { type Opened, open, payloadOf, seal, withPayload } from "./payload.ts";
import { SipHelper } from "./sip-helper.ts";
import { isSipWhole } from "./sip-text.ts";
import { Streams } from "./streams.ts";
import { readTftp } from "./tftp.ts";

const [TCP, UDP] = [6, 17];

export class Helpers {
  private readonly engine: Engine;
  private readonly streams: Streams;
  private readonly announcer: Announcer;
  private readonly sip: SipHelper;

  constructor(engine: Engine) {
    this.engine = engine;
    this.streams = new Streams(engine);
    this.announcer = new Announcer(engine);
    this.sip = new SipHelper(this.announcer);
  }

  /** Announcements read, and of those the ones that found no place or no port. */
  get counters(): Readonly<Announcer["counters"]> {
    return this.announcer.counters;
  }

  /** A packet of a flow with a helper, from its IP header on; what is to be sent in its place. */
  receive(ref: number, packet: Uint8Array): Uint8Array {
    const opened = open(packet);
    const [flow, direction] = [ref >>> 1, ref & 1];
    const number = this.engine.plane.flowHelper(flow);
    const helper = helperName(number);
    if (!opened || !helper) return packet;
    const ends = this.announcer.ends(flow, direction);
    const isTcp = opened.protocol === TCP;
    if (helper === "ftp" && isTcp) {
      return this.streams.receive(ends, direction, opened, (payload) => ftpChange(payload, ends, direction, this.announcer), isFtpWhole);
    }
    if (helper === "sip") {
      const change = (payload: Uint8Array) => this.sip.change(payload, ends, number);
      return isTcp ? this.streams.receive(ends, direction, opened, change, isSipWhole) : datagram(opened, change);
    }
    if (helper === "tftp" && opened.protocol === UDP && direction === 0) readTftp(payloadOf(opened), ends, this.announcer);
    return packet;
  }
}

function datagram(opened: Opened, change: (payload: Uint8Array) => Uint8Array | undefined): Uint8Array {
  const payload = change(payloadOf(opened));
  return payload ? seal(withPayload(opened, payload)) : opened.packet;
}
