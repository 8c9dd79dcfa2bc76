/** MSG_ERRQUEUE: errors about what was sent, its times (SO_TIMESTAMPING), and completions of MSG_ZEROCOPY, as struct sock_extended_err (ip(7), msg_zerocopy). */

import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { SocketError } from "../datagram/datagram.ts";
import * as c from "./constants.ts";
import { EAGAIN, ENOMSG, errnoOf } from "./errno.ts";
import { type ControlMessage, type Message, scatter } from "./message.ts";
import { encodeName, nameOf, type SocketName } from "./names.ts";

interface Entry {
  errno: number;
  origin: number;
  type: number;
  code: number;
  info: number;
  data: number;
  payload: Uint8Array;
  offender: IpAddress;
  name: SocketName | undefined;
  /** A control message in front of the error's. */
  stamp?: ControlMessage;
}

/** Entries that wait at most, as far as SO_RCVBUF's default takes them in Linux; later ones are lost. */
const MOST = 160;
const ORIGINS = { local: c.SO_EE_ORIGIN_LOCAL, icmp: c.SO_EE_ORIGIN_ICMP, icmp6: c.SO_EE_ORIGIN_ICMP6 } as const;
const NOTHING = new Uint8Array(0);
const NOBODY = IpAddress.v4(0);

export class ErrorQueue {
  private readonly entries: Entry[] = [];
  /** Number of the next send with MSG_ZEROCOPY. */
  private sends = 0;

  get isEmpty(): boolean {
    return this.entries.length === 0;
  }

  /** One more send is complete; neighbours in number share an entry: info is the first of them, data the last. */
  noteZeroCopy(): void {
    const id = this.sends++;
    const last = this.entries[this.entries.length - 1];
    if (last?.origin === c.SO_EE_ORIGIN_ZEROCOPY && last.data === id - 1) {
      last.data = id;
      return;
    }
    if (this.entries.length >= MOST) return;
    const common = { errno: 0, type: 0, payload: NOTHING, offender: NOBODY, name: undefined };
    this.entries.push({ ...common, origin: c.SO_EE_ORIGIN_ZEROCOPY, code: c.SO_EE_CODE_ZEROCOPY_COPIED, info: id, data: id });
  }

  /** SCM_TSTAMP_SCHED, _SND or _ACK of what was sent: with its number, its time if that is wanted, and its bytes. */
  noteTimestamp(what: number, id: number, payload: Uint8Array, stamp: ControlMessage | undefined): void {
    if (this.entries.length >= MOST) return;
    const common = { errno: ENOMSG, type: 0, code: 0, offender: NOBODY, name: undefined };
    this.entries.push({ ...common, origin: c.SO_EE_ORIGIN_TIMESTAMPING, info: what, data: id, payload, stamp });
  }

  note(error: SocketError, domain: number): void {
    if (this.entries.length >= MOST) return;
    this.entries.push({
      errno: errnoOf(new LoomError(error.code, "")),
      origin: ORIGINS[error.origin],
      type: error.type,
      code: error.icmpCode,
      info: error.info,
      data: 0,
      payload: error.data,
      offender: error.offender,
      name: nameOf(error.address, error.port, domain),
    });
  }

  /** The oldest entry: what is left of the datagram, its destination, and the error as a control message. */
  read(message: Message, domain: number): number {
    const entry = this.entries.shift();
    if (!entry) return -EAGAIN;
    const n = scatter(entry.payload, message.iov);
    message.flags = c.MSG_ERRQUEUE | (n < entry.payload.length ? c.MSG_TRUNC : 0);
    message.name = entry.name;
    if (entry.stamp) message.control?.push(entry.stamp);
    const is4 = domain === c.AF_INET;
    message.control?.push({
      level: is4 ? c.IPPROTO_IP : c.IPPROTO_IPV6,
      type: is4 ? c.IP_RECVERR : c.IPV6_RECVERR,
      data: encode(entry, domain),
    });
    return n;
  }
}

function encode(entry: Entry, domain: number): Uint8Array {
  const offender = encodeName(nameOf(entry.offender, 0, domain));
  const out = new Uint8Array(16 + offender.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, entry.errno, true);
  out.set([entry.origin, entry.type, entry.code], 4);
  view.setUint32(8, entry.info, true);
  view.setUint32(12, entry.data, true);
  const isKnown = entry.origin === c.SO_EE_ORIGIN_ICMP || entry.origin === c.SO_EE_ORIGIN_ICMP6;
  if (isKnown) out.set(offender, 16);
  return out;
}
