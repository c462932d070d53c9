"""The long failover: three replicas behind nginx and behind the client's own failover, under load."""

from collections.abc import Callable

import pytest

from benchmarks.resilience.failover import kill_one, restart_all
from benchmarks.resilience.figures import Figure
from tests.support.proxy import running_nginx
from tests.support.replicas import replicas


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [kill_one, restart_all])
def test_of_32_clients_none_loses_a_request(shipped_repository, tmp_path, scenario: Callable[..., list[Figure]]):
    log = tmp_path / "servers.log"
    with (
        log.open("a") as servers_log,
        replicas(shipped_repository, 3, log=servers_log) as group,
        running_nginx(tmp_path, [replica.server for replica in group], "--plain") as proxy,
    ):
        figures = scenario(group, proxy, log)
    assert [figure for figure in figures if not figure.kept] == []
    assert sum(figure.value for figure in figures if figure.name.startswith("requests, ")) > 32
