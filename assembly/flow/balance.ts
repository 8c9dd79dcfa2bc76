/**
 * What load balancing makes of a new flow: its backend, and for mode "nat" the translation that leads there (a request as rules
 * make them). Asked with the first packet's tuple; afterwards the flow knows.
 */
import {
  BACKEND_ADDRESS, BACKEND_MODE, BACKEND_PORT, BALANCE_NAT, NATREQ_FAMILY, NATREQ_FLAGS, NATREQ_KIND, NATREQ_MAX, NATREQ_MAX_PORT,
  NATREQ_MIN, NATREQ_MIN_PORT, NATREQ_SIZE, NAT_DESTINATION, NONE, TUPLE_KIND, TUPLE_PORTS, KIND_IP6,
} from "../abi";
import { chooseBackend } from "../table/affinity";
import { backendAt, findService, mapped, NOBODY } from "../table/balance";
import { swap16 } from "../wire/bytes";
import { RANGE_ADDRESSES, RANGE_PORTS } from "./allocate";
import { hasPorts } from "../wire/l4";

/** The destination is no service. */
export const NOT_SERVED: u32 = NONE;

/**
 * The backend of a new flow (its original tuple), NOBODY when its service has none that takes flows, or NOT_SERVED. For a backend
 * of mode "nat" the request is filled (NATREQ_*); other modes leave the packet as it is. The caller keeps the number in the flow
 * and tells `flowOpened`, and `flowClosed` when the flow is forgotten.
 */
export function serveFlow(tuple: usize, seconds: u32, request: usize): u32 {
  const kind = load<u32>(tuple, TUPLE_KIND), protocol = (kind >>> 16) & 0xff, is4 = (kind & KIND_IP6) == 0;
  if (!hasPorts(protocol)) return NOT_SERVED;
  const ports = load<u32>(tuple, TUPLE_PORTS), from = swap16(ports & 0xffff), to = swap16(ports >>> 16);
  const service = is4 ? findService(0, mapped(load<u32>(tuple, 4)), protocol, to)
    : findService(load<u64>(tuple, 16), load<u64>(tuple, 24), protocol, to);
  if (service == 0) return NOT_SERVED;
  const backend = is4 ? chooseBackend(service, 0, mapped(load<u32>(tuple)), from, seconds)
    : chooseBackend(service, load<u64>(tuple), load<u64>(tuple, 8), from, seconds);
  if (backend != NOBODY && <u32>load<u8>(backendAt(backend), BACKEND_MODE) == BALANCE_NAT) askFor(backendAt(backend), is4, request);
  return backend;
}

/** One address and, unless the client's port stays, one port. */
function askFor(backend: usize, is4: bool, request: usize): void {
  const port = load<u16>(backend, BACKEND_PORT), address = backend + BACKEND_ADDRESS + (is4 ? 12 : 0), width: usize = is4 ? 4 : 16;
  memory.fill(request, 0, NATREQ_SIZE);
  store<u8>(request, NAT_DESTINATION, NATREQ_KIND);
  store<u8>(request, is4 ? 4 : 6, NATREQ_FAMILY);
  store<u16>(request, <u16>(RANGE_ADDRESSES | (port != 0 ? RANGE_PORTS : 0)), NATREQ_FLAGS);
  store<u16>(request, port, NATREQ_MIN_PORT);
  store<u16>(request, port, NATREQ_MAX_PORT);
  memory.copy(request + NATREQ_MIN, address, width);
  memory.copy(request + NATREQ_MAX, address, width);
}
