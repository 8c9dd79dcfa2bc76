/**
 * The control socket: a Unix socket that only its owner may use (0600). A request is one line of JSON, `{ tool, words, input? }`; answers are lines
 * `{ stdout?, stderr? }` until one with `code` ends it. Several requests may follow each other on a connection.
 */
import { chmodSync, mkdirSync, rmSync, statSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { LoomError } from "../base/errors.ts";
import { type Request, run } from "./commands/index.ts";
import type { Router } from "./router.ts";

/** Bytes that may wait for who follows events. */
const MOST_UNREAD = 1 << 20;
/** A ruleset of ten thousand rules fits; a line that never ends does not. */
const MOST_REQUEST = 64 << 20;

/**
 * Makes sure that a control socket can be there, before anything else is done: throws EADDRINUSE when another router answers at it.
 * Its folder is made.
 */
export async function claimControl(path: string): Promise<void> {
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    throw new LoomError("EINVAL", `control socket ${path}: its folder cannot be made: ${(error as Error).message}`);
  }
  await removeStale(path);
}

export async function serveControl(router: Router, path: string): Promise<Server> {
  await claimControl(path);
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    void serve(router, socket).catch(() => socket.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: Error) => reject(new LoomError("EINVAL", `control socket ${path}: ${error.message}`)));
    // Made for nobody else from the first moment, not only after a chmod.
    const mask = process.umask(0o177);
    try {
      server.listen(path, () => resolve());
    } finally {
      process.umask(mask);
    }
  });
  chmodSync(path, 0o600);
  return server;
}

/** A socket that a process left behind goes; one that is answered stays, and so does what is no socket. */
async function removeStale(path: string): Promise<void> {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) return;
  if (!found.isSocket()) throw new LoomError("EEXIST", `control socket ${path}: there is a file of that name that is no socket`);
  const isAnswered = await new Promise<boolean>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
  if (isAnswered) throw new LoomError("EADDRINUSE", `control socket ${path}: another router answers there`);
  rmSync(path);
}

async function serve(router: Router, socket: Socket): Promise<void> {
  let length = 0;
  socket.on("data", (chunk) => {
    length += chunk.length;
    if (length > MOST_REQUEST) socket.destroy();
  });
  for await (const line of createInterface({ input: socket })) {
    length = 0;
    await answer(router, socket, line);
    // One request at a time, and none before the last answer was read; the router has other work in between.
    if (socket.writableNeedDrain) await new Promise((resolve) => socket.once("drain", resolve).once("close", resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function answer(router: Router, socket: Socket, line: string): Promise<void> {
  const send = (message: object) => socket.writable && socket.write(`${JSON.stringify(message)}\n`);
  const request = requestOf(line);
  if (!request) {
    send({ stderr: 'expected a line such as {"tool":"ip","words":["addr"]}\n', code: 2 });
    return;
  }
  const {
    stdout,
    stderr,
    code = 0,
    follow,
  } = await run(router, request).catch((error: Error) => ({
    stdout: undefined,
    stderr: `packetloom: this should not happen: ${error.message}\n`,
    code: 70,
    follow: undefined,
  }));
  if (!follow) {
    send({ stdout, stderr, code });
    return;
  }
  let stop = () => {};
  stop = follow((text) => {
    if (socket.writableLength <= MOST_UNREAD) {
      send({ stdout: text });
      return;
    }
    // What is lost is said, and is the last that is.
    stop();
    send({ stderr: "packetloom: events are not read as fast as they come: some are lost\n", code: 1 });
  });
  socket.once("close", stop);
}

function requestOf(line: string): Request | undefined {
  try {
    const { tool, words, input } = JSON.parse(line);
    const isRight = typeof tool === "string" && Array.isArray(words) && words.every((each) => typeof each === "string");
    return isRight && (input === undefined || typeof input === "string") ? { tool, words, input } : undefined;
  } catch {
    return undefined;
  }
}

/** Asks a running router; resolves with the exit code. */
export function ask(path: string, request: Request, print: (stream: "stdout" | "stderr", text: string) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write(`${JSON.stringify(request)}\n`));
    let code: number | undefined;
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "ENOENT" || error.code === "ECONNREFUSED" ? "no router runs there" : error.message;
      reject(new LoomError("ECONNREFUSED", `control socket ${path}: ${why}; name another with --socket`));
    });
    const lines = createInterface({ input: socket });
    // What the socket says of its errors it says above; the reader says it once more.
    lines.on("error", () => {});
    lines.on("line", (line) => {
      const message = JSON.parse(line);
      for (const stream of ["stdout", "stderr"] as const) if (message[stream]) print(stream, message[stream]);
      if (message.code === undefined) return;
      code = message.code;
      socket.end();
    });
    socket.on("close", () => resolve(code ?? 1));
  });
}
