/** A chat's title, which can be changed, and the chat deleted. */
import type { VNode } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { useEngine } from "../engine";
import { Icon } from "../icons";
import { go } from "../route";
import { Confirm } from "../shell/confirm";

const TITLE_LENGTH_MAX = 120; // a line of a list

export function ChatHeader({ chatId }: { chatId: string | null }): VNode {
  const engine = useEngine();
  const chat = engine.chats.value.find((one) => one.id === chatId);
  const [renaming, setRenaming] = useState(false);
  const [deleting, setDeleting] = useState(false);
  if (chatId === null || chat === undefined) return <h1 tabIndex={-1}>New chat</h1>;
  if (renaming) {
    const rename = (title: string): void => {
      setRenaming(false);
      if (title.trim() !== "" && title !== chat.title) void engine.renameChat(chatId, title.trim());
    };
    return <TitleField title={chat.title} onDone={rename} />;
  }
  const remove = async (): Promise<void> => {
    setDeleting(false);
    await engine.deleteChat(chatId);
    go({ page: "chat", chatId: null }, true);
  };
  return (
    <>
      <h1 tabIndex={-1}>{chat.title || "Untitled"}</h1>
      <button type="button" class="round quiet" aria-label="Rename chat" onClick={() => setRenaming(true)}>
        <Icon name="pencil" />
      </button>
      <button type="button" class="round quiet" aria-label="Delete chat" onClick={() => setDeleting(true)}>
        <Icon name="trash" />
      </button>
      {deleting && (
        <Confirm title="Delete this chat?" action="Delete" onYes={() => void remove()} onNo={() => setDeleting(false)}>
          It is removed from this browser. Prompts under way are not cancelled.
        </Confirm>
      )}
    </>
  );
}

function TitleField({ title, onDone }: { title: string; onDone: (title: string) => void }): VNode {
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => field.current?.select(), []);
  return (
    <input
      ref={field}
      class="title-field"
      aria-label="Chat title"
      defaultValue={title}
      maxLength={TITLE_LENGTH_MAX}
      onBlur={(event) => onDone(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key === "Enter") event.currentTarget.blur();
        if (event.key !== "Escape") return;
        event.stopPropagation(); // Escape here is about the title, not about a prompt under way
        event.currentTarget.value = title;
        event.currentTarget.blur();
      }}
    />
  );
}
