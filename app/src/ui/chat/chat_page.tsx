/** A chat: its conversation, or a welcome where it has not begun, and where the next prompt is written. */
import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Exchange } from "../../model";
import { useEngine } from "../engine";
import { count } from "../format";
import { Icon } from "../icons";
import { wide } from "../media";
import { go, href } from "../route";
import { announce } from "../shell/announcer";
import { exchangeWords } from "../words";
import { ChatHeader } from "./chat_header";
import { ChatList } from "./chat_list";
import { Composer } from "./composer";
import { Conversation } from "./conversation";

export function ChatPage({ chatId }: { chatId: string | null }): VNode {
  const chats = useEngine().chats.value;
  if (chatId !== null && !chats.some((chat) => chat.id === chatId)) return <UnknownChat />;
  return (
    <section class="chat-page">
      <header class="page-head">
        {!wide.value && chatId !== null && (
          <a class="round quiet" href={href({ page: "chat", chatId: null })} aria-label="All chats">
            <Icon name="back" />
          </a>
        )}
        <ChatHeader chatId={chatId} />
        {!wide.value && <NewChat />}
      </header>
      {chatId === null ? <Welcome /> : <Conversation key={chatId} chatId={chatId} />}
      {chatId !== null && <ChatAnnouncements chatId={chatId} />}
      <Composer key={chatId ?? ""} chatId={chatId} open={chatId === null} />
    </section>
  );
}

/** An address of a chat that was deleted, or is kept in another browser. */
function UnknownChat(): VNode {
  return (
    <section class="chat-page unknown-chat">
      <h1 tabIndex={-1}>This chat is not in this browser</h1>
      <p class="muted">It was deleted, or it is in another browser: chats stay in the browser where they began.</p>
      <NewChat />
    </section>
  );
}

/** Begins a chat: there is nothing to store before its first prompt. */
export function NewChat(): VNode {
  const begin = (): void => {
    go({ page: "chat", chatId: null });
    requestAnimationFrame(() => document.querySelector<HTMLElement>(".composer textarea")?.focus());
  };
  return (
    <button type="button" class="quiet new-chat" onClick={begin}>
      <Icon name="plus" />
      <span class={wide.value ? undefined : "visually-hidden"}>New chat</span>
    </button>
  );
}

function Welcome(): VNode {
  const engine = useEngine();
  const online = engine.devices.value.filter((device) => device.state === "online").length;
  return (
    <div class="scroller welcome">
      <div class="welcome-words">
        <h2>Your devices answer together</h2>
        <p>
          One device takes your prompt, asks others for proposals, layer by layer, and makes the answer from them.
          {online > 0 && ` ${count(online, "device")} ${online === 1 ? "is" : "are"} online.`}
        </p>
      </div>
      {!wide.value && engine.chats.value.length > 0 && (
        <>
          <h2>Chats</h2>
          <ChatList current={null} />
        </>
      )}
    </div>
  );
}

/** Reads out what becomes of the newest exchange: its states and its layers, not its tokens. */
function ChatAnnouncements({ chatId }: { chatId: string }): VNode | null {
  const newest = useEngine().exchanges(chatId).value.at(-1);
  return newest === undefined ? null : <ExchangeAnnouncements exchangeId={newest.id} />;
}

function ExchangeAnnouncements({ exchangeId }: { exchangeId: string }): null {
  const engine = useEngine();
  const newest = engine.exchange(exchangeId).value;
  const text = newest === null ? "" : spoken(newest, engine.link.value);
  const before = useRef<{ id: string; text: string } | null>(null);
  useEffect(() => {
    if (newest === null) return;
    const first = before.current === null && newest.state === "answered"; // a chat that was opened: no news
    const same = before.current?.id === newest.id && before.current.text === text;
    before.current = { id: newest.id, text };
    if (!first && !same) announce(text);
  }, [newest?.id, text]);
  return null;
}

function spoken(exchange: Exchange, link: Parameters<typeof exchangeWords>[1]): string {
  if (exchange.state === "streaming") return `${exchange.deviceId} is answering.`;
  if (exchange.state === "answered" && exchange.provenance?.missing.length === 0) {
    return `${exchange.deviceId} has answered.`;
  }
  const { title, text } = exchangeWords(exchange, link);
  return text === "" ? `${title}.` : `${title}: ${text}`;
}
