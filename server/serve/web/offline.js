/** Keeps what this page is made of, so that it opens again without a network: the newest where there is one, else what was kept. */
const CACHE = "digits";
const MODEL = "/model.onnx";
const FILES = [
  "./", "style.css", "draw.js", "strokes.js", "prepare.js", "icon.svg",
  "ort/ort.wasm.min.mjs", "ort/ort-wasm-simd-threaded.mjs", "ort/ort-wasm-simd-threaded.wasm",
];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(newest(event.request));
});

async function newest(request) {
  const cache = await caches.open(CACHE);
  let response;
  try {
    response = await fetch(request);
  } catch (error) {
    const cached = await cache.match(request, { ignoreSearch: true, ignoreVary: true });
    if (cached) return cached;
    throw error;
  }
  if (response.ok) await keep(cache, request, response);
  return response;
}

/** Keep an answer; of models the newest only. Where the browser gives no room for it, the page works as long as there is a network. */
async function keep(cache, request, response) {
  const others = request.url.endsWith(MODEL) ? (await cache.keys()).filter(({ url }) => url.endsWith(MODEL) && url !== request.url) : [];
  const forget = () => Promise.all(others.map((other) => cache.delete(other)));
  try {
    await cache.put(request, response.clone());
    await forget();
  } catch {
    await forget();
    await cache.put(request, response.clone()).catch(() => {});
  }
}
