/**
 * The road of frames through a bridge with rules (families bridge and netdev), in the kernel's order. Connections are not tracked here.
 *
 *   from a port:    ingress → prerouting → switch ─┬→ forward → postrouting → egress, for each port that the frame leaves by
 *                                                  └→ input, to the bridge's own host, behind the others
 *   from the host:  switch → output → postrouting → egress, likewise
 */
import {
  BRIDGE_FILTERING, BRIDGE_HOST, BRIDGE_PORTS, DESC_INGRESS, DESC_PACKET_LENGTH, NONE, NO_PORT, PORT_BRIDGE, PORT_MAC, PORT_MEMBER, SEGMENT_BRIDGE_FORWARD,
  SEGMENT_BRIDGE_INPUT, SEGMENT_BRIDGE_OUTPUT, SEGMENT_BRIDGE_POSTROUTING, SEGMENT_BRIDGE_PREROUTING, SEGMENT_EGRESS, SEGMENT_INGRESS, VEC_IDS, VEC_LIST4,
  VEC_OIF, VEC_SEGMENT, WORKER_BURST_BYTES,
} from "./abi";
import { descriptorAt, hasProgram, portAt } from "./core/layout";
import { runSegment } from "./node/rules";
import { admitFrame, bridgeAt, copyFor, FRAME_TCI, FRAME_VLAN, leaveBridge } from "./node/switch";
import { forget } from "./node/track";
import { describeFrame } from "./wire/frame";

export function hasBridgeRules(net: usize): bool {
  for (let segment: u32 = SEGMENT_BRIDGE_PREROUTING; segment <= <u32>SEGMENT_BRIDGE_OUTPUT; segment++) if (hasProgram(net, segment)) return true;
  return hasProgram(net, SEGMENT_INGRESS) || hasProgram(net, SEGMENT_EGRESS);
}

export function bridgeBurst(worker: usize, port: usize, portIndex: u32, net: usize, n: u32): void {
  const bridge = bridgeAt(load<u16>(port, PORT_BRIDGE)), list = worker + VEC_LIST4, host = load<u64>(bridge, BRIDGE_HOST);
  const filtering = load<u32>(bridge, BRIDGE_FILTERING) != 0, isOwn = ((host >> <u64>load<u16>(port, PORT_MEMBER)) & 1) != 0;
  const ingress: u32 = isOwn ? NO_PORT : portIndex, mine = load<u64>(port, PORT_MAC), bridges = host == 0 ? mine : macOf(bridge, host);
  let bytes: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const d = descriptorAt(load<u32>(worker + (<usize>i << 2), VEC_IDS));
    store<u32>(d, ingress, DESC_INGRESS);
    describeFrame(d, mine, bridges);
    bytes += load<u32>(d, DESC_PACKET_LENGTH);
    store<u16>(list + (<usize>i << 1), <u16>i);
  }
  forget(worker, net, list, n);
  let kept = n;
  if (!isOwn) kept = runSegment(worker, net, SEGMENT_BRIDGE_PREROUTING, list, runSegment(worker, net, SEGMENT_INGRESS, list, n));
  for (let k: u32 = 0; k < kept; k++) {
    const i = <u32>load<u16>(list + (<usize>k << 1)), targets = admitFrame(worker, port, portIndex, bridge, filtering, i);
    if (targets == 0) continue;
    store<u32>(descriptorAt(load<u32>(worker + (<usize>i << 2), VEC_IDS)), ingress, DESC_INGRESS);
    leaveBy(worker, net, bridge, filtering, targets, i, isOwn ? SEGMENT_BRIDGE_OUTPUT : SEGMENT_BRIDGE_FORWARD);
  }
  store<u64>(worker, bytes, WORKER_BURST_BYTES);
}

/** Address of the bridge itself: that of the port to its host. */
function macOf(bridge: usize, host: u64): u64 {
  return load<u64>(portAt(<u32>load<u16>(bridge + (<usize>ctz<u64>(host) << 1), BRIDGE_PORTS)), PORT_MAC);
}

/** By each of the targets, the host last: clones for all but the last, which gets the frame itself. */
function leaveBy(worker: usize, net: usize, bridge: usize, filtering: bool, targets: u64, i: u32, segment: u32): void {
  const at = worker + (<usize>i << 2), vlan = load<u32>(worker, FRAME_VLAN), tci = load<u32>(worker, FRAME_TCI), id = load<u32>(at, VEC_IDS);
  const host = targets & load<u64>(bridge, BRIDGE_HOST);
  let ports = targets ^ host;
  while (ports != 0) {
    const member = <u32>ctz<u64>(ports);
    ports &= ports - 1;
    const copy = copyFor(worker, id, ports | host);
    if (copy == NONE) continue;
    store<u32>(at, copy, VEC_IDS);
    store<u16>(worker + (<usize>i << 1), load<u16>(bridge + (<usize>member << 1), BRIDGE_PORTS), VEC_OIF);
    if (passes(worker, net, segment, i) && passes(worker, net, SEGMENT_BRIDGE_POSTROUTING, i) && passes(worker, net, SEGMENT_EGRESS, i))
      leaveBridge(worker, bridge, load<u32>(at, VEC_IDS), member, filtering, vlan, tci);
  }
  store<u16>(worker + (<usize>i << 1), NO_PORT, VEC_OIF);
  if (host == 0) return;
  store<u32>(at, id, VEC_IDS);
  if (passes(worker, net, SEGMENT_BRIDGE_INPUT, i))
    leaveBridge(worker, bridge, load<u32>(at, VEC_IDS), <u32>ctz<u64>(host), filtering, vlan, tci);
}

function passes(worker: usize, net: usize, segment: u32, i: u32): bool {
  store<u16>(worker, <u16>i, VEC_SEGMENT);
  return runSegment(worker, net, segment, worker + VEC_SEGMENT, 1) != 0;
}
