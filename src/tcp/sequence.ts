/** Sequence numbers: 32-bit, compared by their distance (RFC 9293 §3.4). Held as signed words. */
export const before = (a: number, b: number): boolean => ((a - b) | 0) < 0;
export const after = (a: number, b: number): boolean => ((a - b) | 0) > 0;
/** Bytes from `b` to `a`, signed. */
export const distance = (a: number, b: number): number => (a - b) | 0;
export const later = (a: number, b: number): number => (((a - b) | 0) > 0 ? a : b);

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const URG = 32;
