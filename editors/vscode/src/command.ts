import { execFile } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";

/** The command that the setting `mcd.path` names; `folder` is the first folder of the workspace. */
export function resolve(setting: string, folder: string | undefined): string {
  const path = setting.trim() || "mcd";
  if (/^~[\\/]/.test(path)) {
    return join(homedir(), path.slice(2));
  }
  return folder !== undefined && /^\.{1,2}[\\/]/.test(path) ? join(folder, path) : path;
}

/** Why no language server can be started with `command`, or undefined where one can. */
export function obstacle(command: string): Promise<string | undefined> {
  return new Promise((done) => {
    execFile(command, ["lsp", "--help"], { timeout: 20_000 }, (error, _, stderr) => {
      if (error === null) {
        done(undefined);
      } else if (error.code === "ENOENT") {
        done(`\`${command}\` was not found: pip install 'mcd-lang[lsp]', or set \`mcd.path\``);
      } else {
        done(`\`${command} lsp\` does not start: ${stderr.trim().split("\n").pop() || error.message}`);
      }
    });
  });
}
