// Search runs in a Worker. From disk (file:) browsers refuse to start one, so a hidden frame stands in for it there: it
// runs the same script, takes messages and sends them back. Over HTTP this does nothing.
"use strict";
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inner = frame.contentWindow;
      this.inner.postMessage = (data) => this.tell(data);
      this.inner.importScripts = (...urls) => urls.forEach((one) => this.load(one));
      this.ready = this.load(url);
    }

    load(url) {
      return new Promise((loaded, failed) => {
        const script = this.inner.document.createElement("script");
        script.onload = loaded;
        script.onerror = () => failed(new Error(`cannot load ${url}`));
        script.src = new URL(url, location.href).href;
        this.inner.document.body.append(script);
      });
    }

    tell(data) {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      this.onmessage?.(event);
    }

    postMessage(data) {
      this.ready.then(() => this.inner.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.inner.frameElement.remove();
    }
  };
}
