/** What each opcode does, once: a result, or WAIT with the events to wait for. */
import * as c from "../constants.ts";
import { EAGAIN, EALREADY, EINPROGRESS, EINVAL } from "../errno.ts";
import { type Message, sizeOf } from "../message.ts";
import type { Process } from "../process.ts";
import * as l from "./layout.ts";
import type { RingData } from "./memory.ts";
import type { Request } from "./request.ts";

/** Results of `operate` that are none: wait until the descriptor can be read, or written. */
export const WAIT_IN = Number.MIN_SAFE_INTEGER;
export const WAIT_OUT = Number.MIN_SAFE_INTEGER + 1;

/** Flags of a completion that an operation chose a buffer for. */
export interface Outcome {
  flags: number;
}

export function operate(request: Request, process: Process, data: RingData, outcome: Outcome): number {
  const { fd, addr, len, opFlags } = request;
  switch (request.opcode) {
    case l.IORING_OP_NOP:
      return 0;
    case l.IORING_OP_ACCEPT:
      return later(process.accept4(fd, opFlags), WAIT_IN, request, process);
    case l.IORING_OP_CONNECT:
      return connect(request, process, data);
    case l.IORING_OP_RECV:
    case l.IORING_OP_READ:
      return receive(request, process, data, outcome);
    case l.IORING_OP_SEND:
    case l.IORING_OP_SEND_ZC:
    case l.IORING_OP_WRITE:
      return send(request, process, data);
    case l.IORING_OP_RECVMSG:
      return receiveMessage(request, process, data);
    case l.IORING_OP_SENDMSG:
      return sendMessage(request, process, data);
    case l.IORING_OP_SHUTDOWN:
      return process.shutdown(fd, len);
    case l.IORING_OP_CLOSE:
      return process.close(fd);
    case l.IORING_OP_SOCKET:
      return process.socket(fd, request.off, len);
    case l.IORING_OP_BIND: {
      const name = data.name(addr, request.off);
      return typeof name === "number" ? name : process.bind(fd, name);
    }
    case l.IORING_OP_LISTEN:
      return process.listen(fd, len);
    case l.IORING_OP_SPLICE:
      return splice(request, process);
    case l.IORING_OP_PROVIDE_BUFFERS:
      return data.provide(request.bufferGroup, addr, len, fd, request.off);
    case l.IORING_OP_REMOVE_BUFFERS:
      return data.buffers.withdraw(request.bufferGroup, fd);
    default:
      return -EINVAL;
  }
}

/** A call that would block is repeated when it would not, unless its descriptor is not to block. */
function later(result: number, wait: number, request: Request, process: Process, flags = 0): number {
  if (result !== -EAGAIN || flags & c.MSG_DONTWAIT) return result;
  const status = process.fcntl(request.fd, c.F_GETFL);
  return status >= 0 && status & c.O_NONBLOCK ? result : wait;
}

/** Waits for what it reads from, or for what it writes to when the other is ready. */
function splice(request: Request, process: Process): number {
  const { fd, spliceFd, len, opFlags } = request;
  const result = process.splice(spliceFd, fd, len, opFlags);
  const isReady = result === -EAGAIN && ((process.descriptors.get(spliceFd)?.poll() ?? 0) & c.POLLIN) !== 0;
  return later(result, isReady ? WAIT_OUT : WAIT_IN, request, process);
}

function connect(request: Request, process: Process, data: RingData): number {
  const name = data.name(request.addr, request.off);
  if (typeof name === "number") return name;
  const result = process.connect(request.fd, name);
  const isWaiting = result === -EINPROGRESS || (request.isBegun && result === -EALREADY);
  request.isBegun ||= isWaiting;
  return isWaiting ? WAIT_OUT : result;
}

function receive(request: Request, process: Process, data: RingData, outcome: Outcome): number {
  const { fd, opFlags, bufferGroup } = request;
  const isSelected = (request.flags & l.IOSQE_BUFFER_SELECT) !== 0;
  const buffer = isSelected ? data.buffers.take(bufferGroup) : undefined;
  if (typeof buffer === "number") return buffer;
  const size = buffer ? Math.min(buffer.len, request.len || buffer.len) : request.len;
  const into = data.piece((buffer?.addr ?? request.addr) + request.done, size - request.done);
  if (typeof into === "number") return into;
  const isRead = request.opcode === l.IORING_OP_READ;
  const n = isRead ? process.read(fd, into) : process.recv(fd, into, opFlags & ~c.MSG_WAITALL);
  if (buffer && n >= 0) outcome.flags = l.IORING_CQE_F_BUFFER | (buffer.id << l.IORING_CQE_BUFFER_SHIFT);
  else if (buffer) data.buffers.giveBack(bufferGroup, buffer);
  return progress(request, process, n, size, WAIT_IN, !buffer && !isRead);
}

function send(request: Request, process: Process, data: RingData): number {
  const { fd, opFlags, len } = request;
  const from = data.piece(request.addr + request.done, len - request.done);
  if (typeof from === "number") return from;
  const isWrite = request.opcode === l.IORING_OP_WRITE;
  const n = isWrite ? process.write(fd, from) : process.send(fd, from, (opFlags & ~c.MSG_WAITALL) | c.MSG_NOSIGNAL);
  return progress(request, process, n, len, WAIT_OUT, !isWrite);
}

/** With MSG_WAITALL a call goes on until all is moved. */
function progress(request: Request, process: Process, n: number, size: number, wait: number, mayWaitAll: boolean): number {
  const result = later(n, wait, request, process, request.opFlags);
  const isAll = mayWaitAll && (request.opFlags & c.MSG_WAITALL) !== 0;
  if (result > 0) {
    request.done += result;
    return isAll && request.done < size ? wait : request.done;
  }
  return request.done > 0 && result !== wait ? request.done : result;
}

function receiveMessage(request: Request, process: Process, data: RingData): number {
  const message = data.message(request.addr, false);
  if (typeof message === "number") return message;
  const n = later(process.recvmsg(request.fd, message, request.opFlags), WAIT_IN, request, process, request.opFlags);
  if (n >= 0) data.writeBack(request.addr, message, c.MSG_CTRUNC);
  return n;
}

function sendMessage(request: Request, process: Process, data: RingData): number {
  const message = data.message(request.addr, true);
  if (typeof message === "number") return message;
  const size = sizeOf(message.iov);
  skip(message, request.done);
  const n = process.sendmsg(request.fd, message, (request.opFlags & ~c.MSG_WAITALL) | c.MSG_NOSIGNAL);
  return progress(request, process, n, size, WAIT_OUT, true);
}

/** Leaves out bytes that are sent already. */
function skip(message: Message, bytes: number): void {
  const iov: Uint8Array[] = [];
  for (const piece of message.iov) {
    if (piece.length > bytes) iov.push(piece.subarray(bytes));
    bytes = Math.max(0, bytes - piece.length);
  }
  message.iov = iov;
}
