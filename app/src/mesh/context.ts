/** Makes the chat that is sent of a new prompt and what was said before. */
import type { Exchange } from "../model";
import type { ChatMessage } from "../wire/messages";

/** Earlier exchanges that go along at most: what small models can still keep apart. */
export const CONTEXT_EXCHANGES_MAX = 8;
/** Characters of earlier exchanges: some 2,000 tokens, a quarter of a small model's context; references need more. */
export const CONTEXT_LENGTH_MAX = 8_000;
/** Bytes of a prompt's text: what devices take by default (`prompt_bytes_max`), well below a 256 KiB body. */
export const PROMPT_BYTES_MAX = 128 * 1024;

/**
 * Returns the messages to send: the newest answered exchanges that fit, oldest first, then the prompt.
 *
 * An exchange goes along whole or not at all, and none that is older than one that did not fit: a chat with a hole
 * confuses a model. Of exchanges that were tried again only the last counts.
 *
 * Throws an Error with one line for people where the prompt is empty or too large by itself.
 */
export function buildMessages(earlier: readonly Exchange[], prompt: string): ChatMessage[] {
  if (prompt.trim() === "") throw new Error("The prompt is empty");
  const promptBytes = bytesOf(prompt);
  if (promptBytes > PROMPT_BYTES_MAX) {
    throw new Error(`The prompt has ${promptBytes} bytes, devices take at most ${PROMPT_BYTES_MAX}`);
  }
  const retried = new Set(earlier.filter(({ state }) => state === "answered").map(({ retryOf }) => retryOf));
  const usable = earlier.filter(({ id, state, answer }) => state === "answered" && answer !== "" && !retried.has(id));
  const turns: ChatMessage[] = [{ role: "user", content: prompt }];
  let length = 0;
  let bytes = promptBytes;
  for (const exchange of usable.slice(-CONTEXT_EXCHANGES_MAX).reverse()) {
    length += exchange.prompt.length + exchange.answer.length;
    bytes += bytesOf(exchange.prompt) + bytesOf(exchange.answer);
    if (length > CONTEXT_LENGTH_MAX || bytes > PROMPT_BYTES_MAX) break;
    turns.unshift({ role: "user", content: exchange.prompt }, { role: "assistant", content: exchange.answer });
  }
  return turns;
}

/** As JSON has it, where quotes and line breaks take two bytes and control characters six. */
function bytesOf(text: string): number {
  return new TextEncoder().encode(JSON.stringify(text)).length;
}
