/** Names of numbers in scripts: those of `src/posix`, and what only scripts say (values of Linux's UAPI headers). */
import * as constants from "../../src/posix/constants.ts";
import * as errors from "../../src/posix/errno.ts";

const MORE: Readonly<Record<string, number>> = {
  NULL: 0,
  SOL_IP: 0,
  SOL_TCP: 6,
  SOL_UDP: 17,
  SOL_IPV6: 41,
  EWOULDBLOCK: 11,
  ENOTSUP: 95,
  EDEADLOCK: 35,
  TCP_INFINITE_SSTHRESH: 0x7fffffff,
  SCM_TIMESTAMPING: 37,
  SO_NO_CHECK: 11,
  SO_BSDCOMPAT: 14,
  SO_ATTACH_FILTER: 26,
  SO_DETACH_FILTER: 27,
  SO_BUSY_POLL: 46,
  SO_TXREHASH: 74,
  SOF_TIMESTAMPING_TX_HARDWARE: 1,
  SOF_TIMESTAMPING_TX_SOFTWARE: 2,
  SOF_TIMESTAMPING_RX_HARDWARE: 4,
  SOF_TIMESTAMPING_RX_SOFTWARE: 8,
  SOF_TIMESTAMPING_SOFTWARE: 16,
  SOF_TIMESTAMPING_SYS_HARDWARE: 32,
  SOF_TIMESTAMPING_RAW_HARDWARE: 64,
  SOF_TIMESTAMPING_OPT_ID: 128,
  SOF_TIMESTAMPING_TX_SCHED: 256,
  SOF_TIMESTAMPING_TX_ACK: 512,
  SOF_TIMESTAMPING_OPT_CMSG: 1024,
  SOF_TIMESTAMPING_OPT_TSONLY: 2048,
  SOF_TIMESTAMPING_OPT_STATS: 4096,
  SOF_TIMESTAMPING_OPT_PKTINFO: 8192,
  SOF_TIMESTAMPING_OPT_TX_SWHW: 16384,
  SCM_TSTAMP_SND: 0,
  SCM_TSTAMP_SCHED: 1,
  SCM_TSTAMP_ACK: 2,
  SCM_TIMESTAMPING_OPT_STATS: 54,
  SO_EE_ORIGIN_TXSTATUS: 4,
  SO_EE_ORIGIN_TIMESTAMPING: 4,
  SO_EE_ORIGIN_TXTIME: 6,
  IP_MTU_DISCOVER: 10,
  IP_PMTUDISC_INTERFACE: 4,
  IP_PMTUDISC_OMIT: 5,
  TCP_COOKIE_TRANSACTIONS: 15,
  TCP_REPAIR: 19,
  TCP_MD5SIG_EXT: 32,
  TCP_REPAIR_WINDOW: 29,
  TCP_ULP: 31,
  O_ACCMODE: 3,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_NOCTTY: 0o400,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  F_GETOWN: 9,
  F_SETOWN: 8,
  SEEK_SET: 0,
  SEEK_CUR: 1,
  SEEK_END: 2,
  SPLICE_F_GIFT: 8,
  MSG_TRYHARD: 4,
  MSG_PROXY: 16,
  MSG_FIN: 0x200,
  MSG_SYN: 0x400,
  MSG_RST: 0x1000,
  POLLMSG: 0x400,
  POLLREMOVE: 0x1000,
  EPOLLMSG: 0x400,
};

/** enum tcp_nla: names of what SCM_TIMESTAMPING_OPT_STATS carries, in order from 0. */
const NLA =
  "PAD BUSY RWND_LIMITED SNDBUF_LIMITED DATA_SEGS_OUT TOTAL_RETRANS PACING_RATE DELIVERY_RATE SND_CWND REORDERING MIN_RTT RECUR_RETRANS DELIVERY_RATE_APP_LMT SNDQ_SIZE CA_STATE SND_SSTHRESH DELIVERED DELIVERED_CE BYTES_SENT BYTES_RETRANS DSACK_DUPS REORD_SEEN SRTT";

const known = new Map<string, number>(Object.entries(MORE));
for (const [i, name] of NLA.split(" ").entries()) known.set(`TCP_NLA_${name}`, i);
for (const [name, value] of [...Object.entries(constants), ...Object.entries(errors)])
  if (typeof value === "number") known.set(name, value);

export const symbol = (name: string): number | undefined => known.get(name);

const errorNames = new Map<number, string>();
for (const [name, value] of Object.entries(errors)) {
  // The first name of a number is the one that strerrorname_np(3) says.
  if (/^E[A-Z0-9]+$/.test(name) && typeof value === "number" && name !== "EWOULDBLOCK") errorNames.set(value, name);
}

/** "EAGAIN" for 11. */
export const errorName = (number: number): string => errorNames.get(number) ?? `errno ${number}`;

/** What the code of scripts may name besides the fields of TCP_INFO (include/net/tcp_states.h, linux/tcp.h). */
export const CODE_NAMES: Readonly<Record<string, number>> = {
  TCP_ESTABLISHED: 1,
  TCP_SYN_SENT: 2,
  TCP_SYN_RECV: 3,
  TCP_FIN_WAIT1: 4,
  TCP_FIN_WAIT2: 5,
  TCP_TIME_WAIT: 6,
  TCP_CLOSE: 7,
  TCP_CLOSE_WAIT: 8,
  TCP_LAST_ACK: 9,
  TCP_LISTEN: 10,
  TCP_CLOSING: 11,
  TCP_CA_Open: 0,
  TCP_CA_Disorder: 1,
  TCP_CA_CWR: 2,
  TCP_CA_Recovery: 3,
  TCP_CA_Loss: 4,
  TCPI_OPT_TIMESTAMPS: 1,
  TCPI_OPT_SACK: 2,
  TCPI_OPT_WSCALE: 4,
  TCPI_OPT_ECN: 8,
  TCPI_OPT_ECN_SEEN: 16,
  TCPI_OPT_SYN_DATA: 32,
  TCPI_OPT_USEC_TS: 64,
  TCPI_OPT_TFO_CHILD: 128,
};
