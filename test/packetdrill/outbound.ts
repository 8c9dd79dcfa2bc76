/** Expecting a packet: waits for it, puts the segments of a wire together to what the script says, and compares. */
import { compare, continues, merge } from "./compare.ts";
import { showPacket, showScriptPacket } from "./notation.ts";
import { ACK, type Packet, PSH, SYN, type Tcp } from "./packet.ts";
import type { Peer } from "./peer.ts";
import type { Runner } from "./runner.ts";
import { Mismatch, type ScriptPacket } from "./script.ts";
import type { Sent } from "./wire.ts";

/** How much later than expected a packet is waited for, so that it can be shown. */
const PATIENCE = 2000;
const FOREVER = 24 * 3_600_000;

/** The next packet of the socket under test. */
async function nextPacket(runner: Runner, peer: Peer, expected: ScriptPacket): Promise<Sent> {
  const { wire, timing } = runner;
  const limit = timing.isFree ? wire.now + FOREVER : timing.until + PATIENCE;
  for (;;) {
    await wire.run(limit, () => wire.sent.length > 0);
    const sent = wire.sent.shift();
    if (!sent) throw new Mismatch(`no packet was sent until ${timing.show(wire.now)} s\n  expected: ${showScriptPacket(expected)}`);
    if (peer.owns(sent.packet)) return sent;
    runner.options.trace?.(`${timing.show(sent.at)} ${showPacket(sent.packet, "out")} (of another connection)`);
  }
}

/** The initial sequence number of a SYN-ACK is told by the first packet that answers the script's SYN. */
function learn(peer: Peer, expected: ScriptPacket, { transport }: Packet): void {
  if (expected.protocol !== "tcp" || transport.protocol !== "tcp") return;
  if ((expected.flags & (SYN | ACK)) !== (SYN | ACK) || peer.state !== "packet received") return;
  peer.expectsSynAck(expected);
  peer.sawSynAck(transport);
}

interface Seen {
  readonly at: number;
  readonly packet: Packet;
  readonly pieces: readonly Sent[];
}

/** One packet, or as many segments as it takes to fill what the script expects. */
async function gather(runner: Runner, peer: Peer, expected: ScriptPacket): Promise<Seen> {
  const pieces: { at: number; packet: Packet }[] = [];
  const wanted = "length" in expected ? expected.length : 0;
  for (let got = 0; ; ) {
    const sent = await nextPacket(runner, peer, expected);
    learn(peer, expected, sent.packet);
    const packet = peer.outbound(sent.packet);
    const last = pieces.at(-1)?.packet.transport as Tcp | undefined;
    pieces.push({ at: sent.at, packet });
    const { transport } = packet;
    if (transport.protocol !== "tcp" || expected.protocol !== "tcp") return { ...sent, packet, pieces };
    const isLast = got + transport.payload.length >= wanted;
    if (last && !continues(last, transport, isLast))
      throw mismatch(runner, expected, pieces, ["segments: this one does not continue those before it"]);
    got += transport.payload.length;
    if (got >= wanted || runner.config.strictSegments || transport.payload.length === 0) {
      const tcp = merge(pieces.map(({ packet: { transport: each } }) => each as Tcp));
      // Linux sets PSH on whatever it hands down to be segmented, wherever the data ends.
      const flags = pieces.length > 1 ? tcp.flags | (expected.flags & PSH) : tcp.flags;
      return { at: sent.at, packet: { ip: packet.ip, transport: pieces.length === 1 ? transport : { ...tcp, flags } }, pieces };
    }
  }
}

function mismatch(runner: Runner, expected: ScriptPacket, pieces: readonly Sent[], differences: readonly string[]): Mismatch {
  const { timing } = runner;
  const ace = expected.protocol === "tcp" && expected.ace !== undefined;
  const when = timing.isFree ? "*" : timing.show(timing.at);
  const seen = pieces.map(({ at, packet }) => `  seen:     ${timing.show(at)} ${showPacket(packet, "out", expected.ip, ace)}`);
  return new Mismatch(
    [
      `the packet is not the expected one (${differences.map((each) => each.split(":")[0]).join(", ")})`,
      `  expected: ${when} ${showScriptPacket(expected)}`,
      ...seen,
      ...differences.map((each) => `  differs:  ${each}`),
    ].join("\n"),
  );
}

function compareTimestamps(runner: Runner, peer: Peer, expected: ScriptPacket, actual: Packet, out: string[]): void {
  if (expected.protocol !== "tcp" || actual.transport.protocol !== "tcp") return;
  const pair = peer.timestampOf(expected, actual.transport);
  if (!pair) return;
  const { config, timing, options } = runner;
  const off = (Math.abs((pair.actual.val - pair.expected.val) | 0) * config.tsTick) / 1000;
  if (off > timing.timestampTolerance) out.push(`TS val: expected ${pair.expected.val}, got ${pair.actual.val}`);
  if (options.strict && pair.expected.ecr !== pair.actual.ecr) out.push(`TS ecr: expected ${pair.expected.ecr}, got ${pair.actual.ecr}`);
}

export async function expectPacket(runner: Runner, peer: Peer, expected: ScriptPacket): Promise<void> {
  const { timing, options } = runner;
  const isSyn = expected.protocol === "tcp" && (expected.flags & (SYN | ACK)) === SYN;
  if (isSyn && peer.state === "connecting") peer.expectsSyn(expected);
  const { at, packet, pieces } = await gather(runner, peer, expected);
  const differences = compare(expected, packet);
  compareTimestamps(runner, peer, expected, packet, differences);
  if (expected.ip.flowLabel && packet.ip.family === 6) {
    const wrong = peer.flowLabelError(expected.ip.flowLabel, packet.ip.flowLabel);
    if (wrong) differences.push(wrong);
  }
  const late = timing.error(at);
  if (late) differences.push(late);
  for (const piece of pieces) options.trace?.(`${timing.show(piece.at)} ${showPacket(piece.packet, "out", expected.ip)}`);
  if (differences.length > 0) throw mismatch(runner, expected, pieces, differences);
}
