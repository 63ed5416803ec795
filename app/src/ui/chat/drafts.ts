/** What was typed and not asked yet, for each chat: it survives a change of page and a reload. */

const PREFIX = "moamesh.draft.";

export function readDraft(chatId: string | null): string {
  try {
    return sessionStorage.getItem(PREFIX + (chatId ?? "")) ?? "";
  } catch {
    return "";
  }
}

export function keepDraft(chatId: string | null, text: string): void {
  try {
    if (text === "") sessionStorage.removeItem(PREFIX + (chatId ?? ""));
    else sessionStorage.setItem(PREFIX + (chatId ?? ""), text);
  } catch {
    // storage is forbidden or full: the draft lives as long as its field
  }
}
