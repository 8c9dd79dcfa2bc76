/** What the engine knows of a packet: meta's keys (nft_meta). */
import * as abi from "../../../assembly/abi.ts";
import { invalid } from "../../base/errors.ts";
import type { Family, MetaKey } from "../expressions.ts";
import { type Code, I64 } from "./code.ts";
import type { Emitter } from "./emitter.ts";
import { always, descriptor, type Known, loadWords, never } from "./reading.ts";

/** Pushes the packet's bytes from its network header on. */
export function pushLength(e: Emitter): Code {
  descriptor(e).load(4, abi.DESC_PACKET_LENGTH);
  return descriptor(e).load(2, abi.DESC_L3).sub();
}

/** Pushes what the port is called that the packet came in by, or leaves by: an address of IFACE_*. */
export function pushInterface(e: Emitter, output: boolean, port: number): Code {
  const { interfaces, nothing, ports } = e.program.places;
  const c = output ? e.vector(abi.VEC_OIF, 2) : descriptor(e).load(2, abi.DESC_INGRESS);
  c.tee(port).i32(abi.IFACE_SIZE).mul().i32(interfaces).add();
  return c.i32(nothing).get(port).i32(ports).ltU().select();
}

/** A field of a port's name record; `needed`: without a port the rule ends. */
function ofInterface(output: boolean, offset: number, bytes: number, needed: boolean): Known {
  return {
    bytes,
    certain: !needed,
    emit(e, to) {
      const at = e.temporary();
      pushInterface(e, output, at).set(at);
      if (needed) {
        e.code.get(at).i32(e.program.places.nothing).eq();
        e.failIf();
      }
      if (offset === abi.IFACE_KIND || offset === abi.IFACE_BRIDGE) {
        e.code.get(at).load(1, offset).eqz();
        e.failIf();
      }
      loadWords(e.code, at, offset, bytes, to);
    },
  };
}

/** Of the port of a bridge that the frame came in by: its default VLAN, or the EtherType of the bridge's tags, which is 802.1Q's. */
function bridgeVlan(offset: number | undefined): Known {
  return {
    bytes: 2,
    certain: false,
    emit(e, [to]) {
      const at = e.temporary();
      pushInterface(e, false, at).tee(at).load(1, abi.IFACE_BRIDGE).eqz();
      e.failIf();
      (offset === undefined ? e.code.i32(0x0081) : e.code.get(at).load(2, offset)).set(to);
    },
  };
}

function nfproto(family: Family): Known {
  const fixed: Partial<Record<Family, number>> = { ip: 2, ip6: 10, arp: 3, netdev: 5, bridge: 7 };
  const value = fixed[family];
  if (value !== undefined) return always(1, (e) => e.code.i32(value));
  return always(1, (e) => descriptor(e).load(1, abi.DESC_FLAGS).i32(abi.FLAG_IP6).and().i32(2).shl().i32(2).add());
}

/** EtherType as it stands in the frame: known for IP, read in front of the network header for everything else. */
const protocol: Known = {
  bytes: 2,
  certain: true,
  emit(e, [to]) {
    const c = descriptor(e).load(1, abi.DESC_FLAGS).i32(abi.FLAG_IP4).and().if().i32(0x0008).set(to).else();
    descriptor(e).load(1, abi.DESC_FLAGS).i32(abi.FLAG_IP6).and().if().i32(0xdd86).set(to).else();
    c.i32(0).set(to);
    descriptor(e).load(2, abi.DESC_L3).i32(2).geU().if();
    c.get(e.base("network")).i32(2).sub().load(2).set(to).end().end().end();
  },
};

function l4proto(family: Family): Known {
  const certain = family === "ip" || family === "ip6" || family === "inet";
  return {
    bytes: 1,
    certain,
    emit(e, [to]) {
      if (!certain) {
        descriptor(e)
          .load(1, abi.DESC_FLAGS)
          .i32(abi.FLAG_IP4 | abi.FLAG_IP6)
          .and()
          .eqz();
        e.failIf();
      }
      descriptor(e).load(1, abi.DESC_PROTOCOL).set(to);
    },
  };
}

