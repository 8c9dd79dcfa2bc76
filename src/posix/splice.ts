/**
 * Moves bytes between descriptors (splice(2)): by way of a pipe as Linux has it, or from one to the other. Two connections
 * of one engine hand over whole slabs, without a copy.
 */
import { MSG_PEEK, O_NONBLOCK, SOCK_STREAM, SPLICE_F_MORE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from "./constants.ts";
import type { Description } from "./description.ts";
import { EAGAIN, EBADF, EINVAL } from "./errno.ts";
import type { Message } from "./message.ts";
import { type PipeBuffer, PipeReader, PipeWriter } from "./pipe.ts";
import { Socket } from "./socket.ts";
import { TcpSocket } from "./tcp-socket.ts";

const CHUNK = 65_536;
const FLAGS = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE;

/** As Linux: one end must be a pipe. Bytes moved, 0 at the end of the source, or a negative error. */
export function splice(source: Description, target: Description, length: number, flags: number): number {
  if (flags & ~FLAGS) return -EINVAL;
  if (length === 0) return 0;
  if (source instanceof PipeWriter || target instanceof PipeReader) return -EBADF;
  if (source instanceof PipeReader)
    return target instanceof PipeWriter && target.buffer === source.buffer ? -EINVAL : fromPipe(source.buffer, target, length);
  return target instanceof PipeWriter ? toPipe(source, target, length) : -EINVAL;
}

function fromPipe(buffer: PipeBuffer, target: Description, length: number): number {
  if (buffer.length === 0) return buffer.writer ? -EAGAIN : 0;
  let done = 0;
  while (done < length && buffer.length > 0) {
    const piece = buffer.front(length - done);
    const n = target.write(piece);
    if (n < 0) return done || n;
    buffer.drop(n);
    done += n;
    if (n < piece.length) break;
  }
  return done;
}

function toPipe(source: Description, target: PipeWriter, length: number): number {
  const room = Math.min(target.buffer.room, length);
  if (room === 0) return -EAGAIN;
  // What is urgent is not spliced (tcp_read_sock): recv steps over it.
  if (source instanceof TcpSocket && source.isAtMark) return source.status & O_NONBLOCK ? -EAGAIN : 0;
  const bytes = new Uint8Array(room);
  const n = source.read(bytes);
  return n > 0 ? target.write(bytes.subarray(0, n)) : n;
}

/**
 * Moves up to `length` bytes from one descriptor to another without a pipe in between: what a proxy does. Bytes moved, 0 at
 * the end of the source, -EAGAIN when there is nothing or no room for it, -EINVAL for what is no stream.
 */
export function move(source: Description, target: Description, length: number): number {
  if (source instanceof TcpSocket && target instanceof TcpSocket && source.sharesMemory(target)) return source.moveTo(target, length);
  if (source instanceof PipeReader) return fromPipe(source.buffer, target, length);
  if (target instanceof PipeWriter) return toPipe(source, target, length);
  if (!(source instanceof Socket) || source.type !== SOCK_STREAM) return -EINVAL;
  const message: Message = { iov: [new Uint8Array(Math.min(length, CHUNK))], nameless: true };
  const there = source.receive(message, MSG_PEEK);
  if (there <= 0) return there;
  const taken = target.write(message.iov[0].subarray(0, there));
  if (taken <= 0) return taken;
  message.iov = [message.iov[0].subarray(0, taken)];
  return source.receive(message, 0);
}
