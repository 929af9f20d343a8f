import { commands, ExtensionContext, window, workspace } from "vscode";
import { LanguageClient, LanguageClientOptions, ServerOptions } from "vscode-languageclient/node";

import { obstacle, resolve } from "./command";

let client: LanguageClient | undefined;
let last: Promise<void> = Promise.resolve();

/** Start the language server, now or as soon as the workspace is trusted, and again when its setting changes. */
export async function activate(context: ExtensionContext): Promise<void> {
  context.subscriptions.push(
    commands.registerCommand("mcd.restart", restart),
    workspace.onDidGrantWorkspaceTrust(restart),
    workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration("mcd.path")) {
        void restart();
      }
    }),
  );
  await restart();
}

export async function deactivate(): Promise<void> {
  await enqueue(stop);
}

function restart(): Promise<void> {
  return enqueue(async () => {
    await stop();
    await start();
  });
}

/** One after the other, so that two changes of a setting never leave two servers. */
function enqueue(step: () => Promise<void>): Promise<void> {
  last = last.then(step).catch((error: unknown) => {
    void window.showErrorMessage(`mcd: ${error instanceof Error ? error.message : String(error)}`);
  });
  return last;
}

async function stop(): Promise<void> {
  const running = client;
  client = undefined;
  if (running?.needsStop()) {
    await running.stop();
  }
  await running?.dispose();
}

async function start(): Promise<void> {
  if (!workspace.isTrusted) {
    return;
  }
  const setting = workspace.getConfiguration("mcd").get<string>("path", "mcd");
  const command = resolve(setting, workspace.workspaceFolders?.[0]?.uri.fsPath);
  const reason = await obstacle(command);
  if (reason !== undefined) {
    void complain(reason);
    return;
  }
  const server: ServerOptions = { command, args: ["lsp"] };
  const options: LanguageClientOptions = {
    documentSelector: [
      { scheme: "file", language: "mcd" },
      { scheme: "untitled", language: "mcd" },
    ],
    synchronize: { fileEvents: workspace.createFileSystemWatcher("**/{*.mcd,mcd.toml,pyproject.toml}") },
  };
  client = new LanguageClient("mcd", "mcd", server, options);
  await client.start();
}

async function complain(reason: string): Promise<void> {
  const settings = "Open settings";
  if ((await window.showErrorMessage(`mcd: ${reason}`, settings)) === settings) {
    await commands.executeCommand("workbench.action.openSettings", "mcd.path");
  }
}
