/**
 * The kernel's side of a device: index, MAC, MTU and state of an interface in a namespace. A netlink socket says that
 * something changed (RFC 3549; group RTNLGRP_LINK); what is then asked by the older calls of netdevice(7).
 */
import { formatMac } from "../base/address.ts";
import { invalid } from "../base/errors.ts";
import { inNamespace, struct, systemError } from "./libc.ts";
import type { Libc } from "./libc-symbols.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NONBLOCK_CLOEXEC = 0x800 | 0x80000;
const RTMGRP_LINK = 1;
const SIOCGIFFLAGS = 0x8913;
const SIOCGIFMTU = 0x8921;
const SIOCSIFMTU = 0x8922;
const SIOCSIFHWADDR = 0x8924;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFINDEX = 0x8933;
const IFF_UP = 1;
const IFF_RUNNING = 0x40;
const ARPHRD_ETHER = 1;

export class KernelLink {
  readonly name: string;
  index = 0;
  mtu = 0;
  mac = new Uint8Array(6);
  /** Administratively up; and with a carrier. */
  up = false;
  running = false;
  private readonly libc: Libc;
  private readonly fd: number;
  private readonly stop: (() => void) | undefined;
  private readonly scratch = new Uint8Array(8192);
  private isDirty = false;

  constructor(libc: Libc, namespace: string | undefined, name: string, wake: () => void) {
    this.libc = libc;
    this.name = checkName(name);
    this.fd = inNamespace(libc, namespace, () => libc.socket(AF_NETLINK, SOCK_RAW | NONBLOCK_CLOEXEC, 0));
    if (this.fd < 0) throw systemError("cannot open a netlink socket", libc.errno());
    libc.bind(
      this.fd,
      struct(12, [
        [0, 2, AF_NETLINK],
        [8, 4, RTMGRP_LINK],
      ]),
      12,
    );
    this.stop = libc.watch?.(this.fd, () => {
      this.isDirty = true;
      // Read at once: until then the descriptor stays readable, and the event loop busy.
      this.poll();
      wake();
    });
    this.refresh();
    if (this.index !== 0) return;
    this.close();
    throw systemError(`cannot use interface ${name}`, 19);
  }

  /** Looks whether something changed. Cheap when nothing did. */
  poll(): void {
    if (this.stop && !this.isDirty) return;
    this.isDirty = false;
    let any = false;
    while (this.libc.recv(this.fd, this.scratch, this.scratch.length, 0) > 0) any = true;
    if (any) this.refresh();
  }

  private refresh(): void {
    const flags = this.ask(SIOCGIFFLAGS);
    this.index = this.ask(SIOCGIFINDEX)?.getInt32(16, true) ?? 0;
    // The loopback interface has 65,536, which no IPv4 packet can be.
    this.mtu = Math.min(this.ask(SIOCGIFMTU)?.getInt32(16, true) ?? this.mtu, 65_535);
    const mac = this.ask(SIOCGIFHWADDR);
    if (mac) this.mac.set(new Uint8Array(mac.buffer, 18, 6));
    const state = flags?.getUint16(16, true) ?? 0;
    this.up = (state & IFF_UP) !== 0;
    this.running = this.up && (state & IFF_RUNNING) !== 0;
  }

  /** A request about this interface; undefined when it is gone. */
  private ask(request: number): DataView | undefined {
    const bytes = this.request();
    return this.libc.ioctl(this.fd, request, bytes) < 0 ? undefined : new DataView(bytes.buffer);
  }

  private request(): Uint8Array {
    const bytes = struct(40);
    new TextEncoder().encodeInto(this.name, bytes);
    return bytes;
  }

  setMtu(mtu: number): void {
    if (mtu === this.mtu) return;
    const bytes = this.request();
    new DataView(bytes.buffer).setInt32(16, mtu, true);
    if (this.libc.ioctl(this.fd, SIOCSIFMTU, bytes) < 0) {
      throw systemError(`cannot set the MTU of ${this.name} to ${mtu}`, this.libc.errno());
    }
    this.mtu = mtu;
  }

  setMac(mac: Uint8Array): void {
    if (this.mac.every((byte, i) => byte === mac[i])) return;
    const bytes = this.request();
    bytes[16] = ARPHRD_ETHER;
    bytes.set(mac, 18);
    if (this.libc.ioctl(this.fd, SIOCSIFHWADDR, bytes) < 0) {
      throw systemError(`cannot set the MAC of ${this.name} to ${formatMac(mac)}`, this.libc.errno());
    }
    this.mac.set(mac);
  }

  close(): void {
    this.stop?.();
    this.libc.close(this.fd);
  }
}

/** A device's name fits 15 bytes. */
export function checkName(name: string): string {
  if (new TextEncoder().encode(name).length > 15) throw invalid(`"${name}" is too long for a device; expected at most 15 characters`);
  return name;
}