/** enum of linux/if_packet.h: for us 0, broadcast 1, multicast 2, for another 3. */
const pkttype: Known = {
  bytes: 1,
  certain: true,
  emit(e, [to]) {
    const c = e.code.i32(3).i32(0);
    descriptor(e).load(4, abi.DESC_FLAGS).i32(abi.FLAG_L2_OTHER).and().select().set(to);
    descriptor(e).load(4, abi.DESC_FLAGS).i32(abi.FLAG_L2_GROUP).and().if();
    c.i32(1).i32(2);
    c.get(e.base("data")).load(4).get(e.base("data")).load(2, 4).i32(16).shl().i32(0xffff).or().and().i32(-1).eq();
    c.select().set(to).end();
  },
};

/** Nanoseconds since 1970, on the stack as 64 bits. */
function pushWallTime(e: Emitter): Code {
  e.code.get(e.worker).load64(abi.WORKER_TIME);
  return e.code.i32(e.program.places.epoch).load64().add64();
}

const time: Known = {
  bytes: 8,
  certain: true,
  emit(e, [low, high]) {
    const at = e.temporary(I64);
    pushWallTime(e).tee(at).wrap().set(low).get(at).i64(32n).shrU64().wrap().set(high);
  },
};
const SECOND = 1_000_000_000n;

export function metaOf(key: MetaKey, family: Family): Known {
  switch (key) {
    case "len":
      return always(4, pushLength);
    case "protocol":
      return protocol;
    case "priority":
      return always(4, (e) => e.vector(abi.VEC_PRIORITY, 4));
    case "mark":
      return always(4, (e) => descriptor(e).load(4, abi.DESC_MARK));
    case "iif":
    case "oif":
      return ofInterface(key === "oif", abi.IFACE_INDEX, 4, false);
    case "iifname":
    case "oifname":
      return ofInterface(key === "oifname", abi.IFACE_NAME, abi.IFACE_NAME_SIZE, false);
    case "iiftype":
    case "oiftype":
      return ofInterface(key === "oiftype", abi.IFACE_TYPE, 2, true);
    case "iifgroup":
    case "oifgroup":
      return ofInterface(key === "oifgroup", abi.IFACE_GROUP, 4, true);
    case "iifkind":
    case "oifkind":
      return ofInterface(key === "oifkind", abi.IFACE_KIND, 16, true);
    case "ibrname":
    case "obrname":
      return ofInterface(key === "obrname", abi.IFACE_BRIDGE, abi.IFACE_NAME_SIZE, true);
    case "ibrpvid":
      return bridgeVlan(abi.IFACE_PVID);
    case "ibrvproto":
      return bridgeVlan(undefined);
    case "nfproto":
      return nfproto(family);
    case "l4proto":
      return l4proto(family);
    case "pkttype":
      return pkttype;
    case "cpu":
      return always(4, (e) => e.code.get(e.worker).load(4, abi.WORKER_ID));
    case "random":
      return always(4, (e) => e.code.call(e.program.random()));
    case "secpath":
      return always(1, (e) => e.code.i32(0));
    case "sdif":
      return always(4, (e) => e.code.i32(0));
    case "time":
      return time;
    case "day":
      return always(1, (e) =>
        pushWallTime(e)
          .i64(86_400n * SECOND)
          .divU64()
          .i64(4n)
          .add64()
          .i64(7n)
          .remU64()
          .wrap(),
      );
    case "hour":
      return always(4, (e) => pushWallTime(e).i64(SECOND).divU64().i64(86_400n).remU64().wrap());
    case "skuid":
    case "skgid":
    case "cgroup":
      // Nothing that is forwarded belongs to a socket.
      return never;
    default:
      throw invalid(`meta ${key} is not known to this engine`);
  }
}
