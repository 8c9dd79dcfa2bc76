/**
 * The language of nftables (nft 1.0.6): text to commands, commands to a ruleset, the ruleset to expressions of the register machine, to
 * text and to JSON.
 */
export type { Command } from "./ast.ts";
export { NftError, type Source } from "./faults.ts";
export { fromJson, isJson } from "./from-json.ts";
export { type Existing, existingRules } from "./iptables/existing.ts";
export { type TranslateOptions, translated, translateIptables } from "./iptables/index.ts";
export { type RulesetJson, rulesetJson } from "./json.ts";
export { type ListOptions, listRuleset } from "./list.ts";
export { type Parsed, parseRuleset } from "./parse.ts";
export { printNetlink } from "./print-netlink.ts";
export { type Applied, type ApplyOptions, Ruleset, type RulesetOptions } from "./ruleset.ts";
