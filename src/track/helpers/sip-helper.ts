/**
 * SIP (RFC 3261) through tracking and translation, as nf_conntrack_sip and nf_nat_sip have it: media that session descriptions announce
 * are expected from the other end of the signalling, calls to a registered contact from its registrar; addresses are written as the
 * receiver may use them.
 */
import type { IpAddress } from "../../base/ip-address.ts";
import type { Announcer, Ends } from "./announcer.ts";
import { decodeText, encodeText } from "./payload.ts";
import {
  contactOf,
  type Endpoint,
  expiresOf,
  header,
  type MapEnd,
  mapEnds,
  mapSession,
  methodOf,
  parseSip,
  SIP_PORT,
  type SipMessage,
  sipText,
  statusOf,
  withBody,
} from "./sip-text.ts";

const UDP = 17;
/** The kernel's `sip_timeout`: signalling may be silent for an hour. */
const SIGNALLING_MS = 3_600_000;
/** Media have to begin so soon (`SIP_EXPECT_AUDIO`). */
const MEDIA_MS = 180_000;
/** Of one flow: a proxy's carries the calls of many. */
const MOST_EXPECTED = 32;
/** Registrations that wait for their answer, of all flows. */
const MOST_PENDING = 1024;

interface Pending {
  readonly ends: Ends;
  readonly contact: Endpoint;
  readonly expires: number | undefined;
}

export class SipHelper {
  /** By call and number in it. */
  private readonly pending = new Map<string, Pending>();

  constructor(private readonly announcer: Announcer) {}

  /** The message to be sent instead, or undefined for the same one. `helper`: number of the flows to come. */
  change(payload: Uint8Array, ends: Ends, helper: number): Uint8Array | undefined {
    const text = decodeText(payload);
    const message = parseSip(text);
    if (!message) return undefined;
    this.announcer.prolong(ends.flow, SIGNALLING_MS);
    if (methodOf(message) === "REGISTER") this.remember(message, ends);
    else if (statusOf(message) >= 200) this.register(message, helper);
    const changed = sipText(this.session(mapEnds(message, mapOf(ends)), ends));
    return changed === text ? undefined : encodeText(changed);
  }

  private session(message: SipMessage, ends: Ends): SipMessage {
    if (!/^application\/sdp\b/i.test(header(message, "content-type") ?? "")) return message;
    const [inside, outside] = [ends.mine.src, ends.theirs.dst];
    const body = mapSession(message.body, inside, outside, (address, port) => {
      // Media of a third party are no business of this flow.
      if (!address.equals(inside)) return undefined;
      const found = this.announcer.announce(ends, { protocol: UDP, port, ports: 2, timeoutMs: MEDIA_MS, most: MOST_EXPECTED });
      return found === undefined ? undefined : { address: outside, port: found };
    });
    return withBody(message, body);
  }

  private remember(message: SipMessage, ends: Ends): void {
    const [key, contact] = [keyOf(message), contactOf(message)];
    if (!key || !contact?.address.equals(ends.mine.src)) return;
    if (this.pending.size >= MOST_PENDING) this.pending.delete(this.pending.keys().next().value as string);
    this.pending.set(key, { ends, contact, expires: expiresOf(message) });
  }

  /** The registrar has agreed: calls to the contact may come as long as it says. */
  private register(message: SipMessage, helper: number): void {
    const key = keyOf(message);
    const wanted = key === undefined ? undefined : this.pending.get(key);
    if (!key || !wanted) return;
    this.pending.delete(key);
    const seconds = expiresOf(message) ?? wanted.expires ?? 3600;
    if (statusOf(message) >= 300 || seconds === 0) return;
    const { ends, contact } = wanted;
    const { mine, theirs, place, flow } = ends;
    // The port that the registrar was told: that of this flow where the contact is its own end.
    const port = contact.port === mine.sport ? (theirs.dport as number) : contact.port;
    this.announcer.counters.announced++;
    const isTranslated = !theirs.dst.equals(mine.src) || port !== contact.port;
    const found = this.announcer.expect({
      protocol: UDP,
      source: theirs.src,
      destination: theirs.dst,
      port,
      place,
      master: flow,
      timeoutMs: Math.min(seconds, 86_400) * 1000,
      ...(isTranslated && { translateTo: { address: contact.address, port: contact.port } }),
      helper,
      permanent: true,
      most: MOST_EXPECTED,
    });
    if (found !== "expected") this.announcer.counters.refused++;
  }
}

const keyOf = (message: SipMessage): string | undefined => {
  const [call, sequence] = [header(message, "call-id"), header(message, "cseq")];
  return call && sequence && /\bREGISTER$/.test(sequence) ? `${call} ${sequence}`.slice(0, 500) : undefined;
};

/** The sender's end as the receiver sees it, and the receiver's as it knows itself. */
function mapOf({ mine, theirs }: Ends): MapEnd {
  const ends: readonly [IpAddress, number | undefined, Endpoint][] = [
    [mine.src, mine.sport, { address: theirs.dst, port: theirs.dport as number }],
    [mine.dst, mine.dport, { address: theirs.src, port: theirs.sport as number }],
  ];
  return (address, port = SIP_PORT) => ends.find(([from, fromPort]) => from.equals(address) && fromPort === port)?.[2];
}
