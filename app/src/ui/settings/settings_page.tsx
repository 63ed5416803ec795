/** Pairing, how answers are asked for, how the app looks, what it keeps. */
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useEngine } from "../engine";
import { AnswerSettings } from "./answer_settings";
import { ThemeSettings } from "./theme_settings";
import { fetchAbout, type About } from "./about";
import { InstallButton } from "./install";
import { PairForm } from "./pair_form";
import { StorageSettings } from "./storage_settings";
import { ask } from "../shell/question";
import { linkWords } from "../words";

export function SettingsPage(): VNode {
  return (
    <section class="settings-page scroller">
      <header class="page-head">
        <h1 tabIndex={-1}>Settings</h1>
      </header>
      <Group title="Pairing">
        <PairingSettings />
      </Group>
      <Group title="Answers">
        <AnswerSettings />
      </Group>
      <Group title="Appearance">
        <ThemeSettings />
      </Group>
      <Group title="Storage">
        <StorageSettings />
      </Group>
      <Group title="About">
        <AboutThis />
      </Group>
    </section>
  );
}

function Group({ title, children }: { title: string; children: ComponentChildren }): VNode {
  return (
    <section class="group" aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

function PairingSettings(): VNode {
  const engine = useEngine();
  const pairing = engine.pairing.value;
  if (pairing === null) {
    return (
      <>
        <p>
          Not paired. Scan the QR code of <code>moamesh pair</code> with your camera, or paste its link here.
        </p>
        <PairForm />
      </>
    );
  }
  const unpair = async (): Promise<void> => {
    const text = `This browser forgets the secret of ${pairing.user}. Chats stay. To pair again you need a new link.`;
    if (await ask("Unpair this app?", text, "Unpair")) await engine.unpair(false);
  };
  return (
    <>
      <dl class="facts">
        <dt>Mesh</dt>
        <dd>{pairing.mesh}</dd>
        <dt>User</dt>
        <dd>{pairing.user}</dd>
        <dt>Broker</dt>
        <dd>{pairing.brokers.join(", ")}</dd>
        <dt>Transport</dt>
        <dd>{transport(pairing.brokers)}</dd>
        <dt>Devices</dt>
        <dd>{pairing.devices === undefined ? "all" : pairing.devices.join(", ")}</dd>
        <dt>Connection</dt>
        <dd>
          {linkWords(engine.link.value).title}
          {engine.linkDetail.value !== "" && <span class="muted">: {engine.linkDetail.value}</span>}
        </dd>
      </dl>
      <details class="pair-anew">
        <summary>Pair again</summary>
        <PairForm />
      </details>
      <button type="button" class="danger quiet" onClick={() => void unpair()}>
        Unpair
      </button>
    </>
  );
}

const LOOPBACK = /^ws:\/\/(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:|\/|$)/;

function transport(brokers: readonly string[]): string {
  const plain = brokers.filter((url) => url.startsWith("ws:")).length;
  if (plain === 0) return "encrypted (TLS)";
  if (plain < brokers.length) return "partly encrypted";
  const stays = brokers.every((url) => LOOPBACK.test(url));
  return stays ? "unencrypted, but it never leaves this computer" : "unencrypted: others in this network can read everything";
}

function AboutThis(): VNode {
  const [about, setAbout] = useState<About | null>(null);
  useEffect(() => void fetchAbout().then(setAbout), []);
  return (
    <>
      <p>
        moamesh {about?.moamesh ?? ""}
        {about !== null && about.device !== null && <span class="muted">, served by {about.device}</span>}
      </p>
      <p class="muted">
        Answers come from small language models on your own devices. They can be wrong: check what matters.
      </p>
      <InstallButton />
    </>
  );
}
