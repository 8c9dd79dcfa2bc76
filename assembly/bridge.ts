/**
 * The road of frames through a bridge with rules (family bridge): prerouting, then the switch, then forward and postrouting for each port that
 * a frame leaves by. Connections are not tracked here, and the bridge has no host of its own.
 */
import {
  BRIDGE_FILTERING, BRIDGE_PORTS, DESC_INGRESS, DESC_PACKET_LENGTH, NONE, NO_PORT, PORT_BRIDGE, PORT_MAC, SEGMENT_BRIDGE_FORWARD,
  SEGMENT_BRIDGE_POSTROUTING, SEGMENT_BRIDGE_PREROUTING, VEC_IDS, VEC_LIST4, VEC_OIF, VEC_SEGMENT, WORKER_BURST_BYTES,
} from "./abi";
import { descriptorAt } from "./core/layout";
import { hasProgram, runSegment } from "./node/rules";
import { admitFrame, bridgeAt, copyFor, FRAME_TCI, FRAME_VLAN, leaveBridge } from "./node/switch";
import { forget } from "./node/track";
import { describeFrame } from "./wire/frame";

export function hasBridgeRules(net: usize): bool {
  return hasProgram(net, SEGMENT_BRIDGE_PREROUTING) || hasProgram(net, SEGMENT_BRIDGE_FORWARD) || hasProgram(net, SEGMENT_BRIDGE_POSTROUTING);
}

export function bridgeBurst(worker: usize, port: usize, portIndex: u32, net: usize, n: u32): void {
  const bridge = bridgeAt(load<u16>(port, PORT_BRIDGE)), list = worker + VEC_LIST4;
  const filtering = load<u32>(bridge, BRIDGE_FILTERING) != 0;
  const own = load<u64>(port, PORT_MAC);
  let bytes: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const d = descriptorAt(load<u32>(worker + (<usize>i << 2), VEC_IDS));
    store<u32>(d, portIndex, DESC_INGRESS);
    describeFrame(d, own);
    bytes += load<u32>(d, DESC_PACKET_LENGTH);
    store<u16>(list + (<usize>i << 1), <u16>i);
  }
  forget(worker, net, list, n);
  const kept = runSegment(worker, net, SEGMENT_BRIDGE_PREROUTING, list, n);
  for (let k: u32 = 0; k < kept; k++) {
    const i = <u32>load<u16>(list + (<usize>k << 1)), targets = admitFrame(worker, port, portIndex, bridge, filtering, i);
    if (targets != 0) leaveBy(worker, net, bridge, filtering, targets, i);
  }
  store<u64>(worker, bytes, WORKER_BURST_BYTES);
}

/** By each of the targets: clones for all but the last, which gets the frame itself. */
function leaveBy(worker: usize, net: usize, bridge: usize, filtering: bool, targets: u64, i: u32): void {
  const at = worker + (<usize>i << 2), vlan = load<u32>(worker, FRAME_VLAN), tci = load<u32>(worker, FRAME_TCI), id = load<u32>(at, VEC_IDS);
  while (targets != 0) {
    const member = <u32>ctz<u64>(targets);
    targets &= targets - 1;
    const copy = copyFor(worker, id, targets);
    if (copy == NONE) continue;
    const egress = <u32>load<u16>(bridge + (<usize>member << 1), BRIDGE_PORTS);
    store<u32>(at, copy, VEC_IDS);
    store<u16>(worker + (<usize>i << 1), <u16>egress, VEC_OIF);
    if (passes(worker, net, SEGMENT_BRIDGE_FORWARD, i) && passes(worker, net, SEGMENT_BRIDGE_POSTROUTING, i))
      leaveBridge(worker, bridge, load<u32>(at, VEC_IDS), member, filtering, vlan, tci);
  }
  store<u16>(worker + (<usize>i << 1), NO_PORT, VEC_OIF);
}

function passes(worker: usize, net: usize, segment: u32, i: u32): bool {
  store<u16>(worker, <u16>i, VEC_SEGMENT);
  return runSegment(worker, net, segment, worker + VEC_SEGMENT, 1) != 0;
}
