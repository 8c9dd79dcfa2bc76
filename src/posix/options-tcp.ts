/** IPPROTO_TCP (tcp(7)). */
import { LoomError } from "../base/errors.ts";
import { CONGESTION_NAMES } from "../tcp/congestion/index.ts";
import { RTO_MAX } from "../tcp/rtt.ts";
import { CLOSED, SYN_SENT } from "../tcp/states.ts";
import { DEFAULT_OPTIONS } from "../tcp/tcb.ts";
import * as user from "../tcp/user.ts";
import * as c from "./constants.ts";
import { encodeControlInfo } from "./control-info.ts";
import { EINVAL, ENOENT, EOPNOTSUPP } from "./errno.ts";
import { flag, int, type OptionTable, type SocketOption } from "./options.ts";
import { AO_OPTIONS } from "./options-ao.ts";
import { setMd5Key } from "./options-md5.ts";
import { encodeTcpInfo } from "./tcp-info.ts";
import type { TcpSocket } from "./tcp-socket.ts";

const MOST_SECONDS = 32_767;
const MOST_COUNT = 127;
/** Linux's TCP_FIN_TIMEOUT_MAX (s), SOCK_MIN_RCVBUF / 2, TCP_CA_NAME_MAX, TCP_MIN_MSS, MAX_TCP_WINDOW. */
const MOST_LINGER2 = 120;
const LEAST_CLAMP = 1152;
const NAME_BYTES = 16;
const LEAST_MSS = 88;
const MOST_MSS = 32_767;
const UNSET_MSS = 65_535;
/** Two ticks of Linux's clock, and its TCP_RTO_MIN and TCP_DELACK_MAX. */
const LEAST_TIMEOUT_US = 2000;
const MOST_TIMEOUT_US = 200_000;

/** Seconds to SYN-ACK timeouts that double from one second up to two minutes, and back. */
function timeoutsIn(seconds: number): number {
  if (seconds <= 0) return 0;
  let count = 1;
  for (let period = 1, timeout = 1; seconds > period && count < 255; count++) {
    timeout = Math.min(timeout * 2, 120);
    period += timeout;
  }
  return count;
}

function secondsOf(count: number): number {
  let period = 0;
  for (let i = 0, timeout = 1; i < count; i++, timeout = Math.min(timeout * 2, 120)) period += timeout;
  return period;
}

function keep(which: "keepIdle" | "keepInterval" | "keepCount", most: number): SocketOption<TcpSocket> {
  return int(
    ({ settings }) => settings[which],
    (socket, value) => {
      socket.settings[which] = value;
      socket.settingChanged("keepAlive");
    },
    1,
    most,
  );
}

const congestion: SocketOption<TcpSocket> = {
  get(socket) {
    const out = new Uint8Array(NAME_BYTES);
    new TextEncoder().encodeInto(socket.options.congestion, out);
    return out;
  },
  set(socket, { text, bytes }) {
    if (bytes.length < 1) return -EINVAL;
    if (!CONGESTION_NAMES.includes(text)) return -ENOENT;
    if (socket.tcb && socket.state !== CLOSED) user.setCongestion(socket.tcb, text);
    else socket.options.congestion = text;
    return 0;
  },
};

const maxSegment: SocketOption<TcpSocket> = {
  get({ options, state, tcb }) {
    if (state !== CLOSED && tcb) return tcb.mss;
    return options.maxMss === UNSET_MSS ? 536 : options.maxMss;
  },
  set({ options }, value) {
    if (!value.isInt || (value.int !== 0 && (value.int < LEAST_MSS || value.int > MOST_MSS))) return -EINVAL;
    options.maxMss = value.int || UNSET_MSS;
    return 0;
  },
};

