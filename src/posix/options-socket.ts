/** SOL_SOCKET (socket(7)). */
import { LoomError } from "../base/errors.ts";
import {
  SO_ACCEPTCONN,
  SO_BINDTODEVICE,
  SO_BINDTOIFINDEX,
  SO_BROADCAST,
  SO_COOKIE,
  SO_DOMAIN,
  SO_ERROR,
  SO_INCOMING_CPU,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_MARK,
  SO_MAX_PACING_RATE,
  SO_MEMINFO,
  SO_NETNS_COOKIE,
  SO_OOBINLINE,
  SO_PASSCRED,
  SO_PEERCRED,
  SO_PROTOCOL,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_RCVLOWAT,
  SO_RCVTIMEO,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SO_SNDLOWAT,
  SO_SNDTIMEO,
  SO_TIMESTAMP,
  SO_TIMESTAMPING,
  SO_TIMESTAMPNS,
  SO_TYPE,
  SO_ZEROCOPY,
  SOF_TIMESTAMPING_OPT_ID,
  SOF_TIMESTAMPING_OPT_ID_TCP,
} from "./constants.ts";
import { EINVAL, ENODEV, ENOPROTOOPT, ENOTSUP } from "./errno.ts";
import { InetSocket } from "./inet-socket.ts";
import { flag, int, intBytes, type OptionTable, type SocketOption, timeval } from "./options.ts";
import type { Socket } from "./socket.ts";
import { TcpSocket } from "./tcp-socket.ts";
import { checkTimestamping } from "./timestamping.ts";
import { UnixSocket } from "./unix-socket.ts";

/** Linux's net.core.{r,w}mem_max, and the least that it gives. */
const MOST = 212_992;
const LEAST = { receiveBuffer: 2304, sendBuffer: 4608 };
const INT_MAX = 0x7fff_ffff;

/** Linux gives twice what was asked for, since it counts its own overhead; getsockopt shows the double. */
function buffer(which: "receiveBuffer" | "sendBuffer", most: number): SocketOption<Socket> {
  return {
    get: (socket) => socket.bufferSize(which),
    set(socket, value) {
      if (!value.isInt) return -EINVAL;
      const asked = value.int < 0 ? most : Math.min(value.int, most);
      socket.settings[which] = Math.max(2 * asked, LEAST[which]);
      socket.settingChanged(which);
      return 0;
    },
  };
}

const linger: SocketOption<Socket> = {
  get: ({ settings }) => intBytes(Number(settings.linger !== undefined), settings.linger ?? 0),
  set({ settings }, value) {
    if (value.bytes.length < 8) return -EINVAL;
    settings.linger = value.word(0) ? value.word(1) : undefined;
    return 0;
  },
};

/** Bytes a second in four or eight bytes; all ones: no limit. */
const pacingRate: SocketOption<Socket> = {
  get(socket) {
    const out = new Uint8Array(8).fill(255);
    const rate = socket instanceof TcpSocket ? socket.options.maxPacingRate : 0;
    if (rate > 0) new DataView(out.buffer).setBigUint64(0, BigInt(Math.floor(rate)), true);
    return out;
  },
  set(socket, value) {
    if (!(socket instanceof TcpSocket)) return -ENOPROTOOPT;
    if (!value.isInt) return -EINVAL;
    const { bytes } = value;
    const rate = bytes.length >= 8 ? new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true) : BigInt(value.int >>> 0);
    const isUnlimited = rate === 0xffff_ffff_ffff_ffffn || (bytes.length < 8 && rate === 0xffff_ffffn);
    socket.options.maxPacingRate = isUnlimited ? 0 : Number(rate);
    return 0;
  },
};

