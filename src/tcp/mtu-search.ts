/** What a connection knows of the largest segment that its path takes (RFC 4821 §7.3); mtu-probe.ts finds it out. Sizes are bytes of payload. */
export interface MtuSearch {
  /** What passes; what may not; what the peer and the interface allow. */
  low: number;
  high: number;
  limit: number;
  /** The probe under way: its size, 0 when there is none, and its bytes. */
  size: number;
  start: number;
  end: number;
  /** When something was last learnt (ms). */
  at: number;
}
