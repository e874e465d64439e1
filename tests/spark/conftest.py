"""A standalone cluster on hosts apart, for the tests that break it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, cluster_on
from distant import Order
from hosts import NoNetwork, hosts_apart

HOSTS = 3


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three hosts with a core each, in network namespaces; the driver and the master on a fourth."""
    try:
        with hosts_apart(HOSTS) as network, cluster_on(tmp_path_factory.mktemp("cluster"), HOSTS, 1, network) as made:
            yield made
    except NoNetwork as error:
        pytest.skip(str(error))


@pytest.fixture
def whole(cluster: Cluster) -> Cluster:
    """The same cluster, with all that an earlier test has broken made good."""
    cluster.heal()
    return cluster


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of rows of a linear function."""
    from spark_learners import write_line

    return write_line(str(tmp_path_factory.mktemp("line"))).url


@pytest.fixture
def order(whole: Cluster, line: str, tmp_path: Path) -> Callable[..., Order]:
    """An order of a training on the cluster, with more or other values."""

    def made(name: str = "one", **values: Any) -> Order:
        place = {"data": line, "master": whole.url, "driver": whole.network.driver.address}
        return Order(tmp_path / name, **place, **values)

    return made
