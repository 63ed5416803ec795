/** The chats kept in this browser. */
import type { VNode } from "preact";
import type { Chat } from "../../model";
import { useEngine } from "../engine";
import { when } from "../format";
import { href } from "../route";

const LISTED_MAX = 200; // more are not looked through by eye

export function ChatList({ current }: { current: string | null }): VNode {
  const chats = [...useEngine().chats.value].sort((a, b) => b.updatedAt - a.updatedAt).slice(0, LISTED_MAX);
  const now = Date.now();
  return (
    <ul class="chat-list" role="list" aria-label="Chats">
      {chats.map((chat) => (
        <ChatLine key={chat.id} chat={chat} current={chat.id === current} now={now} />
      ))}
      {chats.length === 0 && <li class="muted empty">No chats yet.</li>}
    </ul>
  );
}

function ChatLine({ chat, current, now }: { chat: Chat; current: boolean; now: number }): VNode {
  return (
    <li>
      <a href={href({ page: "chat", chatId: chat.id })} aria-current={current ? "page" : undefined}>
        <span class="chat-title">{chat.title || "Untitled"}</span>
        <span class="muted">{when(chat.updatedAt, now)}</span>
      </a>
    </li>
  );
}
