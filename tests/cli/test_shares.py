"""Shares of the tasks on the command line, and what is wrong usage of them."""

import pytest
from click.testing import CliRunner

from mcd.cli.main import mcd

from ..compiler.test_build import spec  # noqa: F401
from ..projects import content


def run(*arguments) -> tuple[int, str]:
    found = CliRunner().invoke(mcd, ["compile", *map(str, arguments)])
    return found.exit_code, found.output


@pytest.mark.slow
def test_shares_and_then_the_dataset(spec, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    code, said = run(spec, "-o", out, "--task", 1, "--of", 5)
    assert (code, said) == (0, f"{out}: share 1 of 5, 3 of 12 tasks: 3 run, 0 were done\n")
    code, said = run(spec, "-o", out, "--task", 1, "--of", 5)
    assert (code, said) == (0, f"{out}: share 1 of 5, 3 of 12 tasks: 0 run, 3 were done\n")
    code, said = run(spec, "-o", out, "--finish")
    assert code == 1 and "error[MCD619]: 9 tasks are not done: 0, 2, 3, 4, 5, 7, 8, 9 and 1 more" in said
    for part in (0, 2, 3, 4):
        assert run(spec, "-o", out, "--task", part, "--of", 5)[0] == 0
    code, said = run(spec, "-o", out, "--finish")
    assert code == 0 and "24 shards (12 done before of 12 tasks)" in said
    assert run(spec, "-o", tmp_path / "one", "--workers", 1)[0] == 0
    assert content(out) == content(tmp_path / "one")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", 1], "--task and --of go together"),
        (["--of", 4], "--task and --of go together"),
        (["--task", 4, "--of", 4], "shares count from 0 to 3"),
        (["--task", 0, "--of", 4, "--finish"], "--finish comes after all shares"),
        (["--workers", 0], "--workers"),
        (["--engine", "spark"], "--engine"),
        (["--address", "HOST:6379"], "--address goes with --engine ray"),
        (["--engine", "ray", "--workers", 2], "--workers is for this machine"),
    ],
)
def test_wrong_usage(spec, tmp_path, arguments, said):  # noqa: F811
    code, output = run(spec, "-o", tmp_path / "out", *arguments)
    assert code == 2 and said in output and not (tmp_path / "out").exists()
