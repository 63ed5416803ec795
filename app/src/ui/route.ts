/** Which page is shown: the hash of the address, so that any file server can serve the app. */
import { signal, type ReadonlySignal } from "@preact/signals";

export type Route = { page: "chat"; chatId: string | null } | { page: "mesh" } | { page: "settings" };

const CHAT_ID_LENGTH_MAX = 128; // longer is no id of ours but somebody's typing

/** Reads a hash such as `#/chat/abc`; whatever is unknown is the chat page. */
export function parseRoute(hash: string): Route {
  const [page = "", id = ""] = hash.replace(/^#\/?/, "").split("/");
  if (page === "mesh" || page === "settings") return { page };
  return { page: "chat", chatId: page === "chat" ? decodeId(id) : null };
}

function decodeId(text: string): string | null {
  try {
    const id = decodeURIComponent(text);
    return id === "" || id.length > CHAT_ID_LENGTH_MAX ? null : id;
  } catch {
    return null;
  }
}

/** The hash for a page, for `href`. */
export function href(route: Route): string {
  if (route.page !== "chat") return `#/${route.page}`;
  return route.chatId === null ? "#/chat" : `#/chat/${encodeURIComponent(route.chatId)}`;
}

const current = signal<Route>(parseRoute(location.hash));

/** The page shown now. */
export const route: ReadonlySignal<Route> = current;

/** Shows another page; `replace` leaves no step to go back to. */
export function go(next: Route, replace = false): void {
  if (replace) history.replaceState(null, "", href(next));
  else history.pushState(null, "", href(next));
  current.value = next;
}

/** Follows links and the back button. Call once. */
export function watchRoute(): void {
  const follow = (): void => {
    if (!location.hash.startsWith("#pair=")) current.value = parseRoute(location.hash);
  };
  addEventListener("hashchange", follow);
  addEventListener("popstate", follow);
}
