/**
 * Cuts a growing Markdown text into blocks, so that each is read once: what stands before the last two never changes
 * again while tokens arrive, and a token costs the length of a paragraph or two, not of the answer.
 */
import { Lexer, type Token } from "marked";

/** Longer answers are shown as they are. A device generates less (8192 tokens), and it bounds the reader's work. */
export const MARKDOWN_LENGTH_MAX = 64 * 1024;
/** A paragraph longer than this is no prose. marked needs time in its square for some (`_a_a_a...`). */
export const PARAGRAPH_LENGTH_MAX = 8_000;

const FENCE = /^ {0,3}(`{3,}|~{3,})/;

/** One block of Markdown, or a whole text that is not to be read as Markdown. */
export type Block = { kind: "markdown"; token: Token } | { kind: "plain"; text: string };

/** Reads a text that only grows; another text is simply read anew. */
export class BlockReader {
  private read = "";
  private done: Block[] = [];
  private doneLength = 0;
  private plain = false;
  private tail: Block[] = [];

  /** Returns the blocks of `text`. Blocks that were there before are the same objects. */
  blocks(text: string): readonly Block[] {
    const clean = text.replace(/\r\n?/g, "\n");
    if (clean === this.read) return [...this.done, ...this.tail];
    if (!clean.startsWith(this.read)) this.reset();
    this.read = clean;
    this.plain ||=
      clean.length > MARKDOWN_LENGTH_MAX || longestParagraph(clean, this.doneLength) > PARAGRAPH_LENGTH_MAX;
    if (!this.plain) this.readTail(clean.slice(this.doneLength));
    if (this.plain) {
      this.done = [];
      this.tail = [{ kind: "plain", text: clean }];
    }
    return [...this.done, ...this.tail];
  }

  private reset(): void {
    this.done = this.tail = [];
    this.doneLength = 0;
    this.plain = false;
  }

  private readTail(tail: string): void {
    let tokens: Token[];
    try {
      tokens = new Lexer({ gfm: true, breaks: true }).lex(tail);
    } catch {
      this.plain = true; // nested so deeply that the reader ran out of stack: no prose either
      return;
    }
    const open = firstOpen(tokens);
    const closed = tokens.slice(0, open);
    const length = closed.reduce((sum, token) => sum + token.raw.length, 0);
    this.done = [...this.done, ...closed.filter(isSeen).map(toBlock)];
    this.doneLength += length;
    this.tail = tokens.slice(open).filter(isSeen).map(toBlock);
  }
}

/**
 * Where the blocks begin that may still become others. The last may go on, and the one before it too: a "2" after a
 * list is a paragraph until the "." comes that makes it the list's next item.
 */
function firstOpen(tokens: readonly Token[]): number {
  const last = tokens.findLastIndex(isSeen);
  const before = tokens.slice(0, Math.max(last, 0)).findLastIndex(isSeen);
  return Math.max(before, 0);
}

const isSeen = (token: Token): boolean => token.type !== "space";

const toBlock = (token: Token): Block => ({ kind: "markdown", token });

/** The length of the longest run of lines without a blank one, code blocks aside, from `start` on. */
function longestParagraph(text: string, start: number): number {
  let longest = 0;
  let run = 0;
  let fence = "";
  for (const line of text.slice(start).split("\n")) {
    const mark = FENCE.exec(line)?.[1] ?? "";
    if (fence === "" && mark !== "") fence = mark;
    else if (fence !== "" && mark.startsWith(fence) && line.trim() === mark) fence = "";
    run = fence !== "" || line.trim() === "" ? 0 : run + line.length + 1;
    longest = Math.max(longest, run);
  }
  return longest;
}
