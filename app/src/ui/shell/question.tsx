/** One question at a time over the whole page, asked from outside of any view. */
import { signal } from "@preact/signals";
import type { VNode } from "preact";
import { Confirm } from "./confirm";

interface Asked {
  title: string;
  text: string;
  action: string;
  answer: (yes: boolean) => void;
}

const asked = signal<Asked | null>(null);

/** Asks; resolves to whether the user agreed. A question that is still open is answered with no. */
export function ask(title: string, text: string, action: string): Promise<boolean> {
  asked.value?.answer(false);
  return new Promise((resolve) => {
    asked.value = {
      title,
      text,
      action,
      answer: (yes) => {
        asked.value = null;
        resolve(yes);
      },
    };
  });
}

/** Where questions appear; put it on the page once. */
export function Question(): VNode | null {
  const question = asked.value;
  if (question === null) return null;
  return (
    <Confirm
      key={question.title}
      title={question.title}
      action={question.action}
      onYes={() => question.answer(true)}
      onNo={() => question.answer(false)}
    >
      {question.text}
    </Confirm>
  );
}
