/** Control messages of Unix domain sockets: descriptors (SCM_RIGHTS) and credentials (SCM_CREDENTIALS) (unix(7)). */
import type { Credentials, Passenger } from "../unix/index.ts";
import { MSG_CMSG_CLOEXEC, MSG_CTRUNC, SCM_CREDENTIALS, SCM_RIGHTS, SOL_SOCKET } from "./constants.ts";
import type { Descriptors } from "./descriptors.ts";
import { EBADF, EINVAL, EPERM, ETOOMANYREFS } from "./errno.ts";
import { InFlight } from "./in-flight.ts";
import { type ControlMessage, intOf, type Message } from "./message.ts";
import { intBytes } from "./options.ts";

/** SCM_MAX_FD. What a process has on its way may be as many as it may have open, and one message more (too_many_unix_fds). */
const MOST = 253;

/** The descriptors that a message carries, held for the road; or a negative error. */
export function boardPassengers(control: readonly ControlMessage[] | undefined, table: Descriptors, own: Credentials): InFlight[] | number {
  const out: InFlight[] = [];
  const before = table.inFlight;
  const fail = (error: number) => {
    for (const passenger of out) passenger.drop();
    return error;
  };
  for (const message of control ?? []) {
    if (message.level !== SOL_SOCKET) continue;
    if (message.type === SCM_CREDENTIALS) {
      if (message.data.length !== 12) return fail(-EINVAL);
      if (intOf(message) !== own.pid) return fail(-EPERM);
      continue;
    }
    if (message.type !== SCM_RIGHTS || message.data.length % 4 !== 0) return fail(-EINVAL);
    const view = new DataView(message.data.buffer, message.data.byteOffset, message.data.length);
    for (let at = 0; at < message.data.length; at += 4) {
      const description = table.get(view.getInt32(at, true));
      if (!description) return fail(-EBADF);
      if (out.length === MOST || before > table.limit) return fail(-ETOOMANYREFS);
      out.push(new InFlight(description, table));
    }
  }
  return out;
}

/** Gives arrived descriptors numbers in the receiver's table and tells of them; those that find no place are closed. */
export function landPassengers(passengers: readonly Passenger[], message: Message, table: Descriptors, flags: number): void {
  const numbers: number[] = [];
  for (const passenger of passengers) {
    const isWanted = message.control && passenger instanceof InFlight;
    const fd = isWanted ? table.add(passenger.description, (flags & MSG_CMSG_CLOEXEC) !== 0) : -EINVAL;
    passenger.drop();
    if (fd >= 0) numbers.push(fd);
    else message.flags = (message.flags ?? 0) | MSG_CTRUNC;
  }
  if (numbers.length > 0) message.control?.push({ level: SOL_SOCKET, type: SCM_RIGHTS, data: intBytes(...numbers) });
}

export function tellCredentials({ pid, uid, gid }: Credentials, message: Message): void {
  message.control?.push({ level: SOL_SOCKET, type: SCM_CREDENTIALS, data: intBytes(pid, uid, gid) });
}
