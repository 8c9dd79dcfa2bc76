#!/usr/bin/env node
/** The command line. Wrong input is one sentence on stderr and exit code 2; a failed verification is exit code 1. */
import { constants } from "node:fs";
import { access, rename, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { LoomError } from "../base/errors.ts";
import { addControl } from "./control.ts";
import { coresOf, demo } from "./demo.ts";
import { demoText } from "./demo-text.ts";
import { forward, forwardText } from "./forward.ts";
import { reportHtml } from "./report.ts";
import { routerCommand } from "./router.ts";

const VERSION = "0.1.0";

function numberBetween(low: number, high: number, whole = true) {
  return (text: string): number => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= low && value <= high) || (whole && !Number.isInteger(value))) {
      throw new InvalidArgumentError(`expected a ${whole ? "whole " : ""}number from ${low} to ${high}.`);
    }
    return value;
  };
}

const collect = (value: string, before: string[] = []) => [...before, value];

function oneOf(...values: string[]) {
  return (text: string): string => {
    if (!values.includes(text)) throw new InvalidArgumentError(`expected ${values.join(" or ")}.`);
    return text;
  };
}

/** A sentence for a file that cannot be written; a file that is there stays as it is. */
async function checkWritable(path: string): Promise<void> {
  const there = await access(path).then(
    () => true,
    () => false,
  );
  await access(there ? path : dirname(path), constants.W_OK).catch(() => {
    throw new LoomError("EINVAL", `cannot write ${path}: ${there ? "it is not writable" : "its folder does not exist or is not writable"}`);
  });
  if (there && (await stat(path)).isDirectory()) throw new LoomError("EINVAL", `cannot write ${path}: it is a folder`);
}

/** The whole file or nothing: written beside its place, then moved there. Devices and pipes are written directly. */
async function write(path: string, text: string): Promise<void> {
  const special = await stat(path).then(
    (found) => !found.isFile(),
    () => false,
  );
  const beside = special ? path : `${path}.${process.pid}.part`;
  try {
    await writeFile(beside, text);
    if (!special) await rename(beside, path);
  } catch (error) {
    throw new LoomError("EINVAL", `cannot write ${path}: ${(error as Error).message}`);
  }
}

/** Whoever reads our output may stop; whatever else goes wrong with it is said. */
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(process.exitCode ?? 0);
  process.stderr.write(`packetloom: cannot write the output: ${error.message}\n`);
  process.exit(2);
});

const program = new Command("packetloom");
program
  .description("A network you can import: the packet engine at the command line.")
  .version(VERSION)
  .exitOverride()
  .configureOutput({ writeErr: (text) => void process.stderr.write(text) });

program
  .command("demo")
  .description("load the Internet's routing tables, forward traffic through them, verify and compare")
  .option("--routes <file>", "use these routes instead (text, `ip route`, MRT; gz or bz2); may be repeated", collect)
  .option("--seconds <n>", "time for each row of the result", numberBetween(0.05, 60, false), 1)
  .option("--cores <n>", "workers of the all-cores rows; 1 leaves them out", numberBetween(1, 15))
  .option("--seed <n>", "seed of the traffic", numberBetween(0, 2 ** 32 - 1), 1)
  .option("--json", "print the result as one JSON object")
  .option("--report <file>", "write a self-contained page with charts")
  .action(async (options) => {
    // Before the run, not after it: a page that cannot be written is known at once.
    if (options.report) await checkWritable(options.report);
    const result = await demo({ ...options, cores: coresOf(options.cores), quiet: options.json === true });
    console.log(options.json ? JSON.stringify(result) : demoText(result));
    if (options.report) await write(options.report, await reportHtml(result));
    if (!result.verified) process.exitCode = 1;
  });

program
  .command("forward")
  .description(
    "forward the packets of a capture through a routing table into another capture; next hop n gets the made-up MAC 02:01:00:00:00:n",
  )
  .requiredOption("--pcap <file>", "capture to read (pcap or pcapng)")
  .requiredOption("--routes <file>", "routes (text, `ip route`, MRT; gz or bz2); may be repeated", collect)
  .requiredOption("--out <file>", "capture to write")
  .option("--format <format>", "pcap or pcapng", oneOf("pcap", "pcapng"), "pcap")
  .option("--mtu <n>", "MTU of every next hop", numberBetween(68, 65_535), 1500)
  .option("--json", "print the result as one JSON object")
  .action(async (options) => {
    await checkWritable(options.out);
    const result = await forward({ ...options, quiet: options.json === true });
    console.log(options.json ? JSON.stringify(result) : forwardText(result, options.out));
    if (!options.json) for (const warning of result.warnings) process.stderr.write(`warning: ${warning}\n`);
  });

program
  .command("router")
  .description("run a router by its configuration until it is told to end; SIGHUP reads the file again")
  .requiredOption("--config <file>", "the configuration (docs/router.md)")
  .option("--check", "only look whether the configuration is right")
  .option("--top", "show what it does, live")
  .action(routerCommand);

addControl(program);

async function main(): Promise<void> {
  try {
    // Who calls it without a command asks what there is.
    if (process.argv.length === 2) program.outputHelp();
    else await program.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 2;
      return;
    }
    if (!(error instanceof LoomError)) throw error;
    process.stderr.write(`packetloom: ${error.message}\n`);
    process.exitCode = 2;
  }
}

await main();
