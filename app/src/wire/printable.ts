/** Text that is safe on one line: no control characters, nothing that turns the direction of what follows. */
const NOT_PRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/** Whether `text` has only characters that can be seen. */
export function isPrintable(text: string): boolean {
  return !NOT_PRINTABLE.test(text);
}
