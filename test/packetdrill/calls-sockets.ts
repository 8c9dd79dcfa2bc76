/** System calls that make sockets, open and end connections, and set options. */
import * as c from "../../src/posix/constants.ts";
import { EALREADY, EINPROGRESS } from "../../src/posix/errno.ts";
import type { SocketName } from "../../src/posix/names.ts";
import type { Begin, Calls } from "./calls.ts";
import { Peer } from "./peer.ts";
import { type Expression, Mismatch, type SystemCall, Unsupported } from "./script.ts";
import { bracketed, describe, expectSame, int, isEllipsis, optionBytes, stringBytes } from "./values.ts";

/** "..." for an address means the remote host's; a number is a family without an address. */
export function destination(calls: Calls, script: number, argument: Expression): SocketName {
  if (isEllipsis(argument)) {
    calls.connecting(script);
    return calls.remoteName();
  }
  const family = int(argument);
  const peer = calls.descriptors.peer(script);
  if (family === c.AF_UNSPEC && peer) peer.state = "new";
  return { family, address: "0.0.0.0", port: 0 };
}

const socket: Begin = (calls, args, call) => {
  const domain = isEllipsis(args[0]) ? calls.domain : int(args[0]);
  const [type, protocol] = [int(args[1]), int(args[2])];
  return {
    makes: "descriptor",
    run: () => calls.process.socket(domain, type, protocol),
    done(result) {
      const isEcho = protocol === c.IPPROTO_ICMP || protocol === c.IPPROTO_ICMPV6;
      const peer = new Peer((type & 0xf) === c.SOCK_STREAM ? "tcp" : isEcho ? "icmp" : "udp");
      calls.descriptors.underTest = peer;
      calls.descriptors.add(int(call.result), result, peer);
    },
  };
};

const bind: Begin = (calls, args) => ({ run: () => calls.process.bind(calls.fd(args), calls.localName()) });

const listen: Begin = (calls, args) => ({
  run: () => calls.process.listen(calls.fd(args), int(args[1])),
  done() {
    const peer = calls.descriptors.peer(int(args[0]));
    if (peer) peer.state = "listening";
  },
});

function accept(calls: Calls, args: readonly Expression[], call: SystemCall, flags: number) {
  const fd = calls.fd(args);
  return calls.waiting(fd, 0, c.SO_RCVTIMEO, {
    makes: "descriptor",
    run: () => calls.process.accept4(fd, flags),
    done(result) {
      const peer = calls.descriptors.underTest;
      if (peer?.state !== "syn,ack sent" && peer?.state !== "established")
        throw new Mismatch("accept() returned a connection that the script did not open");
      calls.descriptors.add(int(call.result), result, peer);
    },
  });
}

const connect: Begin = (calls, args) => {
  const fd = calls.fd(args);
  const name = destination(calls, int(args[0]), args[1]);
  const waits = calls.blocks(fd) && name.family !== c.AF_UNSPEC;
  return {
    run: () => calls.process.connect(fd, name),
    waits: waits ? (result) => result === -EINPROGRESS || result === -EALREADY : undefined,
    timeout: waits ? calls.timeout(fd, c.SO_SNDTIMEO) : undefined,
    onTimeout: -EINPROGRESS,
  };
};

const close: Begin = (calls, args) => ({ run: () => calls.process.close(calls.fd(args)) });
const shutdown: Begin = (calls, args) => ({ run: () => calls.process.shutdown(calls.fd(args), int(args[1])) });

const fcntl: Begin = (calls, args) => ({
  run: () => calls.process.fcntl(calls.fd(args), int(args[1]), args.length > 2 ? int(args[2]) : 0),
});

/** `ioctl(4, SIOCINQ, [1000])` asks, and compares what is asked for; the process returns it as the result. */
const ioctl: Begin = (calls, args) => {
  let answer = 0;
  const asks = args[2]?.kind === "list";
  return {
    run() {
      const result = calls.process.ioctl(calls.fd(args), int(args[1]), args.length > 2 && !asks ? int(args[2]) : 0);
      if (!asks || result < 0) return result;
      answer = result;
      return 0;
    },
    done: () => asks && expectSame("the ioctl's value", bracketed(args[2]), answer),
  };
};

const setsockopt: Begin = (calls, args) => {
  const length = isEllipsis(args[4]) ? 4 : int(args[4]);
  const value = optionBytes(args[3], length);
  return { run: () => calls.process.setsockopt(calls.fd(args), int(args[1]), int(args[2]), value) };
};

const getsockopt: Begin = (calls, args) => {
  const length = bracketed(args[4]);
  const into = new Uint8Array(length);
  let got = 0;
  return {
    run() {
      const result = calls.process.getsockopt(calls.fd(args), int(args[1]), int(args[2]), into);
      got = result;
      return result < 0 ? result : 0;
    },
    done() {
      expectSame("the option's length", length, got);
      compareOption(args[3], into);
    },
  };
};

function compareOption(expected: Expression, actual: Uint8Array): void {
  if (isEllipsis(expected)) return;
  if (expected.kind === "string") {
    const text = (bytes: Uint8Array) => JSON.stringify(String.fromCharCode(...bytes));
    expectSame("the option", text(stringBytes(expected.value)), text(actual));
    return;
  }
  // struct linger and its like, as they are given to setsockopt.
  if (expected.kind === "struct") {
    expectSame("the option", `${optionBytes(expected, actual.length)}`, `${actual}`);
    return;
  }
  if (expected.kind !== "list") throw new Unsupported(`an option's value ${describe(expected)}`);
  if (actual.length !== 4) throw new Unsupported(`an option of ${actual.length} bytes`);
  expectSame("the option", bracketed(expected) | 0, new DataView(actual.buffer).getInt32(0, true));
}

export const SOCKET_CALLS: Readonly<Record<string, Begin>> = {
  socket,
  bind,
  listen,
  accept: (calls, args, call) => accept(calls, args, call, 0),
  accept4: (calls, args, call) => accept(calls, args, call, int(args[3])),
  connect,
  close,
  shutdown,
  fcntl,
  ioctl,
  setsockopt,
  getsockopt,
};