/** Once: who has read it has it. */
const savedSyn: SocketOption<TcpSocket> = {
  get({ tcb }, place) {
    const saved = tcb?.savedSyn;
    if (!tcb || !saved) return new Uint8Array(0);
    if (place && place.length < saved.length) throw new LoomError("EINVAL", `room for ${place.length} bytes; expected ${saved.length}`);
    tcb.savedSyn = undefined;
    return saved;
  },
};

/** 0 or 1, and only before there is a connection. */
function whenClosed(get: (socket: TcpSocket) => boolean, set: (socket: TcpSocket, on: boolean) => void): SocketOption<TcpSocket> {
  return {
    get: (socket) => Number(get(socket)),
    set(socket, value) {
      if (!value.isInt || value.int < 0 || value.int > 1 || socket.state !== CLOSED) return -EINVAL;
      set(socket, value.int === 1);
      return 0;
    },
  };
}

export const TCP_OPTIONS: OptionTable<TcpSocket> = {
  [c.TCP_NODELAY]: flag(
    ({ options }) => options.noDelay,
    ({ options, tcb }, on) => {
      options.noDelay = on;
      if (on && tcb) user.push(tcb);
    },
  ),
  [c.TCP_CORK]: flag(
    ({ options }) => options.cork,
    ({ options, tcb }, on) => {
      options.cork = on;
      if (!on && tcb) user.push(tcb);
    },
  ),
  [c.TCP_MAXSEG]: maxSegment,
  [c.TCP_KEEPIDLE]: keep("keepIdle", MOST_SECONDS),
  [c.TCP_KEEPINTVL]: keep("keepInterval", MOST_SECONDS),
  [c.TCP_KEEPCNT]: keep("keepCount", MOST_COUNT),
  [c.TCP_SYNCNT]: int(
    ({ options, host }) => options.synRetries || host.tcp.settings.synRetries,
    ({ options }, value) => {
      options.synRetries = value;
    },
    1,
    MOST_COUNT,
  ),
  [c.TCP_LINGER2]: int(
    ({ options, host }) => (options.finTimeout < 0 ? -1 : Math.floor((options.finTimeout || host.tcp.settings.finWait2Ms) / 1000)),
    ({ options }, value) => {
      options.finTimeout = value < 0 ? -1 : Math.min(value, MOST_LINGER2) * 1000;
    },
  ),
  [c.TCP_DEFER_ACCEPT]: int(
    ({ options }) => secondsOf(options.deferAccept),
    ({ options }, value) => {
      options.deferAccept = timeoutsIn(value);
    },
  ),
  [c.TCP_WINDOW_CLAMP]: {
    get: ({ options }) => options.windowClamp,
    set(socket, value) {
      if (!value.isInt || (value.int === 0 && socket.state !== CLOSED)) return -EINVAL;
      socket.options.windowClamp = value.int === 0 ? 0 : Math.max(value.int, LEAST_CLAMP);
      return 0;
    },
  },
  [c.TCP_INFO]: { get: (socket) => encodeTcpInfo(socket) },
  [c.TCP_QUICKACK]: flag(
    ({ tcb }) => tcb === undefined || tcb.quickAcks > 0 || tcb.state <= SYN_SENT,
    ({ tcb }, on) => {
      if (tcb) user.quickAck(tcb, on);
    },
  ),
  [c.TCP_CONGESTION]: congestion,
  [c.TCP_USER_TIMEOUT]: int(
    ({ options }) => options.userTimeout,
    ({ options }, value) => {
      options.userTimeout = value;
    },
    0,
  ),
  [c.TCP_NOTSENT_LOWAT]: int(
    ({ options }) => options.notSentLowWater,
    (socket, value) => {
      socket.options.notSentLowWater = value >>> 0;
    },
  ),
  [c.TCP_INQ]: int(
    ({ settings }) => Number(settings.inq),
    ({ settings }, value) => {
      settings.inq = value === 1;
    },
    0,
    1,
  ),
  ...AO_OPTIONS,
  [c.TCP_MD5SIG]: { set: (socket, { bytes }) => setMd5Key(socket, bytes, false) },
  [c.TCP_MD5SIG_EXT]: { set: (socket, { bytes }) => setMd5Key(socket, bytes, true) },
  [c.TCP_FASTOPEN]: {
    get: ({ settings }) => settings.fastOpenQueue,
    set(socket, value) {
      if (!value.isInt || value.int < 0 || (socket.state !== CLOSED && !socket.isListening)) return -EINVAL;
      socket.settings.fastOpenQueue = Math.min(value.int, c.SOMAXCONN);
      socket.fastOpenChanged();
      return 0;
    },
  },
  [c.TCP_FASTOPEN_KEY]: {
    get: ({ settings }) => settings.fastOpenKey ?? new Uint8Array(0),
    set(socket, { bytes }) {
      if (bytes.length !== 16 && bytes.length !== 32) return -EINVAL;
      socket.settings.fastOpenKey = bytes.slice();
      socket.fastOpenChanged();
      return 0;
    },
  },
  [c.TCP_FASTOPEN_CONNECT]: {
    get: ({ settings }) => Number(settings.fastOpenConnect),
    set(socket, value) {
      if (!value.isInt || value.int < 0 || value.int > 1) return -EINVAL;
      if (!socket.host.tcp.settings.fastOpen.client) return -EOPNOTSUPP;
      if (socket.state !== CLOSED) return -EINVAL;
      socket.settings.fastOpenConnect = value.int === 1;
      return 0;
    },
  },
  [c.TCP_FASTOPEN_NO_COOKIE]: whenClosed(
    ({ options }) => options.fastOpenWithoutCookie,
    ({ options }, on) => {
      options.fastOpenWithoutCookie = on;
    },
  ),
  [c.TCP_IS_MPTCP]: int(() => 0),
  [c.TCP_THIN_LINEAR_TIMEOUTS]: int(
    ({ options }) => Number(options.thinLinearTimeouts),
    ({ options }, value) => {
      options.thinLinearTimeouts = value === 1;
    },
    0,
    1,
  ),
  // RACK has taken its place (RFC 8985): Linux takes it, and says 0.
  [c.TCP_THIN_DUPACK]: int(
    () => 0,
    () => {},
    0,
    1,
  ),
  [c.TCP_RTO_MAX_MS]: int(
    ({ options }) => options.rtoMax,
    ({ options, tcb }, value) => {
      options.rtoMax = value;
      if (tcb) tcb.rtt.most = value;
    },
    1000,
    RTO_MAX,
  ),
  [c.TCP_RTO_MIN_US]: int(
    ({ options }) => options.rtoMin * 1000,
    ({ options, tcb }, value) => {
      options.rtoMin = Math.ceil(value / 1000);
      if (tcb) tcb.rtt.least = options.rtoMin;
    },
    LEAST_TIMEOUT_US,
    MOST_TIMEOUT_US,
  ),
  [c.TCP_DELACK_MAX_US]: int(
    ({ settings }) => settings.ackDelayMost * 1000,
    ({ options, settings }, value) => {
      settings.ackDelayMost = Math.ceil(value / 1000);
      options.ackDelay = Math.min(DEFAULT_OPTIONS.ackDelay, settings.ackDelayMost);
    },
    LEAST_TIMEOUT_US,
    MOST_TIMEOUT_US,
  ),
  [c.TCP_SAVE_SYN]: int(
    ({ options }) => options.saveSyn,
    ({ options }, value) => {
      options.saveSyn = value as 0 | 1 | 2;
    },
    0,
    2,
  ),
  [c.TCP_SAVED_SYN]: savedSyn,
  [c.TCP_CC_INFO]: { get: ({ tcb }) => (tcb ? encodeControlInfo(tcb.control) : new Uint8Array(0)) },
  [c.TCP_TIMESTAMP]: int(({ tcb }) => tcb?.tsval ?? 0),
};
