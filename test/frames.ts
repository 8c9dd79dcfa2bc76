/** A sound frame or two. */
import { addressBytes4, ETHERTYPE, serializeEthernet, serializeIpv4, serializeUdp } from "../src/wire/index.ts";

/** A UDP datagram from 192.0.2.1 to 10.0.0.1. */
export function plainFrame(destination: Uint8Array, to = 0x0a000001, payload = new Uint8Array(18)): Uint8Array {
  const addresses = { source: addressBytes4(0xc0000201), destination: addressBytes4(to) };
  const udp = serializeUdp({ sourcePort: 1000, destinationPort: 2000, payload }, addresses);
  const packet = serializeIpv4({ protocol: 17, source: 0xc0000201, destination: to, payload: udp });
  return serializeEthernet({ destination, source: Uint8Array.of(2, 9, 9, 9, 9, 9), type: ETHERTYPE.ipv4, payload: packet });
}
