/** A model's answer, as Markdown. See `inline` for why nothing in it can run. */
import type { ComponentChild, VNode } from "preact";
import { useRef } from "preact/hooks";
import type { Token, Tokens } from "marked";
import { memo } from "../memo";
import { BlockReader, type Block } from "./blocks";
import { CodeBlock } from "./code_block";
import { MARKDOWN_DEPTH_MAX, inline } from "./inline";

/** Draws `text`, which may grow; `live` while it does. */
export const Markdown = memo(({ text, live }: { text: string; live: boolean }): VNode => {
  const reader = useRef<BlockReader | null>(null);
  reader.current ??= new BlockReader();
  const blocks = reader.current.blocks(text);
  return (
    <>
      {blocks.map((block, index) => (
        <BlockView key={index} block={block} live={live && index === blocks.length - 1} />
      ))}
    </>
  );
});

const BlockView = memo(({ block, live }: { block: Block; live: boolean }): VNode => {
  if (block.kind === "plain") return <p class="md-plain">{block.text}</p>;
  return <>{blockOf(block.token as Tokens.Generic, 0, live)}</>;
});

function blocksOf(tokens: readonly Token[], depth: number, live: boolean): ComponentChild[] {
  return tokens.map((token, index) =>
    depth > MARKDOWN_DEPTH_MAX
      ? token.raw
      : blockOf(token as Tokens.Generic, depth, live && index === tokens.length - 1),
  );
}

function blockOf(token: Tokens.Generic, depth: number, live: boolean): ComponentChild {
  const text = (): ComponentChild[] => inline(token.tokens ?? [], depth + 1);
  switch (token.type) {
    case "paragraph":
      return <p>{text()}</p>;
    case "heading":
      // One level for all: where a model begins with "###" the outline of the page would have a hole.
      return <h3 class={`md-h${token["depth"] as number}`}>{text()}</h3>;
    case "code":
      return (
        <CodeBlock code={token["text"] as string} language={(token["lang"] as string | undefined) ?? ""} live={live} />
      );
    case "blockquote":
      return <blockquote>{blocksOf(token.tokens ?? [], depth + 1, live)}</blockquote>;
    case "list":
      return <ListView list={token as Tokens.List} depth={depth} live={live} />;
    case "table":
      return <TableView table={token as Tokens.Table} depth={depth} />;
    case "hr":
      return <hr />;
    case "space":
      return null;
    case "text":
    case "checkbox":
      return inline([token], depth);
    default:
      return <p class="md-plain">{token.raw.trim()}</p>; // HTML among it: shown as it was written
  }
}

function ListView({ list, depth, live }: { list: Tokens.List; depth: number; live: boolean }): VNode {
  const items = list.items.map((item, index) => (
    <li class={item.task ? "md-task" : undefined}>
      {blocksOf(item.tokens, depth + 1, live && index === list.items.length - 1)}
    </li>
  ));
  return list.ordered ? <ol start={list.start === "" ? 1 : list.start}>{items}</ol> : <ul>{items}</ul>;
}

function TableView({ table, depth }: { table: Tokens.Table; depth: number }): VNode {
  const cell = (part: Tokens.TableCell): ComponentChild =>
    part.header ? (
      <th scope="col" data-align={part.align}>
        {inline(part.tokens, depth + 1)}
      </th>
    ) : (
      <td data-align={part.align}>{inline(part.tokens, depth + 1)}</td>
    );
  return (
    <div class="md-scroll" role="group" aria-label="Table" tabIndex={0}>
      <table>
        <thead>
          <tr>{table.header.map(cell)}</tr>
        </thead>
        <tbody>
          {table.rows.map((row) => (
            <tr>{row.map(cell)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
