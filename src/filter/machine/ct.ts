/** What is known of a packet's connection: ct's keys (nft_ct). What does not lie ready is asked of the data plane by a call. */
import * as abi from "../../../assembly/abi.ts";
import { invalid } from "../../base/errors.ts";
import type { CtKey, Direction, Family } from "../expressions.ts";
import type { Code } from "./code.ts";
import type { Emitter } from "./emitter.ts";
import { always, type Known, LOADED, loadWords } from "./reading.ts";

/** Bytes of a helper's name (linux/netfilter/nf_conntrack_helper.h, NF_CT_HELPER_NAME_LEN). */
export const HELPER_NAME = 16;

/** Pushes the address of the flow's hot record; without a flow the rule ends. */
function pushFlow(e: Emitter): Code {
  const flow = e.temporary();
  const c = e.vector(abi.VEC_FLOW, 4).tee(flow).eqz();
  e.failIf();
  return c.i32(e.program.places.flows).load(4, abi.FLOWS_HOT).get(flow).i32(1).shrU().i32(abi.FLOW_SIZE).mul().add();
}

const ofFlow = (offset: number, bytes: 1 | 2 | 4): Known => ({
  bytes,
  certain: false,
  emit(e, [to]) {
    pushFlow(e).load(bytes, offset).set(to);
  },
});

/** The name of the helper that has announced the packet's flow: its master's, as in nft_ct. */
const HELPER: Known = {
  bytes: HELPER_NAME,
  certain: false,
  emit(e, to) {
    const c = e.code.get(e.worker).get(e.position).i32(abi.CTFIELD_HELPER).i32(0);
    e.scratch(LOADED).call(e.program.plane("flowLoad")).eqz();
    e.failIf();
    const name = e.temporary();
    c.get(e.worker).load(4, abi.WORKER_SCRATCH + LOADED);
    c.i32(HELPER_NAME).mul().i32(e.program.places.helpers).add().set(name);
    loadWords(c, name, 0, HELPER_NAME, to);
  },
};

const DIRECTIONS: Record<Direction, number> = { original: 0, reply: 1 };

/** By call; `family`: the flow must be of it. */
function byCall(field: number, bytes: number, direction: Direction | undefined, family?: 4 | 6): Known {
  return {
    bytes,
    certain: false,
    emit(e, to) {
      if (family !== undefined) {
        pushFlow(e).load(1, abi.FLOW_SPACE).i32(abi.SPACE_IP6).and();
        if (family === 4) e.failIf();
        else {
          e.code.eqz();
          e.failIf();
        }
      }
      const c = e.code
        .get(e.worker)
        .get(e.position)
        .i32(field)
        .i32(direction === undefined ? 2 : DIRECTIONS[direction]);
      e.scratch(LOADED).call(e.program.plane("flowLoad")).eqz();
      e.failIf();
      loadWords(c, e.worker, abi.WORKER_SCRATCH + LOADED, bytes, to);
    },
  };
}

export function ctOf(key: CtKey, family: Family, direction: Direction | undefined): Known {
  const far = (field: number, bytes: number, of?: 4 | 6) => byCall(field, bytes, direction, of);
  switch (key) {
    case "state":
      return always(4, (e) => e.vector(abi.VEC_CTINFO, 1).i32(15).and().load(1, e.program.places.states));
    case "direction":
      return {
        bytes: 1,
        certain: false,
        emit(e, [to]) {
          pushFlow(e).pop();
          e.vector(abi.VEC_FLOW, 4).i32(1).and().set(to);
        },
      };
    case "status":
      return ofFlow(abi.FLOW_STATUS, 4);
    case "mark":
      return ofFlow(abi.FLOW_MARK, 4);
    case "protocol":
      return ofFlow(abi.FLOW_PROTOCOL, 1);
    case "l3protocol":
      return {
        bytes: 1,
        certain: false,
        emit(e, [to]) {
          e.code.i32(2).i32(10);
          pushFlow(e).load(1, abi.FLOW_SPACE).i32(abi.SPACE_IP6).and().eqz().select().set(to);
        },
      };
    case "zone":
      return direction === undefined ? ofFlow(abi.FLOW_ZONE, 2) : far(abi.CTFIELD_ZONE, 2);
    case "src":
    case "dst":
      return far(key === "src" ? abi.CTFIELD_SOURCE : abi.CTFIELD_DESTINATION, family === "ip6" ? 16 : 4, family === "ip6" ? 6 : 4);
    case "src_ip":
    case "dst_ip":
      return far(key === "src_ip" ? abi.CTFIELD_SOURCE : abi.CTFIELD_DESTINATION, 4, 4);
    case "src_ip6":
    case "dst_ip6":
      return far(key === "src_ip6" ? abi.CTFIELD_SOURCE : abi.CTFIELD_DESTINATION, 16, 6);
    case "proto_src":
      return far(abi.CTFIELD_SOURCE_PORT, 2);
    case "proto_dst":
      return far(abi.CTFIELD_DESTINATION_PORT, 2);
    case "expiration":
      return far(abi.CTFIELD_EXPIRATION, 4);
    case "label":
      return far(abi.CTFIELD_LABELS, 16);
    case "packets":
      return far(abi.CTFIELD_PACKETS, 8);
    case "bytes":
      return far(abi.CTFIELD_BYTES, 8);
    case "avgpkt":
      return far(abi.CTFIELD_AVERAGE, 8);
    case "id":
      return far(abi.CTFIELD_ID, 4);
    case "helper":
      return HELPER;
    default:
      throw invalid(`ct ${key} cannot be read`);
  }
}
