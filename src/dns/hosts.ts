/** The hosts file: names that no server is asked for. One line: an address, a name, its aliases (hosts(5)). */
import { IpAddress } from "../base/ip-address.ts";
import { isRooted } from "./name.ts";

/** Lower case (ASCII only, RFC 4343) without the dot of the root: names are compared so. */
export function nameKey(name: string): string {
  const lower = name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  return lower.length > 1 && isRooted(lower) ? lower.slice(0, -1) : lower;
}

export class Hosts {
  private readonly names = new Map<string, IpAddress[]>();
  private readonly addresses = new Map<string, string[]>();

  /** Reads the text of a file. What is no entry is passed over, as every resolver does. */
  static parse(text: string): Hosts {
    const hosts = new Hosts();
    for (const line of text.split(/\r?\n/)) {
      const [address, ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
      if (names.length === 0) continue;
      try {
        hosts.add(address, ...names);
      } catch {}
    }
    return hosts;
  }

  /** Adds an entry; the first name is the canonical one. Throws EINVAL for what is no address. */
  add(address: string, ...names: string[]): this {
    const ip = IpAddress.parse(address);
    for (const name of names) {
      const known = this.names.get(nameKey(name)) ?? [];
      if (!known.some((each) => each.equals(ip))) this.names.set(nameKey(name), [...known, ip]);
    }
    this.addresses.set(ip.key, [...new Set([...(this.addresses.get(ip.key) ?? []), ...names])]);
    return this;
  }

  /** Takes a name and its addresses out. */
  remove(name: string): void {
    const key = nameKey(name);
    for (const ip of this.names.get(key) ?? []) {
      const rest = (this.addresses.get(ip.key) ?? []).filter((each) => nameKey(each) !== key);
      if (rest.length) this.addresses.set(ip.key, rest);
      else this.addresses.delete(ip.key);
    }
    this.names.delete(key);
  }

  /** Addresses of a name, of both families, in the order of the file. */
  lookup(name: string): readonly IpAddress[] {
    return this.names.get(nameKey(name)) ?? [];
  }

  /** Names of an address, the canonical one first. */
  reverse(address: IpAddress): readonly string[] {
    return this.addresses.get(address.key) ?? [];
  }
}
