// Run by every runtime from a scratch project: the package as users get it.
import { Engine, format4, loadRoutes, parse4, parseMac } from "packetloom";
import { BURST } from "packetloom/abi";
import { serializeIpv4 } from "packetloom/wire";

const fail = (what) => {
  throw new Error(what);
};

for (const threads of [0, 1]) {
  const engine = await Engine.create({ ports: 2, routes4: 1000, routes6: 100, threads, generatorBytes: 200_000 });
  const { v4 } = await loadRoutes(new TextEncoder().encode("10.0.0.0/8 1\n10.1.0.0/16 2\n"), "rib");
  const table = engine.createTable(4);
  for (const last of ["01", "02"]) {
    table.addNextHop({
      kind: "forward",
      port: 1,
      sourceMac: parseMac("02:00:00:00:00:10"),
      destinationMac: parseMac(`02:00:00:00:01:${last}`),
    });
  }
  table.load(v4);
  if (table.lookup("10.1.2.3") !== 2) fail("lookup");
  engine.port(0).configure({ table4: table });
  const packet = serializeIpv4({ protocol: 17, source: parse4("192.0.2.1"), destination: parse4("10.1.2.3"), payload: new Uint8Array(26) });
  const frame = new Uint8Array(14 + packet.length);
  frame.set(engine.port(0).macBytes);
  frame.set([8, 0], 12);
  frame.set(packet, 14);
  if (!engine.port(0).receive(frame)) fail("receive");
  engine.start();
  let out;
  for (let i = 0; i < 400 && !out; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    engine.port(1).transmitted((bytes) => (out = bytes.slice()));
  }
  await engine.close();
  if (out?.[5] !== 2 || out[22] !== 63) fail(`forwarding with ${threads} threads: ${out}`);
  if (engine.pool().inFlight !== 0) fail("buffers are missing");
  console.log(`${engine.build} build, ${threads} threads: ${format4(parse4("10.1.2.3"))} forwarded, bursts of ${BURST}`);
}