/** The name of an interface, or nothing for all. */
const device: SocketOption<Socket> = {
  get: ({ settings }) => new TextEncoder().encode(settings.device === undefined ? "" : `${settings.device}\0`),
  set(socket, { text }) {
    if (!(socket instanceof InetSocket)) return -ENOPROTOOPT;
    if (text !== "" && !socket.host.ip.interfaces.some((each) => each.name === text)) return -ENODEV;
    socket.settings.device = text === "" ? undefined : text;
    socket.settingChanged("device");
    return 0;
  },
};

const deviceIndex: SocketOption<Socket> = {
  get: (socket) => inet(socket)?.boundInterface?.index ?? 0,
  set(socket, value) {
    if (!(socket instanceof InetSocket)) return -ENOPROTOOPT;
    if (!value.isInt || value.int < 0) return -EINVAL;
    const iface = socket.host.ip.interfaces.find((each) => each.index === value.int);
    if (value.int !== 0 && !iface) return -ENODEV;
    socket.settings.device = iface?.name;
    socket.settingChanged("device");
    return 0;
  },
};

/** SK_MEMINFO_*: bytes that wait to be read and what may, the same of what was written, and what was dropped. */
const memory: SocketOption<Socket> = {
  get(socket) {
    const { unread, unsent, drops } = socket.held();
    return intBytes(unread, socket.bufferSize("receiveBuffer"), unsent, socket.bufferSize("sendBuffer"), 0, unsent, 0, 0, drops);
  },
};

/** What routing rules may look at. */
const mark: SocketOption<Socket> = {
  get: ({ settings }) => settings.mark,
  set(socket, value) {
    if (!value.isInt) return -EINVAL;
    socket.settings.mark = value.int;
    socket.settingChanged("mark");
    return 0;
  },
};

const peerCredentials: SocketOption<Socket> = {
  get(socket) {
    if (!(socket instanceof UnixSocket)) return intBytes(0, -1, -1);
    const { pid, uid, gid } = socket.endpoint.peerCredentials ?? { pid: 0, uid: -1, gid: -1 };
    return intBytes(pid, uid, gid);
  },
};

/** struct so_timestamping: the flags, and a clock of hardware. */
const timestamping: SocketOption<Socket> = {
  get: ({ settings }) => intBytes(settings.timestamping, 0),
  set(socket, value) {
    if (!value.isInt) return -EINVAL;
    const refusal = checkTimestamping(value.int);
    if (refusal < 0) return refusal;
    const { settings } = socket;
    if (value.int & SOF_TIMESTAMPING_OPT_ID & ~settings.timestamping) {
      const key = socket.firstTimestampKey((value.int & SOF_TIMESTAMPING_OPT_ID_TCP) !== 0);
      if (key === undefined) return -EINVAL;
      settings.timestampKey = key;
    }
    settings.timestamping = value.int;
    return 0;
  },
};

const stamps = (unit: "us" | "ns"): SocketOption<Socket> =>
  flag(
    ({ settings }) => settings.stamps === unit,
    ({ settings }, on) => {
      if (on) settings.stamps = unit;
      else settings.stamps = undefined;
    },
  );

/** A number for each host. */
const netnsCookies = new WeakMap<object, number>();
let lastNetns = 0;
const netnsCookie: SocketOption<Socket> = {
  get(socket, place) {
    if (!(socket instanceof InetSocket)) throw new LoomError("ENOPROTOOPT", "of sockets of a network");
    if (place && place.length < 8) throw new LoomError("EINVAL", `room for ${place.length} bytes; expected 8`);
    const cookie = netnsCookies.get(socket.host) ?? ++lastNetns;
    netnsCookies.set(socket.host, cookie);
    return wide(cookie);
  },
};

const inet = (socket: Socket) => (socket instanceof InetSocket ? socket : undefined);

function wide(value: number): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(value), true);
  return out;
}

