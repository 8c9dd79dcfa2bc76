/** System calls on descriptors of every kind: readiness, pipes, files. */
import * as c from "../../src/posix/constants.ts";
import { Description } from "../../src/posix/description.ts";
import type { EpollEvent } from "../../src/posix/epoll.ts";
import { EBADF, ENOENT } from "../../src/posix/errno.ts";
import type { PollEntry } from "../../src/posix/poll.ts";
import { type Begin, buffer, type Calls } from "./calls.ts";
import { type Expression, Unsupported } from "./script.ts";
import { bracketed, describe, expectSame, field, fields, int, items, optionalInt } from "./values.ts";

const POLL_NAMES: Readonly<Record<number, string>> = {
  1: "POLLIN",
  2: "POLLPRI",
  4: "POLLOUT",
  8: "POLLERR",
  16: "POLLHUP",
  32: "POLLNVAL",
  64: "POLLRDNORM",
  128: "POLLRDBAND",
  256: "POLLWRNORM",
  8192: "POLLRDHUP",
};

const showEvents = (mask: number) =>
  Object.entries(POLL_NAMES)
    .filter(([bit]) => mask & Number(bit))
    .map(([, name]) => name)
    .join("|") || "0";

const poll: Begin = (calls, args) => {
  const asked = items(args[0]).map(fields);
  const entries: PollEntry[] = asked.map((each) => ({
    fd: calls.descriptors.toLive(int(field(each, "fd"))),
    events: int(field(each, "events")),
    revents: 0,
  }));
  const timeout = int(args[2]);
  return {
    run: () => calls.process.poll(entries),
    waits: timeout === 0 ? undefined : (result) => result === 0,
    timeout: timeout > 0 ? timeout : undefined,
    onTimeout: 0,
    done() {
      for (const [i, each] of asked.entries()) {
        expectSame(`revents of entry ${i}`, showEvents(optionalInt(each, "revents")), showEvents(entries[i].revents));
      }
    },
  };
};

const epollCreate: Begin = (calls, _args, call) => ({
  makes: "descriptor",
  run: () => calls.process.epollCreate1(),
  done: (result) => calls.descriptors.add(int(call.result), result),
});

/** What an event carries: a descriptor in the process's numbers, or a number as it is. */
function dataOf(calls: Calls, named: Map<string, Expression>): number {
  if (named.has("fd")) return calls.descriptors.toLive(int(field(named, "fd")));
  const name = ["ptr", "u32", "u64"].find((each) => named.has(each));
  if (name === undefined) throw new Unsupported("an epoll event without data");
  return int(field(named, name));
}

const epollCtl: Begin = (calls, args) => ({
  run() {
    const [epoll, fd] = [calls.fd(args), calls.fd(args, 2)];
    if (args[3].kind !== "struct") return calls.process.epollCtl(epoll, int(args[1]), fd);
    const named = fields(args[3]);
    return calls.process.epollCtl(epoll, int(args[1]), fd, { events: int(field(named, "events")) >>> 0, data: dataOf(calls, named) });
  },
});

const epollWait: Begin = (calls, args) => {
  const expected = fields(args[1]);
  const [most, timeout] = [int(args[2]), int(args[3])];
  const events: EpollEvent[] = Array.from({ length: most }, () => ({ events: 0, data: 0 }));
  return {
    run: () => calls.process.epollWait(calls.fd(args), events, most),
    waits: timeout === 0 ? undefined : (result) => result === 0,
    timeout: timeout > 0 ? timeout : undefined,
    onTimeout: 0,
    done(result) {
      const [first] = events;
      expectSame("epoll events", showEvents(int(field(expected, "events"))), showEvents(result > 0 ? first.events : 0));
      if (result > 0) expectSame("epoll data", dataOf(calls, expected), Number(first.data));
    },
  };
};

const pipe: Begin = (calls, args) => {
  const pair: [number, number] = [-1, -1];
  return {
    run: () => calls.process.pipe2(pair),
    done() {
      for (const [i, script] of items(args[0]).entries()) calls.descriptors.add(int(script), pair[i]);
    },
  };
};

const splice: Begin = (calls, args) => {
  const [from, to] = [calls.fd(args), calls.fd(args, 2)];
  const flags = int(args[5]);
  const run = () => calls.process.splice(from, to, int(args[4]), flags);
  return flags & c.SPLICE_F_NONBLOCK ? { run } : calls.waiting(from, 0, c.SO_RCVTIMEO, { run });
};

/** A file that a command of the script made: zeros. */
class ZeroFile extends Description {
  readonly size: number;

  constructor(size: number) {
    super();
    this.size = size;
  }

  poll(): number {
    return c.POLLIN;
  }

  protected release(): void {}
}

const open: Begin = (calls, args, call) => {
  const [name] = args;
  if (name.kind !== "string") throw new Unsupported(`the file ${describe(name)}`);
  return {
    makes: "descriptor",
    run() {
      const size = calls.wire.files.get(name.value);
      return size === undefined ? -ENOENT : calls.process.descriptors.add(new ZeroFile(size));
    },
    done: (result) => calls.descriptors.add(int(call.result), result),
  };
};

const sendfile: Begin = (calls, args) => {
  const out = calls.fd(args);
  const file = calls.process.descriptors.get(calls.fd(args, 1));
  if (!(file instanceof ZeroFile)) return { run: () => -EBADF };
  const length = Math.max(Math.min(int(args[3]), file.size - bracketed(args[2])), 0);
  return calls.sending(out, 0, length, (from) => calls.process.write(out, buffer(length).subarray(from)));
};

export const FILE_CALLS: Readonly<Record<string, Begin>> = {
  poll,
  epoll_create: epollCreate,
  epoll_create1: epollCreate,
  epoll_ctl: epollCtl,
  epoll_wait: epollWait,
  pipe,
  splice,
  open,
  sendfile,
};
