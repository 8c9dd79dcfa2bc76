/** System calls that move data: read and write in all their forms. */
import * as c from "../../src/posix/constants.ts";
import { EBADF, EFAULT } from "../../src/posix/errno.ts";
import { type Begin, buffer, type Calls } from "./calls.ts";
import { destination } from "./calls-sockets.ts";
import { checkMessage, iovOf, receivedMessage, sentMessage } from "./messages.ts";
import type { Expression } from "./script.ts";
import { int, isEllipsis } from "./values.ts";

/** What is left of pieces behind their first `from` bytes. */
function rest(pieces: readonly Uint8Array[], from: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  let skip = from;
  for (const piece of pieces) {
    if (skip < piece.length) out.push(skip > 0 ? piece.subarray(skip) : piece);
    skip = Math.max(skip - piece.length, 0);
  }
  return out;
}

/** NULL for memory: no Process is given a pointer that leads nowhere. */
const isNull = (argument: Expression) => argument.kind === "word" && argument.name === "NULL";

/** What Linux says of memory that is not there, where a call without it would have been good. */
function faulting(begin: Begin): Begin {
  return (calls, args, call) => {
    const attempt = begin(calls, args, call);
    if (!isNull(args[1])) return attempt;
    return { run: () => (calls.process.fcntl(calls.fd(args), c.F_GETFL) < 0 ? -EBADF : -EFAULT) };
  };
}

const total = (pieces: readonly Uint8Array[]) => pieces.reduce((n, piece) => n + piece.length, 0);

const receiving = (calls: Calls, fd: number, flags: number, run: () => number) => calls.waiting(fd, flags, c.SO_RCVTIMEO, { run });

const read: Begin = (calls, args) => {
  const fd = calls.fd(args);
  const into = new Uint8Array(int(args[2]));
  return receiving(calls, fd, 0, () => calls.process.read(fd, into));
};

const readv: Begin = (calls, args) => {
  const fd = calls.fd(args);
  const pieces = iovOf(args[1], args[2]);
  return receiving(calls, fd, 0, () => calls.process.readv(fd, pieces));
};

const recv: Begin = (calls, args) => {
  const fd = calls.fd(args);
  const into = new Uint8Array(int(args[2]));
  const flags = int(args[3]);
  return receiving(calls, fd, flags, () => calls.process.recv(fd, into, flags));
};

const write: Begin = (calls, args) => {
  const fd = calls.fd(args);
  const bytes = buffer(int(args[2]));
  return calls.sending(fd, 0, bytes.length, (from) => calls.process.write(fd, bytes.subarray(from)));
};

const writev: Begin = (calls, args) => {
  const fd = calls.fd(args);
  const pieces = iovOf(args[1], args[2]);
  return calls.sending(fd, 0, total(pieces), (from) => calls.process.writev(fd, rest(pieces, from)));
};

const send: Begin = (calls, args) => {
  const fd = calls.fd(args);
  const bytes = buffer(int(args[2]));
  const flags = int(args[3]);
  return calls.sending(fd, flags, bytes.length, (from) => calls.process.send(fd, bytes.subarray(from), flags));
};

const sendto: Begin = (calls, args) => {
  const fd = calls.fd(args);
  const bytes = buffer(int(args[2]));
  const flags = int(args[3]);
  const to = destination(calls, int(args[0]), args[4]);
  return calls.sending(fd, flags, bytes.length, (from, isFirst) =>
    isFirst ? calls.process.sendto(fd, bytes, flags, to) : calls.process.send(fd, bytes.subarray(from), flags & ~c.MSG_FASTOPEN),
  );
};

const sendmsg: Begin = (calls, args) => {
  const fd = calls.fd(args);
  const flags = int(args[2]);
  const message = sentMessage(args[1]);
  const peer = calls.descriptors.peer(int(args[0]));
  // Only a socket without a peer needs the name that every script gives.
  const isDatagram = peer?.protocol !== "tcp";
  const needsName = isDatagram || (flags & c.MSG_FASTOPEN) !== 0;
  if (needsName) calls.connecting(int(args[0]));
  const name = needsName ? calls.remoteName() : undefined;
  return calls.sending(fd, flags, total(message.iov), (from, isFirst) =>
    isFirst
      ? calls.process.sendmsg(fd, { ...message, name }, flags)
      : calls.process.sendmsg(fd, { ...message, iov: rest(message.iov, from) }, flags & ~c.MSG_FASTOPEN),
  );
};

const recvmsg: Begin = (calls, args) => {
  const fd = calls.fd(args);
  const flags = int(args[2]);
  const message = receivedMessage(args[1]);
  return {
    ...receiving(calls, fd, flags, () => calls.process.recvmsg(fd, message, flags)),
    done: () => checkMessage(args[1], message, calls),
  };
};

const recvfrom: Begin = (calls, args, call) => {
  const ignoresName = args
    .slice(4)
    .every((argument: Expression) => isEllipsis(argument) || (argument.kind === "word" && argument.name === "NULL"));
  return recv(calls, ignoresName ? args.slice(0, 4) : args, call);
};

export const DATA_CALLS: Readonly<Record<string, Begin>> = {
  read: faulting(read),
  readv,
  recv: faulting(recv),
  recvfrom: faulting(recvfrom),
  recvmsg,
  write: faulting(write),
  writev,
  send: faulting(send),
  sendto: faulting(sendto),
  sendmsg,
};
