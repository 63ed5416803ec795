// @vitest-environment jsdom
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { h, render } from "preact";
import { afterEach, describe, expect, it } from "vitest";
import { BlockReader, MARKDOWN_LENGTH_MAX, PARAGRAPH_LENGTH_MAX } from "../../src/ui/markdown/blocks";
import { MARKDOWN_DEPTH_MAX } from "../../src/ui/markdown/inline";
import { Markdown } from "../../src/ui/markdown/markdown";
import { decodeEntities, safeAddress } from "../../src/ui/markdown/safe";
import { ANSWER } from "../../src/ui/dev/samples";

const box = document.createElement("div");

function show(text: string, live = false): HTMLElement {
  render(h(Markdown, { text, live }), box);
  return box;
}

afterEach(() => render(null, box));

const HOSTILE = [
  "<script>parent.hit = 1</script>",
  "<img src=x onerror=alert(1)>",
  "a <b onmouseover=alert(1)>b</b> <svg/onload=alert(1)>",
  "<iframe src=https://evil.example></iframe>",
  "<style>*{display:none}</style><base href=//evil.example><form action=//evil.example><input>",
  "[a](javascript:alert(1))",
  "[a](JaVaScRiPt:alert(1)) [b](java\nscript:alert(1)) [c](&#106;avascript:alert(1))",
  "[a](data:text/html,<script>alert(1)</script>) [b](vbscript:x) [c](file:///etc/passwd) [d](blob:x)",
  "[a](//evil.example) [b](/v1/models) [c](#/settings) [d](?x) [e](#pair=abc)",
  "[bank](https://bank.example@evil.example/)",
  "![x](https://evil.example/pixel.png) ![x](javascript:alert(1)) ![x](data:image/svg+xml,<svg/onload=alert(1)>)",
  "<javascript:alert(1)> javascript:alert(1)",
  "[x]: javascript:alert(1)\n\n[x]",
  "```html\n<script>alert(1)</script>\n```",
  '```"><script>alert(1)</script>\ncode\n```',
  "`<script>alert(1)</script>`",
  '[a](https://x.example "\\" onclick=alert(1) x=\\"")',
  "| <script>alert(1)</script> | b |\n|-|-|\n| <img src=x onerror=alert(1)> | [c](javascript:alert(1)) |",
  "- <script>alert(1)</script>\n- > <img src=x>",
  "# <script>alert(1)</script>",
  "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62;",
];
const TEXT_ELEMENTS = "p h3 strong em del code pre br hr ul ol li blockquote a span".split(" ");
const ELEMENTS = new Set([...TEXT_ELEMENTS, ..."table thead tbody tr th td div figure figcaption button".split(" ")]);
const ATTRIBUTES = new Set(
  "class href target rel title start tabindex role aria-label scope data-align type".split(" "),
);

describe("Markdown of a hostile model", () => {
  it.each(HOSTILE)("becomes only elements and attributes from the list: %s", (text) => {
    for (const element of show(text).querySelectorAll("*")) {
      expect(ELEMENTS).toContain(element.localName);
      for (const { name } of element.attributes) expect(ATTRIBUTES).toContain(name);
    }
  });

  it.each(HOSTILE)("leads nowhere but to the web and mail, in another window, without a way back: %s", (text) => {
    for (const link of show(text).querySelectorAll("a")) {
      expect(link.protocol).toMatch(/^(https?|mailto):$/);
      expect(link.username).toBe("");
      expect(link.target).toBe("_blank");
      expect(link.rel.split(" ")).toEqual(expect.arrayContaining(["noopener", "noreferrer"]));
    }
  });

  it("loses nothing of HTML: it is shown as it was written", () => {
    expect(show("a <b onclick=x>b</b>\n\n<script>alert(1)</script>").textContent).toBe(
      "a <b onclick=x>b</b><script>alert(1)</script>",
    );
  });

  it("shows images as links, so that nothing is loaded unasked", () => {
    const link = show("![a chart](https://example.org/c.png)").querySelector("a");
    expect(link?.href).toBe("https://example.org/c.png");
    expect(link?.textContent).toBe("Image: a chart");
  });

  it.each([
    [">".repeat(300) + "deep", "quotes"],
    ["- ".repeat(300) + "deep", "lists"],
    [Array.from({ length: 100 }, (_, n) => " ".repeat(2 * n) + "- deep").join("\n"), "nested lists"],
    ["*_".repeat(500) + "deep", "emphasis"],
    ["[".repeat(3000) + "deep", "brackets"],
    [">".repeat(7000), "more quotes than the stack is deep"],
  ])("bounds the depth of the page: %#", (text) => {
    const depth = (element: Element): number => 1 + Math.max(0, ...[...element.children].map(depth));
    // a level of Markdown takes up to two elements (ul and li), and the innermost a few more
    expect(depth(show(text))).toBeLessThanOrEqual(2 * MARKDOWN_DEPTH_MAX + 6);
    expect(box.textContent).toContain(text.includes("deep") ? "deep" : ">");
  });

  it("shows what is too long as plain text, and all of it", () => {
    for (const text of ["**a** ".repeat(MARKDOWN_LENGTH_MAX / 6 + 1), "_a".repeat(PARAGRAPH_LENGTH_MAX)]) {
      expect(show(text).querySelectorAll("*").length).toBe(1);
      expect(box.textContent).toBe(text);
    }
  });

  it("has no place in the views where HTML is read", () => {
    const root = join(import.meta.dirname, "../../src");
    const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => /\.tsx?$/.test(name));
    expect(files.length).toBeGreaterThan(40);
    const readsHtml = /innerHTML|outerHTML|insertAdjacentHTML|dangerouslySet|document\.write|DOMParser|srcdoc|\beval\(/;
    expect(files.filter((name) => readsHtml.test(readFileSync(join(root, name), "utf8")))).toEqual([]);
  });
});

