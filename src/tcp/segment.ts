/** The fields of a received segment that every part of TCP looks at, in host order; sequence numbers as signed words. */
export interface Segment {
  seq: number;
  ack: number;
  flags: number;
  /** As it stands in the header, not scaled. */
  window: number;
  /** Where the payload begins in its packet, and its bytes. */
  offset: number;
  length: number;
  hasTimestamps: boolean;
  tsval: number;
  tsecr: number;
  /** Bytes of each segment of a packet that was coalesced. */
  piece: number;
}
