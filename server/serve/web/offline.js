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
  // Where the browser gives no more room, the page works as long as there is a network.
  if (response.ok) await keep(cache, request, response.clone()).catch(() => {});
  return response;
}

/** Keep an answer; of models the newest only. */
async function keep(cache, request, response) {
  await cache.put(request, response);
  if (!request.url.endsWith(MODEL)) return;
  for (const other of await cache.keys()) if (other.url.endsWith(MODEL) && other.url !== request.url) await cache.delete(other);
}
