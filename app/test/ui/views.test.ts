// @vitest-environment jsdom
import { h, render } from "preact";
import { useEffect } from "preact/hooks";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Engine, Exchange } from "../../src/model";
import type * as Memory from "../../src/ui/dev/memory_engine";
import type * as Samples from "../../src/ui/dev/samples";
import type * as Preferences from "../../src/ui/preferences";
import type * as Routes from "../../src/ui/route";
import { browserParts } from "./page";

let engine: Memory.MemoryEngine;
let samples: typeof Samples;
let preferences: typeof Preferences;
let routes: typeof Routes;
const root = document.createElement("div");

beforeEach(async () => {
  browserParts(); // before the views are read: they ask for the width at once
  vi.resetModules();
  sessionStorage.clear();
  localStorage.clear();
  history.replaceState(null, "", "#/chat");
  const [{ MemoryEngine }, { EngineProvider }, { App }, { started }] = await Promise.all([
    import("../../src/ui/dev/memory_engine"),
    import("../../src/ui/engine"),
    import("../../src/ui/shell/app"),
    import("../../src/ui/started"),
  ]);
  started.value = true;
  [samples, preferences, routes] = await Promise.all([
    import("../../src/ui/dev/samples"),
    import("../../src/ui/preferences"),
    import("../../src/ui/route"),
  ]);
  engine = new MemoryEngine(true, 60);
  document.body.replaceChildren(root);
  render(h(EngineProvider, { value: engine as Engine }, h(App, null)), root);
  await drawn();
});

afterEach(() => {
  vi.useRealTimers();
  render(null, root);
});

const find = <E extends HTMLElement>(selector: string): E => {
  const element = root.querySelector<E>(selector);
  if (element === null) throw new Error(`nothing matches ${selector} in ${root.innerHTML.slice(0, 2000)}`);
  return element;
};
/** Signals draw in a microtask; effects come after the next frame, which jsdom has not: preact then waits by itself. */
const drawn = async (): Promise<void> => {
  let ran = false;
  render(
    h(() => (useEffect(() => void (ran = true)), null), null),
    document.createElement("div"),
  );
  await vi.waitFor(() => expect(ran).toBe(true), { interval: 5, timeout: 300_000 });
};
const button = (name: string): HTMLButtonElement => {
  const all = [...root.querySelectorAll("button")];
  const found = all.find((one) => (one.getAttribute("aria-label") ?? one.textContent)?.startsWith(name));
  if (found === undefined) throw new Error(`no button ${name} among ${all.map((one) => one.textContent).join("|")}`);
  return found;
};

async function write(text: string): Promise<HTMLTextAreaElement> {
  const field = find<HTMLTextAreaElement>("textarea");
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  await drawn();
  return field;
}

function press(target: EventTarget, key: string, more: KeyboardEventInit = {}): void {
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));
}

async function show(...exchanges: Exchange[]): Promise<void> {
  for (const one of exchanges) (engine.exchange(one.id) as unknown as { value: Exchange }).value = one;
  (engine.exchanges("shown") as unknown as { value: Exchange[] }).value = exchanges;
  engine.chats.value = [{ id: "shown", title: "Shown", createdAt: 0, updatedAt: 0 }];
  routes.go({ page: "chat", chatId: "shown" });
  await drawn();
}

