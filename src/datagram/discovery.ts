/** How an endpoint of datagrams finds what its path takes: the values of IP_MTU_DISCOVER (ip(7)), and what each means. */
export interface Discovery {
  /** What is too large is cut here; else it is an error. */
  readonly mayFragment: boolean;
  /** Routers may cut it: IPv4's DF is not set. */
  readonly mayBeCut: boolean;
  /** What ICMP says of the path is not believed: only the interface's MTU counts. */
  readonly byLink: boolean;
}

export const DISCOVERY = {
  dont: { mayFragment: true, mayBeCut: true, byLink: false },
  want: { mayFragment: true, mayBeCut: false, byLink: false },
  do: { mayFragment: false, mayBeCut: false, byLink: false },
  probe: { mayFragment: false, mayBeCut: false, byLink: true },
  interface: { mayFragment: false, mayBeCut: true, byLink: true },
  omit: { mayFragment: true, mayBeCut: true, byLink: true },
} as const satisfies Record<string, Discovery>;
