/** The frame of every page: navigation, connection, and the page itself. */
import type { VNode } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { ChatList } from "../chat/chat_list";
import { ChatPage, NewChat } from "../chat/chat_page";
import { useEngine } from "../engine";
import { Icon, ICON_URL } from "../icons";
import { wide } from "../media";
import { MeshPage } from "../mesh/mesh_page";
import { href, route, type Route } from "../route";
import { FirstRun } from "../settings/first_run";
import { SettingsPage } from "../settings/settings_page";
import { started } from "../started";
import { Announcer } from "./announcer";
import { Failure } from "./failure";
import { ConnectionNotice, ConnectionStatus } from "./connection";
import { Question } from "./question";
import { UpdatePrompt } from "./update";

const PAGES = [
  { name: "Chat", icon: "chat", route: { page: "chat", chatId: null } },
  { name: "Mesh", icon: "mesh", route: { page: "mesh" } },
  { name: "Settings", icon: "settings", route: { page: "settings" } },
] as const;

export function App(): VNode {
  const here = route.value;
  const main = useFocusOnPage(here);
  return (
    <div class="shell" data-page={here.page}>
      <button type="button" class="skip" onClick={() => toPage(main.current)}>
        Skip to the page
      </button>
      <header class="top">
        <p class="brand">
          <img src={ICON_URL} alt="" width="26" height="26" />
          moamesh
        </p>
        <ConnectionStatus />
      </header>
      <Navigation here={here} />
      {wide.value && (
        <aside class="side" aria-label="Your chats">
          <NewChat />
          <ChatList current={here.page === "chat" ? here.chatId : null} />
        </aside>
      )}
      <main ref={main}>
        <UpdatePrompt />
        <Failure />
        <ConnectionNotice />
        <Page here={here} />
      </main>
      <Question />
      <Announcer />
    </div>
  );
}

function Page({ here }: { here: Route }): VNode | null {
  const engine = useEngine();
  if (!started.value) return null; // a moment: the first page would flash up in an app that is paired
  if (here.page === "settings") return <SettingsPage />;
  const known = here.page === "chat" && here.chatId !== null;
  if (engine.link.value === "unpaired" && !known) return <FirstRun />; // stored chats can be read without a mesh
  return here.page === "mesh" ? <MeshPage /> : <ChatPage chatId={here.chatId} />;
}

function Navigation({ here }: { here: Route }): VNode {
  return (
    <nav aria-label="Main">
      {PAGES.map((page) => (
        <a key={page.name} href={href(page.route)} aria-current={page.route.page === here.page ? "page" : undefined}>
          <Icon name={page.icon} />
          <span>{page.name}</span>
        </a>
      ))}
    </nav>
  );
}

/**
 * Gives the focus to the heading of a page that was gone to, so that a keyboard or screen reader begins there. Before
 * the page is painted: somebody quick on the keyboard would lose the focus to it otherwise.
 */
function useFocusOnPage(here: Route): { current: HTMLElement | null } {
  const main = useRef<HTMLElement>(null);
  const before = useRef(here.page);
  useLayoutEffect(() => {
    if (before.current === here.page) return;
    before.current = here.page;
    toPage(main.current);
  }, [here.page]);
  return main;
}

function toPage(main: HTMLElement | null): void {
  const prompt = matchMedia("(pointer: fine)").matches ? main?.querySelector<HTMLElement>("textarea") : null;
  (prompt ?? main?.querySelector<HTMLElement>("h1"))?.focus();
}
