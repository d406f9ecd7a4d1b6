"""Migrations on a replicated cluster: what is sent to the server. The embedded engine can at least read it."""

from importlib import resources

import pytest

from meterhouse.metering.clickhouse import ClickHouse, rendered, statements

FILES = sorted(
    (
        file
        for file in resources.files("meterhouse.metering").joinpath("migrations").iterdir()
        if file.name.endswith(".sql")
    ),
    key=lambda file: file.name,
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
async def test_every_statement_fits_a_cluster(clickhouse_engine: ClickHouse, file: resources.abc.Traversable) -> None:
    for statement in statements(rendered(file.read_text("utf-8"), "main")):
        assert "$" not in statement
        if statement.startswith("CREATE TABLE"):
            assert "ON CLUSTER 'main'" in statement
        if "MergeTree" in statement:
            assert "ENGINE = Replicated" in statement
            assert "non_replicated_deduplication_window" not in statement
        await clickhouse_engine.query(f"EXPLAIN AST {statement}")


def test_event_table_alone_and_on_a_cluster() -> None:
    text = FILES[0].read_text("utf-8")
    alone, cluster = rendered(text, None), rendered(text, "{cluster}")
    assert "ENGINE = MergeTree\n" in alone
    assert "non_replicated_deduplication_window = 1000" in alone
    assert "CLUSTER" not in alone
    assert "CREATE TABLE IF NOT EXISTS om_events ON CLUSTER '{cluster}' (" in cluster
    assert "ENGINE = ReplicatedMergeTree\n" in cluster
    assert " replicated_deduplication_window = 1000" in cluster


@pytest.mark.parametrize("name", ["", "a'b", "a b", "a;b"])
def test_names_of_clusters_are_never_pasted_unseen(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        rendered("", name)