describe("Markdown", () => {
  it("draws what models write", () => {
    show(ANSWER);
    const texts = (selector: string): (string | null)[] =>
      [...box.querySelectorAll(selector)].map((one) => one.textContent);
    expect(texts("strong")).toEqual(["blue"]);
    expect(texts("h3")).toEqual(["How much more?"]);
    expect(texts("tbody td")).toEqual(["red", "650", "1.0", "green", "530", "2.3", "blue", "450", "4.4"]);
    expect(texts("ol > li").length).toBe(2);
    expect(texts("ol ul li")).toEqual(["and our eyes see it less well."]);
    expect(box.querySelector("pre")?.textContent).toContain("return (650 / wavelength_nm) ** 4");
    expect(box.querySelector("a")?.href).toBe("https://en.wikipedia.org/wiki/Rayleigh_scattering");
  });

  it("looks the same whether it came token by token or at once", () => {
    for (const text of [
      ANSWER,
      ANSWER.replaceAll("\n", "\r\n"),
      "a\n\n1. b\n\n2. c\n\n   d\n\ne\n===\n\n```\nopen",
      "- a\n  - b\n\n  c\n\n---\nd\n---\n\n> e\nf\n\n|g|h|\n|-|-|\n|i|j|\nk\n\n~~~\nl\n\nm\n~~~\n1. n\n10. o",
    ]) {
      render(null, box);
      const whole = show(text).innerHTML;
      render(null, box);
      for (let end = 1; end <= text.length; end += 1) show(text.slice(0, end), true);
      expect(show(text).innerHTML).toBe(whole);
    }
  });

  it("leaves the elements of finished blocks alone while more arrives", () => {
    show("First paragraph.\n\nSecond.\n\nThird", true);
    const first = box.querySelector("p");
    show("First paragraph.\n\nSecond.\n\nThird one, and ```", true);
    expect(box.querySelector("p")).toBe(first);
  });

  it("reads a token at the cost of one paragraph, however long the answer is", () => {
    const reader = new BlockReader();
    const paragraph = "Some words that make a paragraph.\n\n";
    const before = reader.blocks(paragraph.repeat(500));
    const after = reader.blocks(`${paragraph.repeat(500)}more`);
    expect(before.length).toBe(500);
    expect(after.slice(0, 498).every((block, index) => block === before[index])).toBe(true);
  });

  it("begins anew when the answer does", () => {
    show("One answer, in full.\n\nAnd more.", true);
    expect(show("Another", true).textContent).toBe("Another");
  });
});

describe("addresses and characters", () => {
  it("lets through the web and mail", () => {
    expect(safeAddress("https://example.org/a?b=1&amp;c=2")).toBe("https://example.org/a?b=1&c=2");
    expect(safeAddress("mailto:a@example.org")).toBe("mailto:a@example.org");
    expect(safeAddress(`https://example.org/${"a".repeat(3000)}`)).toBeNull();
  });

  it("makes characters of references, and nothing of what is none", () => {
    expect(decodeEntities("&lt;&#60;&#x3c;&amp;lt; &unknown; &#0; &#xD800; &#9999999; AT&T")).toBe(
      "<<<&lt; &unknown; \ufffd \ufffd \ufffd AT&T",
    );
  });
});
