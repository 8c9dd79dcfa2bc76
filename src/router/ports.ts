/** What a router needs of the engine of rules. */
export interface RuleEngine {
  /** Commands of nft, all of them or none. Throws a LoomError with nft's own words. */
  apply(text: string): void;
  /** `nft list ruleset`. */
  list(): string;
  /** `nft -j list ruleset`. */
  json(): unknown;
}
