"""A long history: one real exchange, kept a thousand times over in the browser's own database."""

from __future__ import annotations

from tests.support.browser import AppPage, Exchange

MESSAGES = 1_000  # a prompt and its answer are two

# Answers as models write them, each a little different: prose, a list, code, a table.
_ANSWER = """Answer {number}. The sky is blue because **shorter wavelengths** scatter more in air than longer ones do.

1. Sunlight holds all colours.
2. Molecules of air are far smaller than its wavelengths.
3. Scattering grows with the *fourth power* of the frequency, see [a page](https://example.org/{number}).

```python
def scattered(wavelength_nm: float) -> float:
    return (550.0 / wavelength_nm) ** 4  # relative to green, {number}
```

| colour | wavelength | scattered |
|--------|-----------:|----------:|
| red    |     700 nm |      0.38 |
| blue   |     450 nm |      2.23 |
"""

_FILL = """
async ([id, count, text]) => {
  for (const {name} of await indexedDB.databases()) {
    const db = await new Promise((done, fail) => {
      const opening = indexedDB.open(name);
      opening.onsuccess = () => done(opening.result);
      opening.onerror = () => fail(opening.error);
    });
    const wait = (request) => new Promise((done, fail) => {
      request.onsuccess = () => done(request.result);
      request.onerror = () => fail(request.error);
    });
    for (const storeName of db.objectStoreNames) {
      const model = (await wait(db.transaction(storeName).objectStore(storeName).getAll())).find(
        (one) => one?.id === id && "answer" in one);
      if (!model) continue;
      const writing = db.transaction(storeName, "readwrite");
      for (let number = 0; number < count; number += 1)
        writing.objectStore(storeName).put({...model, id: `${id.slice(0, -4)}${String(number).padStart(4, "0")}`,
          askedAt: model.askedAt - (count - number) * 1000, prompt: `Question ${number}: why is the sky blue?`,
          answer: text.replaceAll("{number}", String(number))});
      await new Promise((done, fail) => { writing.oncomplete = done; writing.onerror = () => fail(writing.error); });
      db.close();
      return count;
    }
    db.close();
  }
  return 0;
}
"""


async def fill(app: AppPage, exchange: Exchange, messages: int = MESSAGES) -> None:
    """Puts copies of an exchange that has ended before it into its chat, so that the chat has so many messages."""
    count = messages // 2 - 1
    written = await app.page.evaluate(_FILL, [exchange.prompt_id, count, _ANSWER])
    if written != count:
        raise AssertionError(f"the exchange {exchange.prompt_id} is in none of the page's databases")
    await app.page.reload()
