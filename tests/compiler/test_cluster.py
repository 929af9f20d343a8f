"""The tasks on a Ray cluster of several nodes: the same bytes, also when a node is gone in the middle."""

import pytest

from mcd.compiler.compile import compile_program
from mcd.dsl.diagnostics import Failure

from ..projects import checked, content
from .test_build import FILES, ids, names, spec  # noqa: F401

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
cluster = pytest.importorskip("mcd.compiler.build.cluster")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def nodes():
    """A cluster of a head that runs nothing, and two nodes of one core."""
    args = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20}
    found = cluster_utils.Cluster(initialize_head=True, head_node_args=args)
    for _ in range(2):
        found.add_node(num_cpus=1, object_store_memory=80 << 20)
    yield found
    ray.shutdown()
    found.shutdown()


def test_a_cluster_that_loses_a_node_writes_what_one_process_writes(spec, tmp_path, nodes):  # noqa: F811
    compile_program(checked(spec), tmp_path / "one")
    gone = []

    def lose(progress):
        if progress.done == 3 and not gone:
            gone.append(next(iter(nodes.worker_nodes)))
            nodes.remove_node(gone[0], allow_graceful=False)

    compiled = compile_program(checked(spec), tmp_path / "out", lose, engine=cluster.Cluster(nodes.address))
    assert gone and compiled.ran == FILES
    assert content(tmp_path / "out") == content(tmp_path / "one") and names(tmp_path) == ["out"]
    (tmp_path / "data" / "07.jsonl").write_text("{\n", encoding="utf-8")
    with pytest.raises(Failure) as caught:
        compile_program(checked(spec), tmp_path / "out", engine=cluster.Cluster(nodes.address))
    assert ids(caught) == ["MCD504"] and caught.value.diagnostics[0].place.path == "data/07.jsonl"


def test_an_address_without_a_cluster_is_told(spec, tmp_path):  # noqa: F811
    with pytest.raises(Failure) as caught:
        compile_program(checked(spec), tmp_path / "out", engine=cluster.Cluster("127.0.0.1:9"))
    assert ids(caught) == ["MCD631"] and names(tmp_path) == []
