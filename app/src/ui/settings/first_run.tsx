/** The first page: what this is, and how to pair it. */
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { CopyButton } from "../copy_button";
import { ICON_URL } from "../icons";
import { fetchAbout, type About } from "./about";
import { PairForm } from "./pair_form";

const COMMAND = "moamesh pair";

export function FirstRun(): VNode {
  const [about, setAbout] = useState<About | null>(null);
  useEffect(() => void fetchAbout().then(setAbout), []);
  return (
    <section class="first-run scroller">
      <img src={ICON_URL} alt="" width="72" height="72" />
      <h1 tabIndex={-1}>Pair this app</h1>
      <p>
        {about === null || about.mesh === ""
          ? "This app asks a mesh of small devices, over their own broker. It needs a secret to connect."
          : `This app asks the mesh “${about.mesh}” over its own broker. It needs a secret to connect.`}
      </p>
      {about !== null && about.webBroker === "" && (
        <div class="notice" data-tone="warn" data-part="no-web-broker">
          <p>
            <strong>The broker of this mesh cannot be reached from a browser.</strong>{" "}
            {about.hint || "It has no WebSockets listener: install mosquitto, and start the mesh again."}
          </p>
        </div>
      )}
      <ol class="steps">
        <li>
          On a computer of the mesh, run
          <span class="command">
            <code>{COMMAND}</code>
            <CopyButton text={COMMAND} label="Copy command" />
          </span>
        </li>
        <li>Scan the QR code with this phone’s camera, and open the link.</li>
        <li>Or paste the link below it:</li>
      </ol>
      <PairForm />
      <p class="muted small-print">
        The link holds your secret. It stays in this browser and goes only to the broker.
        {about !== null && about.moamesh !== "" && ` moamesh ${about.moamesh}.`}
      </p>
    </section>
  );
}
