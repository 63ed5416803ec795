/**
 * Emphasis, code, links and text of a model's Markdown as elements. Elements come from a fixed table and everything
 * else is text, so there is no HTML that could be wrong: none is ever made or read.
 */
import type { ComponentChild } from "preact";
import type { Token, Tokens } from "marked";
import { decodeEntities, safeAddress } from "./safe";

/** Deeper nesting is shown as it was written: no prose needs it, and the page's depth stays bounded. */
export const MARKDOWN_DEPTH_MAX = 12;

/** Draws inline tokens. */
export function inline(tokens: readonly Token[], depth: number): ComponentChild[] {
  return tokens.map((token) => (depth > MARKDOWN_DEPTH_MAX ? token.raw : one(token as Tokens.Generic, depth)));
}

function one(token: Tokens.Generic, depth: number): ComponentChild {
  const children = (): ComponentChild[] => inline(token.tokens ?? [], depth + 1);
  switch (token.type) {
    case "strong":
      return <strong>{children()}</strong>;
    case "em":
      return <em>{children()}</em>;
    case "del":
      return <del>{children()}</del>;
    case "codespan":
      return <code>{token["text"] as string}</code>;
    case "br":
      return <br />;
    case "escape":
      return token["text"] as string;
    case "text":
      return token.tokens === undefined ? decodeEntities(token["text"] as string) : children();
    case "link":
      return <Link address={token["href"] as string}>{children()}</Link>;
    case "image":
      // Never loaded: fetching it would tell its server who reads what, and when.
      return (
        <Link address={token["href"] as string}>Image: {(token["text"] as string) || (token["href"] as string)}</Link>
      );
    case "checkbox":
      return (token["checked"] as boolean) ? "☑ " : "☐ ";
    default:
      return token.raw; // HTML among it: shown as it was written
  }
}

function Link({ address, children }: { address: string; children: ComponentChild }): ComponentChild {
  const safe = safeAddress(address);
  if (safe === null) return <span>{children}</span>;
  return (
    <a href={safe} target="_blank" rel="noopener noreferrer nofollow" title={safe}>
      {children}
    </a>
  );
}