describe("writing a prompt", () => {
  it("asks with Enter, and begins a line with Shift+Enter or while a word is being composed", async () => {
    const ask = vi.spyOn(engine, "ask");
    const field = await write("Why?");
    press(field, "Enter", { shiftKey: true });
    press(field, "Enter", { isComposing: true });
    expect(ask).not.toHaveBeenCalled();
    press(field, "Enter");
    expect(ask).toHaveBeenCalledOnce();
    expect(ask.mock.calls[0]?.slice(0, 3)).toEqual([null, "kitchen", "Why?"]);
    await drawn();
    expect(location.hash).toMatch(/^#\/chat\/chat-/);
    expect(find<HTMLTextAreaElement>("textarea").value).toBe("");
  });

  it("asks nothing without words", async () => {
    const ask = vi.spyOn(engine, "ask");
    press(await write("  \n "), "Enter");
    expect(ask).not.toHaveBeenCalled();
  });

  it("keeps what was written when it could not be asked, and says why", async () => {
    vi.spyOn(engine, "ask").mockRejectedValue(new Error("The prompt is too long"));
    press(await write("A very long prompt"), "Enter");
    await drawn();
    expect(find('[role="alert"]').textContent).toBe("The prompt is too long");
    expect(find<HTMLTextAreaElement>("textarea").value).toBe("A very long prompt");
  });

  it("keeps a draft while another page is looked at", async () => {
    await write("Half a thou");
    routes.go({ page: "settings" });
    await drawn();
    routes.go({ page: "chat", chatId: null });
    await drawn();
    expect(find<HTMLTextAreaElement>("textarea").value).toBe("Half a thou");
  });

  it("asks no more peers than the mesh has, and warns where it would not be stable", async () => {
    preferences.prefer({ layers: 8, fanout: 16 });
    await drawn();
    expect(find<HTMLInputElement>('input[type="range"][max="3"]').value).toBe("3");
    expect(find('[data-part="unstable"]').textContent).toContain("fewer layers");
    preferences.prefer({ layers: 0 });
    await drawn();
    expect(root.querySelector('[data-part="unstable"]')).toBeNull();
    expect(find('[data-part="prediction"]').textContent).toContain("Inferences1");
  });
});

describe("an exchange", () => {
  it("is cancelled with Escape while it is under way, and by the button", async () => {
    const cancel = vi.spyOn(engine, "cancel");
    const running = samples.exchange("shown", "streaming", { answer: "The" });
    await show(samples.exchange("shown", "answered", { answer: "Yes." }), running);
    press(find("textarea"), "Escape");
    expect(cancel).toHaveBeenCalledExactlyOnceWith(running.id);
    await show({ ...running, state: "cancelled" });
    press(find("textarea"), "Escape");
    expect(cancel).toHaveBeenCalledOnce();
    expect(root.querySelector('[aria-label="Cancel"]')).toBeNull();
  });

  it("that was refused can be sent again when the device said, and another device at once", async () => {
    vi.useFakeTimers({ toFake: ["Date", "setInterval", "clearInterval"] });
    const refused = samples.exchange("shown", "refused", {
      refusal: "overloaded",
      retryAfterS: 12,
      askedAt: Date.now(),
    });
    const retry = vi.spyOn(engine, "retry").mockResolvedValue(refused);
    const ask = vi.spyOn(engine, "ask").mockResolvedValue(refused);
    await show(refused);
    expect(button("Send again").disabled).toBe(true);
    expect(button("Send again").textContent).toBe("Send again in 12 s");
    await vi.advanceTimersByTimeAsync(13_000);
    await drawn();
    button("Send again").click();
    expect(retry).toHaveBeenCalledExactlyOnceWith(refused.id);
    button("Ask bath instead").click();
    expect(ask).toHaveBeenCalledExactlyOnceWith("shown", "bath", refused.prompt, refused.options);
  });

  it("that was refused can be sent again as soon as the device tells of free places", async () => {
    const told = (at: number, waiting: number): void => {
      engine.devices.value = engine.devices.value.map((device) =>
        device.id !== "kitchen"
          ? device
          : {
              ...device,
              status: samples.status("kitchen", 1, waiting),
              history: [...device.history, { ...device.history[0]!, at }],
            },
      );
    };
    const refused = samples.exchange("shown", "refused", {
      refusal: "overloaded",
      retryAfterS: 600,
      askedAt: Date.now(),
    });
    await show(refused);
    told(refused.askedAt + 1, 16);
    await drawn();
    expect(button("Send again").disabled).toBe(true);
    told(refused.askedAt + 2, 3);
    await drawn();
    expect(button("Send again").disabled).toBe(false);
  });

  it("that was refused can be sent again although it was drawn between two of its seconds", async () => {
    vi.useFakeTimers({ toFake: ["Date", "setInterval", "clearInterval"] });
    const refused = samples.exchange("shown", "refused", {
      refusal: "overloaded",
      retryAfterS: 2.5,
      askedAt: Date.now(),
    });
    await show(refused);
    await vi.advanceTimersByTimeAsync(2_000);
    await drawn();
    vi.setSystemTime(Date.now() + 700); // past the time, before the next second
    await show({ ...refused, detail: "the queue is full" });
    await vi.advanceTimersByTimeAsync(5_000);
    await drawn();
    expect(button("Send again").disabled).toBe(false);
  });

  it("is read out by its states, not by its tokens", async () => {
    const spoken = (): string => find('[data-part="announcer"]').textContent;
    const running = samples.exchange("shown", "streaming", { answer: "The" });
    await show(running);
    expect(spoken()).toBe("kitchen is answering.");
    const element = find('[data-part="announcer"] p');
    await show({ ...running, answer: "The sky" });
    expect(find('[data-part="announcer"] p')).toBe(element); // a new one would be read out again
    expect(find('[data-part="answer"]').textContent).toBe("The sky");
    await show({ ...running, state: "answered", provenance: { ...samples.PROVENANCE, missing: [] } });
    expect(spoken()).toBe("kitchen has answered.");
    expect(find('[role="log"]').getAttribute("aria-live")).toBe("off");
  });

  it("costs the others nothing when a token arrives", async () => {
    const done = samples.exchange("shown", "answered", { answer: "Yes." });
    const running = samples.exchange("shown", "streaming", { answer: "The" });
    await show(done, running);
    const other = find(`[data-prompt-id="${done.id}"]`);
    const changes = new MutationObserver(() => undefined);
    changes.observe(other, { subtree: true, childList: true, characterData: true, attributes: true });
    (engine.exchange(running.id) as unknown as { value: Exchange }).value = { ...running, answer: "The sky" };
    await drawn();
    expect(find(`[data-prompt-id="${running.id}"] [data-part="answer"]`).textContent).toBe("The sky");
    expect(changes.takeRecords()).toEqual([]);
  });
});

describe("a long chat", () => {
  it("draws its end first, and more on demand", async () => {
    routes.go({ page: "chat", chatId: "long" });
    await drawn();
    expect(root.querySelectorAll("article").length).toBe(12);
    expect(find("article:last-of-type .prompt").textContent).toBe("Question 59: why?");
    for (let hidden = 48; hidden > 0; hidden -= 4) {
      button(`${hidden} earlier`).click();
      await drawn();
    }
    expect(root.querySelectorAll("article").length).toBe(60);
    expect(find("article .prompt").textContent).toBe("Question 0: why?");
  });
});

describe("an address", () => {
  it("of a chat that is not here says so, and offers a new one", async () => {
    routes.go({ page: "chat", chatId: "elsewhere" });
    await drawn();
    expect(find("main h1").textContent).toBe("This chat is not in this browser");
    expect(root.querySelector("textarea")).toBeNull();
    find<HTMLButtonElement>("main .new-chat").click();
    await drawn();
    expect(location.hash).toBe("#/chat");
  });
});

describe("a page without a pairing", () => {
  it("says how to pair, and what to install where no browser can reach the broker", async () => {
    vi.stubGlobal("fetch", () =>
      Promise.resolve(
        Response.json({ moamesh: "1", mesh: "home", device: null, web_broker: "", hint: "Install mosquitto." }),
      ),
    );
    await engine.unpair();
    await drawn();
    await drawn();
    expect(find("main").textContent).toContain("moamesh pair");
    expect(find('[data-part="no-web-broker"]').textContent).toContain("Install mosquitto.");
    vi.unstubAllGlobals();
  });
});
