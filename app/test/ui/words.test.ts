// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import type { Exchange, PromptState } from "../../src/model";
import { pictureRows } from "../../src/ui/chat/picture_rows";
import { PROVENANCE, exchange } from "../../src/ui/dev/samples";
import { figure, percent, rate, seconds, wholeSeconds } from "../../src/ui/format";
import { readPreferences } from "../../src/ui/preferences";
import { parseRoute } from "../../src/ui/route";
import { readAbout } from "../../src/ui/settings/about";
import { exchangeWords, isPartial } from "../../src/ui/words";

const STATES: PromptState[] = [
  "sending",
  "accepted",
  "proposing",
  "streaming",
  "answered",
  "refused",
  "expired",
  "cancelled",
  "failed",
  "unreachable",
];

describe("the words of a state", () => {
  it("exist for every state and differ from each other", () => {
    const titles = STATES.map((state) => exchangeWords(exchange("c", state), "online").title);
    expect(new Set(titles).size).toBe(STATES.length);
  });

  it("tell an unsent prompt from one that is being sent, by the connection", () => {
    const sending = exchange("c", "sending");
    expect(exchangeWords(sending, "online").title).toBe("Sending");
    expect(exchangeWords(sending, "offline").text).toContain("The prompt is sent as soon as");
    expect(exchangeWords(sending, "refused").text).toContain("Settings");
  });

  it("say why a prompt was refused, in the device's own words too", () => {
    const refused = exchange("c", "refused", { refusal: "overloaded", detail: "16 of 16 places are taken" });
    expect(exchangeWords(refused, "online")).toEqual({
      tone: "warn",
      title: "Busy",
      text: "kitchen has as many prompts as it can take (16 of 16 places are taken).",
    });
    expect(exchangeWords(exchange("c", "refused", { refusal: "too_large" }), "online").title).toBe("Refused");
  });

  it("begin with what the engine or the device said of a failure", () => {
    const words = (change: Partial<Exchange>) => exchangeWords(exchange("c", "failed", change), "online").text;
    expect(words({ detail: "the engine stopped twice" })).toBe("The engine stopped twice. Trying again often helps.");
    expect(words({ detail: "kitchen did not answer within 330 s" })).toMatch(/^kitchen did not answer within 330 s\. /);
    expect(words({})).toMatch(/^kitchen could not answer\. /);
    const forbidden = { detail: "the broker does not let you ask kitchen" };
    expect(exchangeWords(exchange("c", "unreachable", forbidden), "online").text).toContain("does not let you ask");
  });

  it("call an answer partial that is one device's proposal, and say whose and why", () => {
    const provenance = { ...PROVENANCE, missing: [], answer_from: "attic" };
    const part = exchange("c", "answered", { answer: "yes", partial: true, detail: "its deadline came", provenance });
    expect(isPartial(part)).toBe(true);
    expect(exchangeWords(part, "online")).toEqual({
      tone: "warn",
      title: "Partial",
      text: "This is the proposal of attic, not improved by the others: its deadline came.",
    });
    expect(isPartial({ ...part, partial: false })).toBe(false);
  });

  it("call an answer partial that lacks responses, and name them", () => {
    const partial = exchange("c", "answered", { answer: "yes", provenance: PROVENANCE });
    expect(isPartial(partial)).toBe(true);
    expect(exchangeWords(partial, "online").text).toBe("Answered without 1 response (attic).");
    expect(isPartial(exchange("c", "answered", { provenance: { ...PROVENANCE, missing: [] } }))).toBe(false);
  });
});

describe("the picture of a session", () => {
  const layer = (number: number, asked: string[], joined: string[]) => ({
    prompt_id: "",
    layer: number,
    layer_count: 2,
    asked,
    joined,
  });

  it("is empty before anything is known", () => {
    expect(pictureRows(exchange("c", "accepted"))).toEqual([]);
  });

  it("shows who was asked, who joined, who stood in and who is missing", () => {
    const progress = [layer(1, ["a", "b", "c"], ["a", "d"]), layer(2, ["a", "b"], [])];
    const rows = pictureRows(exchange("c", "proposing", { progress }));
    expect(
      rows.map((row) => [row.label, row.active, row.cells.map((cell) => `${cell.deviceId} ${cell.state}`)]),
    ).toEqual([
      ["Layer 1", false, ["a joined", "b missing", "c missing", "d joined"]],
      ["Layer 2", true, ["a asked", "b asked"]],
      ["Answer", false, []],
    ]);
  });

  it("shows the origin aggregating once the last layer is complete", () => {
    const progress = [layer(2, ["a"], ["a"])];
    const answer = pictureRows(exchange("c", "proposing", { progress })).at(-1);
    expect(answer).toMatchObject({
      label: "Answer",
      active: true,
      cells: [{ deviceId: "kitchen", state: "aggregating" }],
    });
  });

  it("is drawn from the provenance once there is one", () => {
    const rows = pictureRows(exchange("c", "answered", { provenance: PROVENANCE }));
    expect(rows.map((row) => row.cells.map((cell) => `${cell.deviceId} ${cell.state} ${cell.note}`.trim()))).toEqual([
      ["kitchen joined", "bath joined", "cellar joined for attic: no receipt"],
      ["kitchen joined", "bath joined", "attic missing layer deadline"],
      ["kitchen done"],
    ]);
  });
});

describe("what is read from outside", () => {
  it("reads preferences field by field, each within its bounds", () => {
    const whole = readPreferences(null);
    expect(whole).toMatchObject({ theme: "system", layers: 2, fanout: 2, deadlineS: null });
    expect(readPreferences('{"theme":"dark","layers":3,"fanout":99,"temperature":"x","deadlineS":60}')).toEqual({
      ...whole,
      theme: "dark",
      layers: 3,
      deadlineS: 60,
    });
    for (const broken of ["", "null", "[]", "{", '"x"', '{"layers":1.5}'])
      expect(readPreferences(broken)).toEqual(whole);
  });

  it("reads addresses, and takes any other for the chat page", () => {
    expect(parseRoute("#/chat/a%20b")).toEqual({ page: "chat", chatId: "a b" });
    expect(parseRoute("#/mesh")).toEqual({ page: "mesh" });
    for (const odd of ["", "#", "#/", "#/x", "#/chat/", "#/chat/%", `#/chat/${"a".repeat(200)}`]) {
      expect(parseRoute(odd)).toEqual({ page: "chat", chatId: null });
    }
  });

  it("reads what the server says of itself, whatever it is", () => {
    expect(readAbout({ moamesh: "1", mesh: "home", device: null, web_broker: "", hint: "x" })).toEqual({
      moamesh: "1",
      mesh: "home",
      device: null,
      webBroker: "",
      hint: "x",
    });
    expect(readAbout({ mesh: 5 })?.mesh).toBe("");
    expect(readAbout("no")).toBeNull();
  });
});

describe("numbers for people", () => {
  it("keep the digits that matter", () => {
    expect([0.004, 0.34, 4.23, 42.3, 120, 185, 7200].map(seconds)).toEqual([
      "0.00 s",
      "0.34 s",
      "4.2 s",
      "42 s",
      "2 min",
      "3 min 5 s",
      "2.0 h",
    ]);
    expect([0, 7.4, 65].map(wholeSeconds)).toEqual(["0 s", "7 s", "1 min 5 s"]);
    expect([0, 0.001, 0.12, 2].map(rate)).toEqual(["none", "3.6 / h", "7.2 / min", "2 / s"]);
    expect([percent(null), percent(0.456), figure(3), figure(3.25)]).toEqual(["–", "46 %", "3", "3.3"]);
  });
});
