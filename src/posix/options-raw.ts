/** Options of raw sockets: which ICMP messages they hear, whose header they send, where a checksum stands (raw(7), icmp(7), RFC 3542 §3). */
import { LoomError } from "../base/errors.ts";
import * as c from "./constants.ts";
import { EINVAL, EOPNOTSUPP } from "./errno.ts";
import { flag, type OptionTable, type SocketOption } from "./options.ts";
import type { RawSocket } from "./raw-socket.ts";

/** Bits of types that are not delivered: `words` of 32, as `struct icmp_filter` and `struct icmp6_filter` have them. */
function icmpFilter(protocol: number, words: number): SocketOption<RawSocket> {
  return {
    get({ endpoint }) {
      if (endpoint.protocol !== protocol) throw new LoomError("ENOTSUP", "this socket does not hear ICMP");
      return new Uint8Array(endpoint.blocked.slice(0, words).buffer);
    },
    set({ endpoint }, { bytes }) {
      if (endpoint.protocol !== protocol) return -EOPNOTSUPP;
      // A shorter one changes the beginning (raw_seticmpfilter).
      new Uint8Array(endpoint.blocked.buffer).set(bytes.subarray(0, 4 * words));
      return 0;
    },
  };
}

const header: SocketOption<RawSocket> = flag(
  ({ endpoint }) => endpoint.header,
  ({ endpoint }, on) => {
    endpoint.header = on;
  },
);

/** An even offset, or -1 for none; ICMPv6's is not to be changed (RFC 3542 §3.1). */
const checksum: SocketOption<RawSocket> = {
  get: ({ endpoint }) => endpoint.checksumAt,
  set({ endpoint }, value) {
    if (!value.isInt || endpoint.protocol === c.IPPROTO_ICMPV6 || (value.int > 0 && value.int % 2 === 1)) return -EINVAL;
    endpoint.checksumAt = Math.max(value.int, -1);
    return 0;
  },
};

/** By level and name, for sockets of IPv4 and of IPv6. */
export const RAW_OPTIONS: Readonly<Record<number, Readonly<Record<number, OptionTable<RawSocket>>>>> = {
  [c.AF_INET]: {
    [c.SOL_RAW]: { [c.ICMP_FILTER]: icmpFilter(c.IPPROTO_ICMP, 1) },
    [c.IPPROTO_IP]: { [c.IP_HDRINCL]: header },
  },
  [c.AF_INET6]: {
    [c.SOL_RAW]: { [c.IPV6_CHECKSUM]: checksum },
    [c.IPPROTO_ICMPV6]: { [c.ICMPV6_FILTER]: icmpFilter(c.IPPROTO_ICMPV6, 8) },
    [c.IPPROTO_IPV6]: { [c.IPV6_CHECKSUM]: checksum, [c.IPV6_HDRINCL]: header },
  },
};
