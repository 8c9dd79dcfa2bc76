/**
 * Helpers of connection tracking. A flow has one by its number (abi.EXTENSION_HELPER): the place in this list, plus one, whatever ruleset gave
 * it, so that it keeps its helper when rules change.
 */
export const HELPER_NAMES = ["ftp", "tftp", "sip"] as const;
export type HelperName = (typeof HELPER_NAMES)[number];

/** 0: there is none of that name. */
export const helperNumber = (name: string): number => HELPER_NAMES.indexOf(name as HelperName) + 1;
export const helperName = (number: number): HelperName | undefined => HELPER_NAMES[number - 1];
