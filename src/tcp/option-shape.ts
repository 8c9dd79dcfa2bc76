/** What each TCP option has to be, for those who write them down: `connect`, `listen`, `Host.create({ tcp })`. */
import { amount, anything, listOf, oneOf, type Shape, whole, yesNo } from "../base/options.ts";
import { CONGESTION_NAMES } from "./congestion/index.ts";
import type { TcpOptions } from "./tcb.ts";

const bufferBytes = whole(1, 2 ** 31 - 1);
const ecn = oneOf("off", "ecn", "accecn");

export const TCP_SHAPE: Shape<TcpOptions> = {
  congestion: oneOf(...CONGESTION_NAMES),
  pacing: yesNo,
  maxPacingRate: amount("bytes a second"),
  noDelay: yesNo,
  sack: yesNo,
  timestamps: yesNo,
  windowScaling: yesNo,
  initialWindow: whole(0, 65_535),
  maxMss: whole(1, 65_535),
  minHopLimit: whole(0, 255),
  sendBuffer: bufferBytes,
  receiveBuffer: bufferBytes,
  keepAlive: amount("seconds"),
  keepAliveInterval: amount("seconds"),
  keepAliveProbes: whole(0, 127),
  rtoMin: whole(1, 120_000),
  rtoMax: whole(1000, 120_000),
  ackDelay: whole(0, 500),
  thinLinearTimeouts: yesNo,
  saveSyn: whole(0, 2),
  userTimeout: amount("milliseconds"),
  advertisedTimeout: whole(0, 1_966_020),
  hopLimit: whole(1, 255),
  fastOpen: yesNo,
  ecnRequest: ecn,
  ecnAccept: ecn,
  trafficClass: whole(0, 255),
  fastOpenWithoutCookie: yesNo,
  cork: yesNo,
  synRetries: whole(0, 127),
  // Below 0: reset.
  finTimeout: amount("milliseconds", Number.NEGATIVE_INFINITY),
  deferAccept: whole(0, 255),
  windowClamp: whole(0, 2 ** 31 - 1),
  notSentLowWater: whole(0, 2 ** 32 - 1),
  mark: whole(0, 2 ** 32 - 1),
  reuseAddress: yesNo,
  md5Keys: listOf(anything),
  aoKeys: listOf(anything),
  aoRequired: yesNo,
  aoAcceptIcmps: yesNo,
  urgentData: oneOf("ignored", "inline", "apart"),
};
