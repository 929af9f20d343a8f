// The client with stand-ins for VS Code and its language client: what is started, when, and what a person is told.
"use strict";

const assert = require("node:assert/strict");
const { chmodSync, mkdtempSync, writeFileSync } = require("node:fs");
const Module = require("node:module");
const { homedir, tmpdir } = require("node:os");
const { join } = require("node:path");
const { beforeEach, test } = require("node:test");
const { buildSync } = require("esbuild");

const root = join(__dirname, "..", "..");
const folder = mkdtempSync(join(tmpdir(), "mcd-"));

/** A stand-in for `mcd` that ends with `code`. */
function program(name, code, line = "") {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n[ "$1 $2" = "lsp --help" ] || exit 9\necho "${line}" >&2\nexit ${code}\n`);
  chmodSync(path, 0o755);
  return path;
}

const state = {};
let handlers;

const vscode = {
  commands: {
    registerCommand: (name, handler) => (handlers[name] = handler),
    executeCommand: (...call) => state.executed.push(call),
  },
  window: { showErrorMessage: (...call) => (state.errors.push(call), Promise.resolve(state.answer)) },
  workspace: {
    get isTrusted() {
      return state.trusted;
    },
    get workspaceFolders() {
      return [{ uri: { fsPath: folder } }];
    },
    getConfiguration: () => ({ get: () => state.path }),
    createFileSystemWatcher: (pattern) => pattern,
    onDidGrantWorkspaceTrust: (handler) => (handlers.trust = handler),
    onDidChangeConfiguration: (handler) => (handlers.change = handler),
  },
};

class LanguageClient {
  constructor(id, name, server, options) {
    Object.assign(this, { id, name, server, options, running: false });
    state.clients.push(this);
  }
  async start() {
    if (state.fails) {
      throw new Error("no answer");
    }
    this.running = true;
  }
  needsStop() {
    return this.running;
  }
  async stop() {
    this.running = false;
  }
  async dispose() {
    this.disposed = true;
  }
}

function load() {
  const outfile = join(folder, "extension.js");
  buildSync({
    entryPoints: [join(root, "src", "extension.ts")],
    bundle: true,
    platform: "node",
    format: "cjs",
    external: ["vscode", "vscode-languageclient"],
    outfile,
  });
  delete require.cache[require.resolve(outfile)];
  const original = Module._load;
  Module._load = (request, ...rest) => {
    const stand_in = { vscode, "vscode-languageclient/node": { LanguageClient } }[request];
    return stand_in ?? original(request, ...rest);
  };
  try {
    return require(outfile);
  } finally {
    Module._load = original;
  }
}

let extension;

beforeEach(() => {
  Object.assign(state, { trusted: true, path: program("mcd", 0), clients: [], errors: [], executed: [], fails: false });
  state.answer = undefined;
  handlers = {};
  extension = load();
});

const activate = () => extension.activate({ subscriptions: [] });

test("starts the command of the setting with `lsp`, for files and new documents", async () => {
  await activate();
  const [client] = state.clients;
  assert.deepEqual(client.server, { command: state.path, args: ["lsp"] });
  assert.deepEqual(
    client.options.documentSelector.map((entry) => [entry.scheme, entry.language]),
    [
      ["file", "mcd"],
      ["untitled", "mcd"],
    ],
  );
  assert.ok(client.running);
  assert.deepEqual(state.errors, []);
});

test("a path that begins with ./ is below the workspace, one with ~/ below the home folder", async () => {
  state.path = "./mcd";
  await activate();
  assert.equal(state.clients[0].server.command, join(folder, "mcd"));
  state.path = "~/no/such/mcd";
  await handlers["mcd.restart"]();
  assert.match(state.errors[0][0], new RegExp(`${homedir()}.no.such.mcd. was not found`));
});

test("an untrusted workspace starts nothing until it is trusted", async () => {
  state.trusted = false;
  await activate();
  assert.equal(state.clients.length, 0);
  state.trusted = true;
  await handlers.trust();
  assert.equal(state.clients.length, 1);
});

test("says what to do where the command is missing, and opens the setting", async () => {
  state.path = join(folder, "missing");
  state.answer = "Open settings";
  await activate();
  await new Promise(setImmediate);
  assert.match(state.errors[0][0], /missing` was not found: pip install 'mcd-lang\[lsp\]', or set `mcd.path`/);
  assert.deepEqual(state.executed, [["workbench.action.openSettings", "mcd.path"]]);
  assert.equal(state.clients.length, 0);
});

test("shows the last line of a command that cannot serve", async () => {
  state.path = program("old", 2, "No such command 'lsp'.");
  await activate();
  assert.match(state.errors[0][0], /old lsp` does not start: No such command 'lsp'\./);
});

test("a changed path stops the old server and starts another; other settings do not", async () => {
  await activate();
  handlers.change({ affectsConfiguration: (name) => name === "mcd.trace" });
  state.path = program("other", 0);
  handlers.change({ affectsConfiguration: (name) => name === "mcd.path" });
  handlers.change({ affectsConfiguration: (name) => name === "mcd.path" });
  await handlers["mcd.restart"]();
  assert.equal(state.clients.length, 4);
  assert.deepEqual(
    state.clients.map((client) => [client.running, client.disposed ?? false]),
    [...Array(3).fill([false, true]), [true, false]],
  );
  assert.equal(state.clients[3].server.command, state.path);
});

test("a server that fails to start is told, and the next restart works", async () => {
  state.fails = true;
  await activate();
  assert.match(state.errors[0][0], /mcd: no answer/);
  state.fails = false;
  await handlers["mcd.restart"]();
  assert.ok(state.clients[1].running);
});

test("deactivation stops the server", async () => {
  await activate();
  await extension.deactivate();
  assert.ok(!state.clients[0].running);
});

test("what the manifest promises is there", () => {
  const manifest = require(join(root, "package.json"));
  const { grammars, languages, snippets } = manifest.contributes;
  for (const path of [...grammars, ...snippets].map((entry) => entry.path).concat(languages[0].configuration)) {
    require(join(root, path));
  }
  assert.equal(grammars[0].scopeName, require(join(root, grammars[0].path)).scopeName);
});

test("the patterns of the language configuration do what they are for", () => {
  const { indentationRules, onEnterRules, wordPattern } = require(join(root, "language-configuration.json"));
  const increases = (line) => new RegExp(indentationRules.increaseIndentPattern).test(line);
  for (const line of ["model gpt {", "  classes = [", "model gpt {  # the contract", 'source s = jsonl("a{") {']) {
    assert.ok(increases(line), line);
  }
  for (const line of ["span a = b", 'text = "{.a"', "concept c { spans = a }", "# a {", "}", 'x = "#{" # {']) {
    assert.ok(!increases(line), line);
  }
  assert.ok(new RegExp(indentationRules.decreaseIndentPattern).test("  ]"));
  const [comment, block] = onEnterRules.map((rule) => new RegExp(rule.beforeText));
  assert.ok(comment.test("  ## said of it") && !comment.test("# note") && !comment.test("##"));
  assert.ok(block.test("model gpt {") && !block.test("span a = b"));
  assert.deepEqual("use $middle of 12.5% .a".match(new RegExp(wordPattern, "g")), ["use", "$middle", "of", "12.5%", "a"]);
});
