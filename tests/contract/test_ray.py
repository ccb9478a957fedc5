"""The same function over partitions on a Ray cluster of two nodes: the results are those of one process."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest

from ledger.errors import ConfigurationError, Unavailable
from ledger.kafka.log import KafkaLog
from projections.answers import Filters
from replay.analysis import audit, on_ray, partitions, reading, what_if
from replay.analysis.judging import Draft
from tests.projected import append, history
from tests.property.dice import Dice
from tests.property.reference_facts import policy

PARTITIONS = 4
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 1024 * 1024}
HEAD = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
TRIES = 3
ROOT = str(Path(__file__).parents[2])
# Ray leaves sockets, files and children to the collector, and warns of its own future.
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def cluster() -> Iterator[str]:
    """Two nodes with a processor each, on this machine's own address; where their head is."""
    path = os.pathsep.join([ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_enable_metrics_collection": "0", "PYTHONPATH": path}
    with mock.patch.dict(os.environ, settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        made = _head(lambda: Cluster(initialize_head=True, head_node_args={**NODE, **HEAD}))
        try:
            made.add_node(**NODE)
            made.wait_for_nodes()
            yield made.address
        finally:
            made.shutdown()


def _head(start: Callable[[], Any]) -> Any:
    """Ray gives a head 30 seconds, which a machine that does much else may need more than once."""
    for left in reversed(range(TRIES)):
        try:
            return start()
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise
    raise AssertionError


def test_a_cluster_of_two_nodes_comes_to_what_one_process_comes_to(
    kafka_address: str, make_topic: Callable[..., str], make_log: Callable[..., KafkaLog], cluster: str
) -> None:
    topic = make_topic(PARTITIONS)
    log = make_log(topic=topic)
    for partition in range(PARTITIONS):
        append(log, partition, history(700 + partition, partition))
    draft = Draft(msgspec.structs.replace(policy(Dice(77), 3), version="draft"))
    shares = reading.shares_of(kafka_address, topic)
    judging = partial(what_if.of_partition, draft=draft, samples=5)
    seen: list[int] = []
    on_cluster = on_ray.run(judging, shares, cluster, lambda done: seen.append(sum(done)))
    assert on_cluster == partitions.run(judging, shares)
    assert sum(found.judged for found in on_cluster) > 50
    assert seen[-1] == sum(share.stop for share in shares)
    counting = partial(audit.of_partition, filters=Filters(), period="day")
    counted = on_ray.run(counting, shares, cluster)
    assert audit.summary(counted) == audit.summary(partitions.run(counting, shares))
    with pytest.raises(Unavailable):
        on_ray.run(judging, [reading.Share("127.0.0.1:1", "none", 0, 5)], cluster)


def test_without_ray_the_extra_is_named() -> None:
    with mock.patch.dict(sys.modules, {"ray": None}), pytest.raises(ConfigurationError, match=r"consent-ledger\[ray\]"):
        on_ray.run(partial(audit.of_partition, filters=Filters(), period="day"), [], "auto")
