/** Where log lines go: the standard output, or a file that is opened again when it was moved away (SIGHUP, or a new start). */
import { createWriteStream, type WriteStream } from "node:fs";

export class LogFile {
  private readonly path: string | undefined;
  private stream: WriteStream | undefined;

  /** Without a path, or with "-" or "stdout": the standard output. */
  constructor(path: string | undefined) {
    this.path = path === undefined || path === "-" || path === "stdout" ? undefined : path;
    this.reopen();
  }

  write(line: string): void {
    (this.stream ?? process.stdout).write(`${line}\n`);
  }

  /** For those who rotate: what is written from now on goes to a file of that name. */
  reopen(): void {
    if (this.path === undefined) return;
    this.stream?.end();
    this.stream = createWriteStream(this.path, { flags: "a", mode: 0o640 });
    // A full disk stops the lines, not the router.
    this.stream.on("error", (error) => process.stderr.write(`packetloom: log ${this.path}: ${error.message}\n`));
  }

  close(): void {
    this.stream?.end();
  }
}
