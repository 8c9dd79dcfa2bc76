/**
 * The front door: two ports, one table, a loop.
 *
 * Frames of a capture come in by port 0, are routed by the table, and leave by port 1 into another capture:
 *
 *   npx esbuild examples/forward.ts --bundle --platform=node --format=esm --outfile=forward.mjs \
 *     --external:packetloom && node forward.mjs in.pcap out.pcap
 */
import { readFileSync, writeFileSync } from "node:fs";
import { CaptureWriter, Engine, type Punt, parseMac, Recorder, Replay, readCapture } from "packetloom";

const [input, output] = process.argv.slice(2);
if (!input || !output) {
  console.error("forward.mjs needs two captures, one to read and one to write: node forward.mjs in.pcap out.pcap");
  process.exit(2);
}

// All memory is sized here, once. Two ports and one worker are the default.
const engine = await Engine.create({ ports: 2, routes4: 1000 });

// A table, and next hops: numbers that routes name.
const routes = engine.createTable(4);
const north = routes.addNextHop({
  kind: "forward",
  port: 1,
  sourceMac: engine.port(1).macBytes,
  destinationMac: parseMac("02:00:00:00:00:aa"),
});
const south = routes.addNextHop({
  kind: "forward",
  port: 1,
  sourceMac: engine.port(1).macBytes,
  destinationMac: parseMac("02:00:00:00:00:bb"),
});
routes.set("0.0.0.0/0", north);
routes.set("10.0.0.0/8", south);
routes.set("10.66.0.0/16", routes.addNextHop({ kind: "blackhole" }));

engine.port(0).configure({ table4: routes, promiscuous: true });

// What the data plane will not decide alone comes up here, with its reason and its bytes.
engine.punted = (punt: Punt) => {
  console.log(`${punt.reason}: ${punt.bytes().length} bytes`);
  punt.release();
};

// Devices: one feeds port 0, one takes what leaves port 1.
const replay = new Replay(engine.port(0), readCapture(readFileSync(input), input).packets);
const writer = new CaptureWriter();
const recorder = new Recorder(engine.port(1), writer, () => BigInt(Date.now()) * 1_000_000n);
engine.attach(replay).attach(recorder);

// The loop: devices in, packets through, devices out; a round returns what it moved.
while (!replay.done || engine.poll() > 0) engine.poll();

writeFileSync(output, writer.bytes());
const { stats, drops, punts } = engine.counters();
console.log({ received: stats.received, transmitted: stats.transmitted, drops, punts });
