/**
 * The names of a host's Unix domain sockets (unix(7)): paths, which stay when their socket is closed until they are
 * unlinked, and abstract names (they begin with a zero byte), which go with it.
 */
import { LoomError } from "../base/errors.ts";

/** What has a name. */
export interface Named {
  readonly kind: string;
  readonly isClosed: boolean;
  shut(why: LoomError): void;
}

/** Linux numbers what is bound without a name by five hexadecimal digits. */
const AUTOMATIC = 0x10_0000;

export class UnixNamespace<E extends Named> {
  private readonly names = new Map<string, E>();
  private readonly members = new Set<E>();
  private over: LoomError | undefined;
  private next = 0;

  /** A socket is there: bound or not, it ends with the host. Throws once the host is closed. */
  enter(endpoint: E): void {
    if (this.over) throw this.over;
    this.members.add(endpoint);
  }

  leave(endpoint: E): void {
    this.members.delete(endpoint);
  }

  /** Ends every socket; nothing can be opened afterwards. */
  close(why: LoomError): void {
    if (this.over) return;
    this.over = why;
    for (const endpoint of [...this.members]) endpoint.shut(why);
    this.names.clear();
  }

  /** Throws EADDRINUSE. */
  bind(name: string, endpoint: E): void {
    const key = keyOf(name, endpoint.kind);
    if (this.names.has(key)) throw new LoomError("EADDRINUSE", `the name ${shown(name)} is in use`);
    this.names.set(key, endpoint);
  }

  /** An abstract name that nobody has. */
  freeName(kind: string): string {
    for (let tries = 0; tries < AUTOMATIC; tries++) {
      const name = `\0${(this.next++ % AUTOMATIC).toString(16).padStart(5, "0")}`;
      if (!this.names.has(keyOf(name, kind))) return name;
    }
    throw new LoomError("EADDRINUSE", "all automatic names are in use");
  }

  /** Who has the name. Throws ENOENT for a path that is not there, ECONNREFUSED for one whose socket is closed. */
  find(name: string, kind: string): E {
    const endpoint = this.names.get(keyOf(name, kind));
    const isAbstract = name.startsWith("\0");
    if (!endpoint && !isAbstract) throw new LoomError("ENOENT", `there is no socket ${shown(name)}`);
    if (!endpoint || endpoint.isClosed) throw new LoomError("ECONNREFUSED", `nobody is behind ${shown(name)}`);
    return endpoint;
  }

  /** Removes a path; its socket goes on for those who are connected. Throws ENOENT. */
  unlink(path: string): void {
    if (path.startsWith("\0") || !this.names.delete(path)) throw new LoomError("ENOENT", `there is no socket ${shown(path)}`);
  }

  /** Removes a path if it is this endpoint's still. */
  unlinkOwn(path: string, endpoint: E): void {
    if (this.names.get(path) === endpoint) this.names.delete(path);
  }

  /** The endpoint is closed: its abstract name is free, its path refuses. */
  release(name: string, endpoint: E): void {
    const key = keyOf(name, endpoint.kind);
    if (name.startsWith("\0") && this.names.get(key) === endpoint) this.names.delete(key);
  }
}

/** An abstract name as `ss` writes it. */
function shown(name: string): string {
  return name.startsWith("\0") ? `@${name.slice(1)}` : name;
}

/** Abstract names of different kinds of sockets are different names. */
function keyOf(name: string, kind: string): string {
  return name.startsWith("\0") ? `${name}\0${kind}` : name;
}
