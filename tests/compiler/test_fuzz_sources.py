"""A few hundred of the damaged sources of `fuzz_sources`; `make soak` reads 20,000."""

from .fuzz_sources import run


def test_damaged_sources_end_in_records_or_findings(tmp_path):
    clean, found = run(120, 0, tmp_path)
    assert clean > 10
    assert found > 100
