/** Numbers of io_uring (include/uapi/linux/io_uring.h): operations, and the bits that go with them. */

export const IORING_OP_NOP = 0;
export const IORING_OP_POLL_ADD = 6;
export const IORING_OP_POLL_REMOVE = 7;
export const IORING_OP_SENDMSG = 9;
export const IORING_OP_RECVMSG = 10;
export const IORING_OP_TIMEOUT = 11;
export const IORING_OP_TIMEOUT_REMOVE = 12;
export const IORING_OP_ACCEPT = 13;
export const IORING_OP_ASYNC_CANCEL = 14;
export const IORING_OP_LINK_TIMEOUT = 15;
export const IORING_OP_CONNECT = 16;
export const IORING_OP_CLOSE = 19;
export const IORING_OP_READ = 22;
export const IORING_OP_WRITE = 23;
export const IORING_OP_SEND = 26;
export const IORING_OP_RECV = 27;
export const IORING_OP_SPLICE = 30;
export const IORING_OP_PROVIDE_BUFFERS = 31;
export const IORING_OP_REMOVE_BUFFERS = 32;
export const IORING_OP_SHUTDOWN = 34;
export const IORING_OP_SOCKET = 45;
export const IORING_OP_SEND_ZC = 47;
export const IORING_OP_BIND = 56;
export const IORING_OP_LISTEN = 57;

export const IOSQE_IO_LINK = 4;
export const IOSQE_IO_HARDLINK = 8;
export const IOSQE_ASYNC = 16;
export const IOSQE_BUFFER_SELECT = 32;
export const IOSQE_CQE_SKIP_SUCCESS = 64;

/** In `ioprio` of accept and recv, in `len` of poll, in `op_flags` of timeouts. */
export const IORING_ACCEPT_MULTISHOT = 1;
export const IORING_RECV_MULTISHOT = 2;
export const IORING_POLL_ADD_MULTI = 1;
export const IORING_TIMEOUT_ABS = 1;
export const IORING_TIMEOUT_ETIME_SUCCESS = 32;
export const IORING_ASYNC_CANCEL_ALL = 1;
export const IORING_ASYNC_CANCEL_FD = 2;
export const IORING_ASYNC_CANCEL_ANY = 4;

/** A buffer was chosen (its number in the upper half); more completions follow; this is one of memory only. */
export const IORING_CQE_F_BUFFER = 1;
export const IORING_CQE_F_MORE = 2;
export const IORING_CQE_F_SOCK_NONEMPTY = 4;
export const IORING_CQE_F_NOTIF = 8;
export const IORING_CQE_BUFFER_SHIFT = 16;
