/** System calls that wait for readiness. */
import type { PollEntry } from "../../src/posix/poll.ts";
import type { Begin } from "./calls.ts";
import { expectSame, field, fields, int, items, optionalInt } from "./values.ts";

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

export const FILE_CALLS: Readonly<Record<string, Begin>> = { poll };
