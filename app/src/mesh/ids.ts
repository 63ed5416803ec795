/** Random ids that nobody can guess. `crypto.getRandomValues` works also on a page without a secure context. */
export function randomHex(bytes: number): string {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
