/** What of a model's Markdown may become part of the page: addresses to which a link may lead, and plain characters. */

const ADDRESS_LENGTH_MAX = 2_000; // longer than browsers and servers agree on

/** Returns the address if a link may lead there (web and mail, absolute), else null. */
export function safeAddress(address: string): string | null {
  if (address.length > ADDRESS_LENGTH_MAX) return null;
  let url: URL;
  try {
    url = new URL(decodeEntities(address)); // no base: a link that stays on this page is not for a model to make
  } catch {
    return null;
  }
  if (url.username !== "" || url.password !== "") return null; // https://bank.example@evil.example reads as the bank
  return url.protocol === "https:" || url.protocol === "http:" || url.protocol === "mailto:" ? url.href : null;
}

const NAMED: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

/**
 * Returns the text with the character references that models write (`&amp;`, `&#39;`) as characters. The result is
 * text and is only ever put into text nodes.
 */
export function decodeEntities(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,5}));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return NAMED[name as string] ?? whole;
    const point = decimal === undefined ? Number.parseInt(hex as string, 16) : Number.parseInt(decimal as string, 10);
    const usable = point >= 0x20 && point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff);
    return usable ? String.fromCodePoint(point) : "\ufffd";
  });
}
