// Builds the front end. `node build.mjs` bundles src/ into nbkit/widgets/static/, which the Python package loads;
// `node build.mjs --test` bundles each test in tests/ into .test/, which `node --test` runs.
import { build } from "esbuild";
import { readdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const shared = { bundle: true, format: "esm", target: "es2022", logLevel: "warning", charset: "utf8" };

if (process.argv.includes("--test")) {
  await rm(here(".test"), { recursive: true, force: true });
  const tests = (await readdir(here("tests"))).filter((name) => name.endsWith(".test.ts"));
  await build({
    ...shared,
    entryPoints: tests.map((name) => here(`tests/${name}`)),
    outdir: here(".test"),
    outExtension: { ".js": ".mjs" },
    platform: "node",
    sourcemap: "inline",
  });
} else {
  await build({
    ...shared,
    entryPoints: { session: here("src/index.ts"), "session-style": here("src/style.css") },
    outdir: here("../nbkit/widgets/static"),
    minify: true,
    legalComments: "none",
  });
}
