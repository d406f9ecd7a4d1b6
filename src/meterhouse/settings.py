"""Settings: environment variables `METERHOUSE_*` over an optional YAML file over the defaults below.

With no settings at all everything runs embedded, below `data_dir`. Each backend is chosen by its URL alone. A nested
setting is written with two underscores in the environment: `METERHOUSE_NAMESPACE__DEFAULT`.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from sqlalchemy.engine import make_url

Role = Literal["api", "sink", "worker"]
ALL_ROLES: tuple[Role, ...] = ("api", "sink", "worker")


class NamespaceSettings(BaseModel):
    """The tenant that this server serves."""

    model_config = ConfigDict(extra="forbid")

    default: str = Field("default", min_length=1, description="Namespace of every request.")
    locked: frozenset[str] = Field(
        frozenset(), description="Namespaces in which nothing new is charged or invoiced, for maintenance; a JSON list."
    )


class MeterSettings(BaseModel):
    """A meter that is made at start when no live meter has its key."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    slug: str = Field(description="The meter's key.")
    name: str | None = Field(None, description="Name for people; the key when absent.")
    description: str | None = None
    event_type: str = Field(description="CloudEvents type of the events it counts.")
    aggregation: Literal["sum", "count", "avg", "min", "max", "unique_count", "latest"] = Field(
        description="In any case, such as SUM."
    )
    value_property: str | None = Field(None, description="JSONPath of the counted value; none for COUNT.")
    group_by: dict[str, str] = Field(default_factory=dict, description="JSONPath by name of the group.")

    @field_validator("aggregation", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


class TaxCodeSettings(BaseModel):
    """A tax code that is made at start, as the system's own, when no live one has its key."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    key: str = Field(min_length=1)
    name: str = Field(min_length=1)
    description: str | None = None
    app_mappings: dict[Literal["stripe", "sandbox", "custom_invoicing"], str] = Field(
        default_factory=dict, description="What apps call it, by the kind of app."
    )
    default_invoicing: bool = Field(False, description="Of everything invoiced that names no tax code of its own.")
    default_credit_grant: bool = Field(False, description="Of purchases of credit that name none.")


class Settings(BaseSettings):
    """Everything that can be set from outside."""

    model_config = SettingsConfigDict(
        env_prefix="METERHOUSE_", env_nested_delimiter="__", env_ignore_empty=True, extra="forbid"
    )

    data_dir: Path = Field(Path("data"), description="Where the embedded Postgres and ClickHouse keep their data.")
    database_url: str | None = Field(None, description="Postgres: postgresql://user:password@host/database.")
    clickhouse_url: str | None = Field(None, description="ClickHouse: http://user:password@host:8123/database.")
    clickhouse_cluster: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.{}-]+$",
        description="Cluster of one shard whose replicas keep the tables (ON CLUSTER, ReplicatedMergeTree); the URL "
        "should lead to one replica at a time. Without, the server is alone.",
    )
    kafka_bootstrap_servers: str | None = Field(
        None, description="Kafka servers, host:port separated by commas. Without, events go to a log in Postgres."
    )
    kafka_topic: str = Field("om_default_events", description="Topic of usage events; made when it does not exist.")
    kafka_partitions: Annotated[int, Field(ge=1, le=1000)] = Field(
        6, description="Partitions of a topic that is made: as many sinks can share the work."
    )
    kafka_group_id: str = Field("meterhouse-sink", description="Consumer group of the sinks.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."
    )
    kafka_sasl_username: str | None = Field(None, description="User of SASL.")
    kafka_sasl_password: str | None = Field(None, description="Password of SASL.")
    kafka_ssl_cafile: Path | None = Field(None, description="Certificates to trust instead of the system's.")

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all interfaces.")
    port: int = Field(8888, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    roles: Annotated[tuple[Role, ...], NoDecode] = Field(
        ALL_ROLES, description="What this process does: api, sink, worker, separated by commas."
    )
    namespace: NamespaceSettings = Field(default_factory=NamespaceSettings)
    auto_migrate: bool = Field(True, description="Bring the schema up to date at start.")
    test_clock: AwareDatetime | None = Field(
        None, description="Run on simulated time from this instant (RFC 3339), moved by PUT .../test-clock."
    )
    credits_enabled: bool = Field(True, description="Take customer credits when charges are invoiced.")
    late_grants: bool = Field(
        False, description="Let credit granted while a period waits for late usage pay for that period too."
    )
    customer_enable_subject_hook: bool = Field(
        False, description="Make a customer for each subject that is created or changed, where none holds it."
    )
    customer_ignore_errors: bool = Field(
        False, description="Keep a subject whose customer cannot be made or changed, with a warning in the log."
    )
    meters: list[MeterSettings] = Field(
        default_factory=list, description="Meters to make at start, best written in the YAML file."
    )

    tax_codes: list[TaxCodeSettings] = Field(
        default_factory=list,
        description="Tax codes to make at start, best written in the YAML file; without, one that leaves the rate to "
        "the provider and one for what is not taxed.",
    )

    portal_token_secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="Signs portal tokens; without one there is no portal. 32 characters or more: a shorter secret can "
        "be found out from one token.",
    )
    portal_token_lifetime_seconds: int = Field(
        3600, ge=1, le=10 * 365 * 86400, description="How long a portal token works unless its expiry is given."
    )

    scheduler_tick_seconds: Annotated[float, Field(gt=0)] = Field(
        15, description="How often due work is looked for. Half of the 30 s within which due lines become invoices."
    )
    max_body_bytes: Annotated[int, Field(gt=0)] = Field(
        10 * 1024 * 1024, description="Largest request body: larger ones would let one request exhaust the memory."
    )
    max_batch_events: Annotated[int, Field(gt=0)] = Field(
        100_000, description="Most events of one request: all of them are appended to the log together."
    )
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        None, description="Port that answers with metrics alone, in every role; the api role has them at /metrics too."
    )
    query_max_rows: Annotated[int, Field(gt=0)] = Field(
        100_000, description="Rows of one answer to a meter query: they are held in memory while they are written."
    )
    database_pool_size: Annotated[int, Field(ge=5)] = Field(
        10, description="Connections kept open; as many again under load, which fits Postgres' default limit of 100."
    )

    @field_validator("roles", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("roles")
    @classmethod
    def _some(cls, value: tuple[Role, ...]) -> tuple[Role, ...]:
        if not value:
            raise ValueError("name at least one role")
        return tuple(dict.fromkeys(value))

    @field_validator("tax_codes")
    @classmethod
    def _one_default_each(cls, value: list[TaxCodeSettings]) -> list[TaxCodeSettings]:
        if len({seed.key for seed in value}) < len(value):
            raise ValueError("the keys must be unique")
        for name in ("default_invoicing", "default_credit_grant"):
            if value and sum(getattr(seed, name) for seed in value) != 1:
                raise ValueError(f"exactly one must have {to_camel(name)}")
        return value

    @field_validator("database_url")
    @classmethod
    def _asyncpg_url(cls, value: str | None) -> str | None:
        return None if value is None else asyncpg_url(value)

    @field_validator("test_clock")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    @model_validator(mode="after")
    def _roles_fit(self) -> Self:
        if set(self.roles) == set(ALL_ROLES):
            return self
        if self.embedded:
            raise ValueError(
                "embedded engines serve one process, which must have all roles (api,sink,worker); "
                "set database_url and clickhouse_url to divide the roles among processes"
            )
        if self.test_clock is not None:
            raise ValueError(
                "simulated time waits for events and jobs to be done before it goes on, so the process that has it "
                "must have all roles (api,sink,worker)"
            )
        return self

    @property
    def embedded(self) -> bool:
        """Whether this process runs Postgres or ClickHouse itself."""
        return self.database_url is None or self.clickhouse_url is None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of sources: arguments, environment, the YAML file that `load` was given."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)


def load(config: Path | None = None, **given: Any) -> Settings:
    """Read the settings; `given` (command line options, None where not given) wins over everything.

    Raises:
        FileNotFoundError: the file `config` does not exist.
        pydantic.ValidationError: a setting is unknown or has a wrong value.
    """
    if config is not None and not config.is_file():
        raise FileNotFoundError(f"no such configuration file: {config}")

    class FromFile(Settings):
        model_config = SettingsConfigDict(yaml_file=config)

    return FromFile(**{name: value for name, value in given.items() if value is not None})


def asyncpg_url(url: str) -> str:
    """Return a Postgres URL of any common form for SQLAlchemy's asyncpg dialect."""
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    query = dict(parsed.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return parsed.set(query=query).render_as_string(hide_password=False)
