"""Settings: arguments over environment over file over defaults, and wrong ones are refused."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from meterhouse.settings import ALL_ROLES, MeterSettings, asyncpg_url, load

FILE = """
port: 1000
namespace:
  default: acme
meters:
  - slug: tokens
    eventType: completion
    aggregation: SUM
    valueProperty: $.tokens
    groupBy: {model: $.model}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "meterhouse.yaml"
    path.write_text(FILE)
    return path


def test_nothing_set_means_embedded_with_all_roles() -> None:
    settings = load()
    assert (settings.embedded, settings.roles, settings.port) == (True, ALL_ROLES, 8888)
    assert settings.test_clock is None


def test_arguments_win_over_environment_over_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(config).port == 1000
    monkeypatch.setenv("METERHOUSE_PORT", "2000")
    assert load(config).port == 2000
    assert load(config, port=3000, host=None).port == 3000
    monkeypatch.setenv("METERHOUSE_NAMESPACE__DEFAULT", "other")
    assert load(config).namespace.default == "other"


def test_meters_of_the_file(config: Path) -> None:
    assert load(config).meters == [
        MeterSettings(
            slug="tokens",
            event_type="completion",
            aggregation="sum",
            value_property="$.tokens",
            group_by={"model": "$.model"},
        )
    ]


def test_roles_may_be_divided_when_no_engine_is_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERHOUSE_ROLES", "sink, worker")
    with pytest.raises(ValidationError, match="one process"):
        load()
    monkeypatch.setenv("METERHOUSE_DATABASE_URL", "postgresql://u:p@host/db")
    monkeypatch.setenv("METERHOUSE_CLICKHOUSE_URL", "http://host:8123")
    assert load().roles == ("sink", "worker")
    monkeypatch.setenv("METERHOUSE_TEST_CLOCK", "2025-01-15T00:00:00Z")
    with pytest.raises(ValidationError, match="all roles"):
        load()


def test_the_simulated_instant_is_kept_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERHOUSE_TEST_CLOCK", "2025-01-15T01:00:00+01:00")
    assert load().test_clock == datetime(2025, 1, 15, tzinfo=UTC)
    monkeypatch.setenv("METERHOUSE_TEST_CLOCK", "2025-01-15T01:00:00")
    with pytest.raises(ValidationError):
        load()


@pytest.mark.parametrize(
    "text", ["prot: 1", "port: many", "roles: cook", "meters: [{slug: a}]", "tax_codes: [{key: a, name: A}]"]
)
def test_wrong_settings_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ValidationError):
        load(path)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p@h:5433/d", "postgresql+asyncpg://u:p@h:5433/d"),
        ("postgresql://u@h/d?sslmode=require", "postgresql+asyncpg://u@h/d?ssl=require"),
        ("postgresql+asyncpg://u@/d?host=/run", "postgresql+asyncpg://u@/d?host=%2Frun"),
    ],
)
def test_postgres_urls_of_any_form(url: str, expected: str) -> None:
    assert asyncpg_url(url) == expected


def test_a_portal_needs_a_secret_that_cannot_be_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().portal_token_secret is None
    monkeypatch.setenv("METERHOUSE_PORTAL_TOKEN_SECRET", "x" * 31)
    with pytest.raises(ValidationError, match="at least 32"):
        load()
    monkeypatch.setenv("METERHOUSE_PORTAL_TOKEN_SECRET", "x" * 32)
    settings = load()
    assert settings.portal_token_secret is not None
    assert settings.portal_token_secret.get_secret_value() == "x" * 32
    assert "xxx" not in repr(settings)
    assert settings.portal_token_lifetime_seconds == 3600
