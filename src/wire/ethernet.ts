/** Ethernet II with 802.1Q and 802.1ad tags (IEEE 802.3 §3.2, 802.1Q §9). */
import { need, put16, u16 } from "./bytes.ts";

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, qinq: 0x88a8, ipv6: 0x86dd } as const;

export interface Tag {
  /** 0x8100 or 0x88a8. */
  readonly protocol: number;
  readonly vlan: number;
  readonly priority: number;
  readonly dropEligible: boolean;
}

export interface EthernetFrame {
  readonly destination: Uint8Array;
  readonly source: Uint8Array;
  /** Outermost first. */
  readonly tags: readonly Tag[];
  readonly type: number;
  readonly payload: Uint8Array;
}

export function parseEthernet(bytes: Uint8Array): EthernetFrame {
  need(bytes, 14, "Ethernet header");
  const tags: Tag[] = [];
  let at = 12;
  while (u16(bytes, at) === ETHERTYPE.vlan || u16(bytes, at) === ETHERTYPE.qinq) {
    need(bytes, at + 6, "VLAN tag");
    const tci = u16(bytes, at + 2);
    tags.push({ protocol: u16(bytes, at), vlan: tci & 0xfff, priority: tci >>> 13, dropEligible: (tci & 0x1000) !== 0 });
    at += 4;
  }
  return {
    destination: bytes.subarray(0, 6),
    source: bytes.subarray(6, 12),
    tags,
    type: u16(bytes, at),
    payload: bytes.subarray(at + 2),
  };
}

export function serializeEthernet(frame: Omit<EthernetFrame, "tags"> & { tags?: readonly Tag[] }): Uint8Array {
  const tags = frame.tags ?? [];
  const out = new Uint8Array(14 + 4 * tags.length + frame.payload.length);
  out.set(frame.destination, 0);
  out.set(frame.source, 6);
  let at = 12;
  for (const tag of tags) {
    put16(out, at, tag.protocol);
    put16(out, at + 2, (tag.priority << 13) | (tag.dropEligible ? 0x1000 : 0) | tag.vlan);
    at += 4;
  }
  put16(out, at, frame.type);
  out.set(frame.payload, at + 2);
  return out;
}
