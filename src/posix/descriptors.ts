/** The descriptors of one process: small numbers for open file descriptions, the lowest free one first. */
import type { Description } from "./description.ts";
import { EBADF, EINVAL, EMFILE } from "./errno.ts";

export class Descriptors {
  private readonly table: (Description | undefined)[] = [];
  private readonly closeOnExec = new Set<number>();
  /** RLIMIT_NOFILE. */
  readonly limit: number;
  /** Descriptors sent from here that nobody has received yet. */
  inFlight = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Is every number taken? */
  get isFull(): boolean {
    let fd = 0;
    while (this.table[fd]) fd++;
    return fd >= this.limit;
  }

  get(fd: number): Description | undefined {
    return typeof fd === "number" ? this.table[fd] : undefined;
  }

  /** A descriptor from `least` on, or -EMFILE; the description is then held by it. */
  add(description: Description, cloexec = false, least = 0): number {
    if (!Number.isInteger(least) || least < 0) return -EINVAL;
    let fd = least;
    while (this.table[fd]) fd++;
    if (fd >= this.limit) return -EMFILE;
    this.table[fd] = description.hold();
    this.markCloseOnExec(fd, cloexec);
    return fd;
  }

  /** Puts a description in the place of whatever `fd` was (dup2). */
  replace(fd: number, description: Description): number {
    if (!Number.isInteger(fd) || fd < 0 || fd >= this.limit) return -EBADF;
    description.hold();
    this.close(fd);
    this.table[fd] = description;
    return fd;
  }

  close(fd: number): number {
    const description = this.get(fd);
    if (!description) return -EBADF;
    this.table[fd] = undefined;
    this.closeOnExec.delete(fd);
    description.drop();
    return 0;
  }

  isCloseOnExec(fd: number): boolean {
    return this.closeOnExec.has(fd);
  }

  markCloseOnExec(fd: number, on: boolean): void {
    if (on) this.closeOnExec.add(fd);
    else this.closeOnExec.delete(fd);
  }

  closeAll(): void {
    for (let fd = 0; fd < this.table.length; fd++) this.close(fd);
  }
}
