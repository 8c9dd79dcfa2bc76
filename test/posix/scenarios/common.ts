/** What programs of several subjects begin with. */
export const PAIR4 = `
  s = tcp4
  bind $s 4:127.0.0.1:0
  p = port $s
  listen $s 5
  c = tcp4
  connect $c 4:127.0.0.1:$p
  settle
  a = accept4 $s SOCK_NONBLOCK`;
export const ALL = "POLLIN|POLLPRI|POLLOUT|POLLERR|POLLHUP|POLLRDNORM|POLLWRNORM|POLLRDHUP";
