"""What is installed: every package is in the wheel, and the compiler needs neither torch nor transformers."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from .projects import project

ROOT = Path(__file__).parent.parent
OURS = ("cli", "compiler", "dsl", "grammar", "runtime")

WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers"):
    sys.modules[name] = None  # any import of it fails
from mcd.cli.main import main
main()
"""


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    found = {"mcd"}
    for package in OURS:
        for init in (ROOT / package).rglob("__init__.py"):
            found.add(".".join(["mcd", *init.parent.relative_to(ROOT).parts]))
    assert set(listed) == found


def test_the_pages_of_the_codes_are_installed():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    installed = {path for pattern in data["mcd.dsl"] for path in (ROOT / "dsl").glob(pattern)}
    assert {path for path in (ROOT / "dsl" / "explained").rglob("*") if path.is_file()} == installed


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments], capture_output=True, text=True, check=False
    )


def test_the_compiler_works_without_torch(tmp_path):
    spec = 'source s = jsonl("data.jsonl") { text = .text }\nspan cat = phrases("cat")\nweigh cat { factor = 2 }\n'
    path = project(tmp_path, spec, [{"text": "the cat saw a dog"}])
    for arguments in (["check", str(path)], ["plan", str(path)], ["compile", str(path), "-o", str(tmp_path / "out")]):
        result = run(*arguments)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_training_without_torch_says_what_to_install(tmp_path):
    result = run("train", str(tmp_path), "--config", "c.json", "--steps", "1", "-o", str(tmp_path / "run"))
    assert result.returncode == 2
    assert "pip install 'mcd-lang[train]'" in result.stderr


def test_importing_the_package_or_checking_loads_nothing_heavy(tmp_path):
    """`mcd check` starts without pyarrow, tokenizers, pydantic and torch."""
    spec = 'source s = [{text: "the cat"}] { text = .text }\nspan cat = phrases("cat")\nweigh cat { factor = 2 }\n'
    path = project(tmp_path, spec)
    code = (
        "import sys; import mcd; from mcd.dsl.check import check; from pathlib import Path; "
        f"assert check(Path({str(path)!r}))[0] is not None; import mcd.cli.check; "
        "print(sorted({'torch', 'transformers', 'pyarrow', 'tokenizers', 'pydantic'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
