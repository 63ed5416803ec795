"""The app's peer: the same tokens by the same broker into a page that does nothing but show them.

A WebSocket, the few MQTT 3.1.1 packets that a subscription needs, and `textContent`: no protocol, no Markdown, no
views. What it takes is what broker, WebSocket and browser take; what the app takes beyond it is the app's.
"""

from __future__ import annotations

from playwright.async_api import Browser, Page

from tests.support.browser import PHONE, WITNESS, Pairing

PROMPT_ID = "echo"

_PAGE = """
<!doctype html><meta name="viewport" content="width=device-width">
<main role="log"><article data-prompt-id="echo" data-state="streaming"><div data-part="answer"></div></article></main>
"""

_CLIENT = """
([url, user, password, topic]) => new Promise((ready, fail) => {
  const text = (words) => { const b = new TextEncoder().encode(words); return [b.length >> 8, b.length & 255, ...b]; };
  const packet = (type, body) => new Uint8Array([type, ...size(body.length), ...body]);
  const size = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...size(n >> 7)]);
  const socket = new WebSocket(url, "mqtt");
  const answer = document.querySelector("[data-part=answer]");
  socket.binaryType = "arraybuffer";
  socket.onerror = () => fail(new Error("no WebSocket"));
  socket.onopen = () => socket.send(packet(0x10,
    [...text("MQTT"), 4, 0xc2, 0, 60, ...text("echo"), ...text(user), ...text(password)]));
  let rest = new Uint8Array();
  socket.onmessage = (event) => {
    const bytes = new Uint8Array(rest.length + event.data.byteLength);
    bytes.set(rest); bytes.set(new Uint8Array(event.data), rest.length);
    let at = 0;
    for (;;) {
      let length = 0, shift = 0, head = at + 1;
      while (head < bytes.length && bytes[head] & 128) { length |= (bytes[head++] & 127) << shift; shift += 7; }
      if (head >= bytes.length) break;
      length |= bytes[head++] << shift;
      if (head + length > bytes.length) break;
      take(bytes[at], bytes.subarray(head, head + length));
      at = head + length;
    }
    rest = bytes.slice(at);
  };
  const take = (type, body) => {
    if (type >> 4 === 2) socket.send(packet(0x82, [0, 1, ...text(topic), 1]));
    if (type >> 4 === 9) ready();
    if (type >> 4 !== 3) return;
    const name = (body[0] << 8) | body[1];
    const qos = (type >> 1) & 3;
    if (qos) socket.send(new Uint8Array([0x40, 2, body[2 + name], body[3 + name]]));
    const said = JSON.parse(new TextDecoder().decode(body.subarray(2 + name + (qos ? 2 : 0))));
    answer.textContent = said.start ? said.text : answer.textContent + said.text;
  };
})
"""


async def open_echo(browser: Browser, pairing: Pairing, topic: str) -> Page:
    """A page that shows what is published to `topic`, with the app's witness in it. The caller closes its context."""
    context = await browser.new_context(viewport={"width": PHONE.width, "height": PHONE.height})
    page = await context.new_page()
    await page.set_content(_PAGE)
    await page.evaluate(WITNESS)
    await page.evaluate(_CLIENT, [pairing.brokers[0], f"user.{pairing.user}", pairing.secret, topic])
    return page
