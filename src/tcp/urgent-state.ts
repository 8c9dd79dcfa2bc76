/** What a connection remembers of urgent data (RFC 9293 §3.8.5); what is done with it stands in urgent.ts. */

/** What becomes of the octet that a peer calls urgent. */
export type UrgentData = "ignored" | "inline" | "apart";

/** Made when the first urgent data is sent or announced. */
export class Urgent {
  /** Sending: the number behind the urgent octet; until that is acknowledged segments point to it. */
  end = 0;
  sends = false;
  /** Receiving: is a mark known, has its octet come, was it read apart; where it is, and what it is. */
  state: "none" | "awaited" | "here" | "read" = "none";
  mark = 0;
  octet = 0;
}
