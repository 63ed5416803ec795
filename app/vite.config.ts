/**
 * Builds the app into the gateway's folder, and runs its unit tests.
 *
 * Everything is a file of its own (no inline script or style), because the page's content security policy allows no
 * other; nothing is loaded from elsewhere.
 */
import { VitePWA } from "vite-plugin-pwa";
import { defineConfig } from "vitest/config";
import { nodeGlobals, pageAliases } from "./tools/page_aliases.ts";
import { startSize } from "./tools/start_size.ts";

export default defineConfig({
  base: "./", // works under any path, behind any proxy
  resolve: { alias: process.env["VITEST"] ? [] : pageAliases },
  optimizeDeps: { rolldownOptions: { transform: { inject: nodeGlobals } } }, // for `npm run dev`
  plugins: [
    startSize(),
    VitePWA({
      registerType: "prompt", // a new version takes over with the next start, never under a reader's eyes
      injectRegister: false, // ui/shell/update.tsx does it, and offers the new version
      includeManifestIcons: false, // the pattern below has them
      workbox: {
        globPatterns: ["**/*.{html,js,css,svg,png,webmanifest}"],
        inlineWorkboxRuntime: true,
        navigateFallback: "index.html",
        navigateFallbackDenylist: [/^\/v1\//, /^\/(docs|openapi\.json|about\.json|metrics|healthz|readyz)/],
        cleanupOutdatedCaches: true,
      },
      manifest: {
        name: "moamesh",
        short_name: "moamesh",
        description: "Ask your own devices: they answer together.",
        start_url: "./",
        scope: "./",
        display: "standalone",
        background_color: "#f6f6f3", // as --background of the light theme, which a first start has
        theme_color: "#f6f6f3",
        icons: [
          { src: "icon-192.png", sizes: "192x192", type: "image/png" },
          { src: "icon-512.png", sizes: "512x512", type: "image/png" },
          { src: "icon-maskable-512.png", sizes: "512x512", type: "image/png", purpose: "maskable" },
        ],
      },
    }),
  ],
  build: {
    outDir: "../edge_agent/gateway/static",
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    rolldownOptions: { transform: { inject: nodeGlobals } },
    reportCompressedSize: false, // startSize() says it, by what a start needs
  },
  test: {
    include: ["{src,test}/**/*.test.{ts,tsx}"],
    environment: "node",
    setupFiles: ["test/setup.ts"],
    testTimeout: 300_000, // for one that hangs: the machine may be slow and busy
    hookTimeout: 300_000, // as well: what is set up before a test imports the views
    maxWorkers: 2,
  },
});
