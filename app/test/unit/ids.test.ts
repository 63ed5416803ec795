/** Ids of prompts, which nobody may guess: who knows one could cancel its prompt. */
import { expect, test } from "vitest";
import { newExchange } from "../../src/engine/new_exchange";
import { exchange } from "../support/samples";

test("prompts have ids of 128 bits, never the same twice", () => {
  const options = exchange({}).options;
  const ids = [0, 1].map(() => newExchange("chat", "device-1", "Why?", options, null).id);
  expect(new Set(ids).size).toBe(2);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
});
