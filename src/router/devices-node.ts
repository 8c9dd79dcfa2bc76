/** Devices by their description in a configuration, on Node: the kernel's interfaces, captures, generated traffic. */
import { readFileSync, writeFileSync } from "node:fs";
import { LoomError } from "../base/errors.ts";
import { IpAddress } from "../base/ip-address.ts";
import type { Device, Engine } from "../engine/engine.ts";
import type { Port } from "../engine/port.ts";
import type { DeviceFor } from "../host/host.ts";
import { attachGenerator, detachGenerator } from "../link/generator.ts";
import { packet } from "../link/packet.ts";
import { CaptureWriter, readCapture } from "../link/pcap.ts";
import { qemuListen } from "../link/qemu-node.ts";
import { Recorder, Replay } from "../link/replay.ts";
import { tap } from "../link/tap.ts";
import { xdp } from "../link/xdp.ts";
import type { OuterDevice } from "./schema.ts";

export function deviceOf(config: OuterDevice): DeviceFor {
  switch (config.kind) {
    case "tap":
      return tap(without(config));
    case "packet":
      return packet(without(config));
    case "xdp":
      return xdp(without(config));
    case "qemu":
      return qemuListen({ path: config.listen });
    case "pcap":
      return (engine, port) => captures(config, engine, port);
    case "generator":
      return (engine, port) => generator(config, engine, port);
  }
}

function without<T extends { readonly kind: string }>({ kind: _, ...rest }: T): Omit<T, "kind"> {
  return rest;
}

type Of<Kind> = Extract<OuterDevice, { kind: Kind }>;

/** What one capture holds comes in, what leaves is written into another one, which is complete when the interface goes. */
function captures({ in: input, out, speed = "recorded" }: Of<"pcap">, engine: Engine, port: Port): Device {
  const packets = input === undefined ? [] : readCapture(read(input), input).packets;
  const replay = new Replay(port, packets, { speed, clock: engine.clock });
  const writer = new CaptureWriter();
  const stamp = () => BigInt(Math.round(engine.clock.now() * 1e6));
  const recorder = out === undefined ? undefined : new Recorder(port, writer, stamp);
  const forget = (budget: number) => port.transmitted(() => {}, budget);
  if (out !== undefined) write(out, writer);
  return {
    name: "pcap",
    poll: (budget) => replay.poll(budget) + (recorder ? recorder.poll(budget) : forget(budget)),
    close: () => {
      if (out !== undefined) write(out, writer);
    },
  };
}

function read(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw new LoomError("ENOENT", `cannot read the capture ${path}: ${(error as Error).message}`);
  }
}

function write(path: string, writer: CaptureWriter): void {
  try {
    writeFileSync(path, writer.bytes());
  } catch (error) {
    throw new LoomError("EINVAL", `cannot write ${path}: ${(error as Error).message}`);
  }
}

/** The data plane makes these packets itself, and swallows what is sent to the port: there is nothing to move. */
function generator({ destinations, frameSize = 64, flows, count }: Of<"generator">, engine: Engine, port: Port): Device {
  const addresses = destinations.map((text) => IpAddress.parse(text));
  const { family } = addresses[0];
  const bytes = addresses.map((each) => each.bytes());
  const targets =
    family === 4
      ? Uint32Array.from(bytes, (each) => new DataView(each.slice().buffer).getUint32(0))
      : Uint8Array.from(bytes.flatMap((each) => [...each]));
  attachGenerator(engine, port, {
    family,
    frameSize: family === 6 && typeof frameSize === "number" ? Math.max(frameSize, 66) : frameSize,
    flows,
    destinations: targets,
    count: count === undefined ? undefined : BigInt(count),
  });
  return { name: "generator", poll: () => 0, close: () => detachGenerator(engine, port) };
}
