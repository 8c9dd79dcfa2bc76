/** SOL_SOCKET (socket(7)). */
import {
  SO_ACCEPTCONN,
  SO_BROADCAST,
  SO_DOMAIN,
  SO_ERROR,
  SO_KEEPALIVE,
  SO_LINGER,
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
  SO_TYPE,
} from "./constants.ts";
import { EINVAL } from "./errno.ts";
import { InetSocket } from "./inet-socket.ts";
import { flag, int, intBytes, type OptionTable, type SocketOption, timeval } from "./options.ts";
import type { Socket } from "./socket.ts";

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

const inet = (socket: Socket) => (socket instanceof InetSocket ? socket : undefined);

export const SOCKET_OPTIONS: OptionTable<Socket> = {
  [SO_TYPE]: int((socket) => socket.type),
  [SO_DOMAIN]: int((socket) => socket.domain),
  [SO_PROTOCOL]: int((socket) => socket.protocol),
  [SO_ACCEPTCONN]: flag((socket) => socket.isListening),
  [SO_ERROR]: int((socket) => -socket.takeError()),
  [SO_REUSEADDR]: flag(
    (socket) => inet(socket)?.reuseAddress ?? false,
    (socket, on) => {
      if (socket instanceof InetSocket) socket.reuseAddress = on;
    },
  ),
  [SO_REUSEPORT]: flag(
    ({ settings }) => settings.reusePort,
    ({ settings }, on) => {
      settings.reusePort = on;
    },
  ),
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
  [SO_LINGER]: linger,
  [SO_RCVBUF]: buffer("receiveBuffer", MOST),
  [SO_RCVBUFFORCE]: buffer("receiveBuffer", INT_MAX >> 1),
  [SO_SNDBUF]: buffer("sendBuffer", MOST),
  [SO_SNDBUFFORCE]: buffer("sendBuffer", INT_MAX >> 1),
  [SO_RCVLOWAT]: int(
    ({ settings }) => settings.receiveLowWater,
    (socket, value) => {
      socket.settings.receiveLowWater = value < 0 ? INT_MAX : value || 1;
      socket.settingChanged("receiveLowWater");
    },
  ),
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
