/** Asks before something is lost. A native dialog: it holds the focus, and Escape means no. */
import type { ComponentChildren, VNode } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";

interface ConfirmProps {
  title: string;
  /** What the button that does it says. */
  action: string;
  children: ComponentChildren;
  onYes: () => void;
  onNo: () => void;
}

export function Confirm({ title, action, children, onYes, onNo }: ConfirmProps): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    const focused = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (focused instanceof HTMLElement && focused.isConnected) focused.focus();
    };
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={onNo} onCancel={onNo}>
      <h2 id={id}>{title}</h2>
      <p>{children}</p>
      <div class="dialog-actions">
        <button type="button" class="quiet" onClick={onNo}>
          No
        </button>
        <button type="button" class="danger" onClick={onYes}>
          {action}
        </button>
      </div>
    </dialog>
  );
}
