"""Compiles both specs and runs their experiments: what `make demo` does.

python -m specs.demo out
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from . import _experiment
from .recall import experiment as recall
from .wordnet import experiment as wordnet

RECALL = {"spec": "specs/recall/recall.mcd", "control": "specs/recall/control.mcd"}
WORDNET = {"spec": "specs/wordnet/wordnet.mcd"}


def compile_all(specs: Mapping[str, str], folder: Path) -> None:
    """Runs `mcd compile` on each spec, as one would in a shell."""
    for name, spec in specs.items():
        command = ["mcd", "compile", "--quiet", spec, "-o", str(folder / name)]
        print("$", *command, flush=True)
        subprocess.run([Path(sys.executable).with_name("mcd"), *command[1:]], check=True)


def main() -> None:
    out: Path = _experiment.folder_argument(__doc__)
    began = time.monotonic()
    compile_all(RECALL, out / "recall")
    recall.run(out / "recall")
    print()
    compile_all(WORDNET, out / "wordnet")
    wordnet.run(out / "wordnet")
    print(f"\nboth in {time.monotonic() - began:.0f} seconds")


if __name__ == "__main__":
    main()