export const SOCKET_OPTIONS: OptionTable<Socket> = {
  [SO_TYPE]: int((socket) => socket.type),
  [SO_DOMAIN]: int((socket) => socket.domain),
  [SO_PROTOCOL]: int((socket) => socket.protocol),
  [SO_ACCEPTCONN]: flag((socket) => socket.isListening),
  [SO_COOKIE]: {
    get(socket, place) {
      if (place && place.length < 8) throw new LoomError("EINVAL", `room for ${place.length} bytes; expected 8`);
      return wide(socket.cookie);
    },
  },
  // All packets are handled by the thread that owns the host.
  [SO_INCOMING_CPU]: int(() => 0),
  [SO_ERROR]: int((socket) => -socket.takeError()),
  [SO_REUSEADDR]: flag(
    (socket) => inet(socket)?.reuseAddress ?? false,
    (socket, on) => {
      if (socket instanceof InetSocket) socket.reuseAddress = on;
    },
  ),
  [SO_REUSEPORT]: flag(
    ({ settings }) => settings.reusePort,
    (socket, on) => {
      socket.settings.reusePort = on;
      socket.settingChanged("reusePort");
    },
  ),
  [SO_ZEROCOPY]: {
    get: ({ settings }) => Number(settings.zeroCopy),
    set(socket, value) {
      if (!(socket instanceof TcpSocket)) return -ENOTSUP;
      if (!value.isInt || value.int < 0 || value.int > 1) return -EINVAL;
      socket.settings.zeroCopy = value.int === 1;
      return 0;
    },
  },
  [SO_MAX_PACING_RATE]: pacingRate,
  [SO_BINDTODEVICE]: device,
  [SO_BINDTOIFINDEX]: deviceIndex,
  [SO_MARK]: mark,
  [SO_MEMINFO]: memory,
  [SO_NETNS_COOKIE]: netnsCookie,
  [SO_BROADCAST]: flag(
    ({ settings }) => settings.broadcast,
    (socket, on) => {
      socket.settings.broadcast = on;
      socket.settingChanged("broadcast");
    },
  ),
  [SO_KEEPALIVE]: flag(
    ({ settings }) => settings.keepAlive,
    (socket, on) => {
      socket.settings.keepAlive = on;
      socket.settingChanged("keepAlive");
    },
  ),
  [SO_PASSCRED]: flag(
    ({ settings }) => settings.passCredentials,
    ({ settings }, on) => {
      settings.passCredentials = on;
    },
  ),
  [SO_PEERCRED]: peerCredentials,
  [SO_LINGER]: linger,
  [SO_RCVBUF]: buffer("receiveBuffer", MOST),
  [SO_RCVBUFFORCE]: buffer("receiveBuffer", INT_MAX >> 1),
  [SO_SNDBUF]: buffer("sendBuffer", MOST),
  [SO_SNDBUFFORCE]: buffer("sendBuffer", INT_MAX >> 1),
  [SO_RCVLOWAT]: int(
    ({ settings }) => settings.receiveLowWater,
    (socket, value) => {
      socket.settings.receiveLowWater = Math.min(value < 0 ? INT_MAX : value || 1, socket.mostLowWater);
      socket.settingChanged("receiveLowWater");
    },
  ),
  [SO_OOBINLINE]: flag(
    (socket) => (socket instanceof TcpSocket ? socket.options.urgentData === "inline" : socket.settings.oobInline),
    (socket, on) => {
      socket.settings.oobInline = on;
      if (socket instanceof TcpSocket) socket.options.urgentData = on ? "inline" : "apart";
    },
  ),
  [SO_TIMESTAMPING]: timestamping,
  [SO_TIMESTAMP]: stamps("us"),
  [SO_TIMESTAMPNS]: stamps("ns"),
  [SO_SNDLOWAT]: int(() => 1),
  [SO_RCVTIMEO]: timeval(
    ({ settings }) => settings.receiveTimeout,
    ({ settings }, ms) => {
      settings.receiveTimeout = ms;
    },
  ),
  [SO_SNDTIMEO]: timeval(
    ({ settings }) => settings.sendTimeout,
    ({ settings }, ms) => {
      settings.sendTimeout = ms;
    },
  ),
};
