/** A component that is drawn again only when one of its props is another value. */
import { Component, h, type ComponentChild, type FunctionComponent } from "preact";

/**
 * Wraps `View`. The engine keeps an exchange that has not changed the same object, so a token in one exchange costs
 * nothing in the others. (preact/compat has a `memo`, and brings much along that nothing else here needs.)
 */
export function memo<P extends object>(View: FunctionComponent<P>): FunctionComponent<P> {
  class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const names = Object.keys(next) as (keyof P)[];
      return names.length !== Object.keys(this.props).length || names.some((name) => next[name] !== this.props[name]);
    }
    override render(): ComponentChild {
      return h(View, this.props);
    }
  }
  return Memo as unknown as FunctionComponent<P>; // preact draws classes and functions alike; the type tells them apart
}
