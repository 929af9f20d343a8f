"""The fences between packages, read from the source: who imports whom, and which library enters where."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

ORDER = ("grammar", "dsl", "compiler", "runtime", "cli")
"""A package imports those before it, and never one after it."""

LIBRARIES = {
    "grammar": {"lark"},
    "dsl": {"jinja2", "pygments", "re2", "safetensors"},
    "compiler": {
        "ahocorasick_rs",
        "fsspec",
        "jinja2",
        "numpy",
        "pyarrow",
        "pydantic",
        "ray",
        "safetensors",
        "tokenizers",
    },
    "runtime": {"datasets", "numpy", "pydantic", "safetensors", "torch", "transformers", "trl", "wandb"},
    "cli": {"click", "lsprotocol", "pygls", "tokenizers"},
}

HOMES = {
    "fsspec": {"compiler/store.py"},
    "lark": {"grammar/tables.py"},
    "jinja2": {"dsl/chat/parse.py", "compiler/chat/expressions.py", "compiler/chat/statements.py"},
    "pygments": {"dsl/pygments.py"},
    "re2": {"dsl/patterns.py"},
    "ray": {"compiler/build/cluster.py"},
    "datasets": {"runtime/trainer/sft.py"},
    "trl": {"runtime/trainer/sft.py"},
    "wandb": {"runtime/training/wandb.py"},
    "ahocorasick_rs": {"compiler/selectors/phrases.py"},
}
"""Libraries that stand behind the interface of one module, or of few."""

HOW = {
    f"compiler/{name}.py"
    for name in ("plan", "recipe", "manifest", "lower", "gathered", "verify", "describe", "compile", "part", "prepare")
}
"""Modules that plan and account: they touch no Arrow array."""

READ_BY_RUNTIME = {
    ("plan",),
    ("manifest",),
    ("ramps",),
    ("sets",),
    ("teaching",),
    ("stored",),
    ("verify",),
    ("files", "cached"),
    ("files", "disk"),
    ("files", "listed"),
    ("files", "opening"),
    ("files", "shard_reader"),
    ("files", "targets"),
    ("files", "measures"),
    ("ragged",),
}
"""What of the compiler the runtime sees: the plan, the manifest, the files, and what compiling asks of teachers."""

FORBIDDEN = {
    "pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "socket",
    "urllib",
    "http",
    "requests",
    "httpx",
}
"""No stored code, no network."""


@dataclass(frozen=True)
class Module:
    """A file of a package, by its path below the root."""

    path: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.path.split("/")[0]

    def imports(self) -> Iterator[tuple[str, ...]]:
        """Every module it imports, as parts: `("mcd", "dsl", "source")` for one of ours."""
        above = ("mcd", *Path(self.path).parts[:-1])
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (tuple(alias.name.split(".")) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = above[: len(above) - node.level + 1] if node.level else ()
                named = (*base, *(node.module or "").split(".")) if node.module else base
                yield from ((*named, alias.name) for alias in node.names)

    def ours(self) -> set[tuple[str, ...]]:
        return {parts[1:] for parts in self.imports() if parts[0] == "mcd"}

    def calls(self) -> set[str]:
        return {ast.unparse(node.func) for node in ast.walk(self.tree) if isinstance(node, ast.Call)}

    def libraries(self) -> set[str]:
        return {parts[0] for parts in self.imports()} - sys.stdlib_module_names - {"mcd"}


MODULES = [
    Module(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8")))
    for package in ORDER
    for path in sorted((ROOT / package).rglob("*.py"))
]


def offences(found):
    """Each offending pair of a module's path and what is wrong in it, from `found(module)`."""
    return [(module.path, offence) for module in MODULES for offence in sorted(found(module))]


def test_imports_go_one_way():
    def later(module):
        packages = ORDER[ORDER.index(module.package) + 1 :]
        return {".".join(parts) for parts in module.ours() if parts and parts[0] in packages}

    assert not offences(later)


def test_libraries_stay_in_their_packages():
    assert not offences(lambda module: module.libraries() - LIBRARIES[module.package])


def test_libraries_behind_one_module():
    assert not offences(
        lambda module: {name for name in module.libraries() & set(HOMES) if module.path not in HOMES[name]}
    )


def test_nothing_stored_is_code_and_nothing_opens_a_network():
    assert not offences(lambda module: {parts[0] for parts in module.imports()} & FORBIDDEN)
    assert not offences(
        lambda module: module.calls() & {"torch.save", "torch.load", "eval", "exec", "compile", "__import__"}
    )


def test_a_user_pattern_never_meets_the_backtracking_engine():
    assert not [module.path for module in MODULES if module.package == "compiler" and ("re",) in module.imports()]


def test_the_plan_knows_no_arrow():
    assert {module.path for module in MODULES} >= HOW
    assert not [module.path for module in MODULES if module.path in HOW and "pyarrow" in module.libraries()]


def test_the_runtime_reads_plan_and_shards_alone():
    seen = {
        parts[1:-1]
        for module in MODULES
        if module.package == "runtime"
        for parts in module.ours()
        if parts[0] == "compiler"
    }
    assert seen <= READ_BY_RUNTIME


def test_checking_reads_no_page_of_a_code():
    readers = {module.path for module in MODULES if ("dsl", "explain") in {parts[:2] for parts in module.ours()}}
    assert readers == {"cli/explain.py", "cli/lsp/convert.py"}


def test_imports_are_read_from_the_source():
    """The reader itself: each way to write an import gives the parts that the fences look at."""
    source = "import re\nimport a.b as c\nfrom . import x\nfrom ..dsl.source import Place\nfrom mcd.cli import main\n"
    module = Module("compiler/selectors/regex.py", ast.parse(source))
    assert set(module.imports()) == {
        ("re",),
        ("a", "b"),
        ("mcd", "compiler", "selectors", "x"),
        ("mcd", "compiler", "dsl", "source", "Place"),
        ("mcd", "cli", "main"),
    }
