/**
 * TCP Fast Open (RFC 7413): data in the SYN for peers that have shown a cookie, and the cookies that show it.
 *
 * A server's cookie is SipHash-2-4 of both addresses under its key, so it keeps nothing for each client; the key before
 * the present one is still believed (§4.1.2). A client remembers, for each peer, the last cookie and MSS it was given.
 */
import { swap32 } from "../base/bytes.ts";
import { LoomError } from "../base/errors.ts";
import type { IpAddress } from "../base/ip-address.ts";
import { SipHash } from "../base/siphash.ts";

/** §4.1.1: 4 to 16 bytes, an even number. */
const SHORTEST = 4;
const LONGEST = 16;
const COOKIE_BYTES = 8;
/** Peers remembered at most; the one that was not used for the longest time goes. */
const MOST_PEERS = 1024;
/** A peer whose SYN data was not answered gets none for this long (ms), doubled each time (§4.1.3.2). */
const BLOCKED_MS = 1000;

/** The option as it was read or shall be written; `cookie` is empty in a request. */
export interface CookieOption {
  readonly cookie: Uint8Array;
  /** By the experimental kind 254 (RFC 6994), as servers before RFC 7413 have it. */
  readonly experimental: boolean;
}

interface Peer {
  cookie: Uint8Array;
  experimental: boolean;
  mss: number;
  /** The next request uses the experimental kind: the last one by the standard kind brought nothing. */
  tryExperimental: boolean;
  losses: number;
  blockedUntil: number;
}

const isCookieLength = (n: number): boolean => n >= SHORTEST && n <= LONGEST && n % 2 === 0;

/** Sixteen bytes for each key, the present one first. */
export class CookieKeys {
  private readonly hashes: SipHash[];
  private readonly words = new Int32Array(8);

  constructor(keys: Uint8Array) {
    if (keys.length !== 16 && keys.length !== 32) {
      throw new LoomError("EINVAL", `a Fast Open key of ${keys.length} bytes; expected 16, or 32 for the present and the previous one`);
    }
    this.hashes = [];
    for (let at = 0; at < keys.length; at += 16) this.hashes.push(new SipHash(keys.slice(at, at + 16)));
  }

  /** The cookie for a client at `remote` that speaks to `local`. */
  make(remote: IpAddress, local: IpAddress, index = 0): Uint8Array {
    const out = new Uint8Array(COOKIE_BYTES);
    const view = new DataView(out.buffer);
    const n = this.fill(remote, local);
    view.setInt32(0, this.hashes[index].hash(this.words, n), true);
    view.setInt32(4, this.hashes[index].high, true);
    return out;
  }

  /** 0: not ours; 1: made with the present key; 2: with the previous one, so a new cookie is due. */
  check(cookie: Uint8Array, remote: IpAddress, local: IpAddress): 0 | 1 | 2 {
    if (cookie.length !== COOKIE_BYTES) return 0;
    for (let i = 0; i < this.hashes.length; i++) {
      const own = this.make(remote, local, i);
      let difference = 0;
      for (let k = 0; k < COOKIE_BYTES; k++) difference |= own[k] ^ cookie[k];
      if (difference === 0) return i === 0 ? 1 : 2;
    }
    return 0;
  }

  /** Addresses in network order, as both ends of the wire have them. */
  private fill(remote: IpAddress, local: IpAddress): number {
    const { words } = this;
    if (remote.family === 4) {
      words[0] = swap32(remote.d);
      words[1] = swap32(local.d);
      return 2;
    }
    remote.write(words, 0);
    local.write(words, 4);
    for (let i = 0; i < 8; i++) words[i] = swap32(words[i]);
    return 8;
  }
}

/** What a client knows of its peers. */
export class CookieCache {
  private readonly peers = new Map<string, Peer>();

  /** The option of the next SYN to this peer, or undefined while it is left alone. */
  option(remote: IpAddress, now: number): CookieOption | undefined {
    const peer = this.peers.get(remote.key);
    if (!peer) return { cookie: new Uint8Array(0), experimental: false };
    if (now < peer.blockedUntil) return undefined;
    if (peer.cookie.length > 0) return { cookie: peer.cookie, experimental: peer.experimental };
    return { cookie: peer.cookie, experimental: peer.tryExperimental };
  }

  /** The MSS that the peer announced last; 0 when it never did. */
  mss(remote: IpAddress): number {
    return this.peers.get(remote.key)?.mss ?? 0;
  }

  /**
   * A SYN-ACK answered a SYN that carried `asked` (undefined: data without a cookie). Without a cookie, a request by the
   * standard kind is followed by one of the experimental kind and then by the standard one for good; a SYN that was repeated
   * has asked for nothing in the end.
   */
  answered(remote: IpAddress, mss: number, asked: CookieOption | undefined, given: CookieOption | undefined, repeated = false): void {
    const peer = this.peer(remote);
    if (mss > 0) peer.mss = mss;
    peer.losses = 0;
    if (!asked) return;
    if (given && isCookieLength(given.cookie.length)) {
      peer.cookie = given.cookie;
      peer.experimental = given.experimental;
      peer.tryExperimental = false;
    } else if (asked.cookie.length === 0 && !repeated) {
      peer.tryExperimental = !asked.experimental && !peer.experimental;
      peer.experimental = asked.experimental || peer.experimental;
    }
  }

  /** The SYN with data had to be repeated without: somebody on the path may not like it. */
  lost(remote: IpAddress, now: number): void {
    const peer = this.peer(remote);
    peer.losses++;
    if (peer.losses > 1) peer.blockedUntil = now + BLOCKED_MS * 2 ** Math.min(peer.losses, 16);
  }

  forget(): void {
    this.peers.clear();
  }

  private peer(remote: IpAddress): Peer {
    const { key } = remote;
    let peer = this.peers.get(key);
    if (peer) this.peers.delete(key);
    else {
      peer = { cookie: new Uint8Array(0), experimental: false, mss: 0, tryExperimental: false, losses: 0, blockedUntil: 0 };
      const [oldest] = this.peers.keys();
      if (this.peers.size >= MOST_PEERS && oldest !== undefined) this.peers.delete(oldest);
    }
    this.peers.set(key, peer);
    return peer;
  }
}
