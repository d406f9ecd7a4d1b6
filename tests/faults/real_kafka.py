"""A real Apache Kafka of one broker on loopback, for the tests marked `kafka`.

Its jars come from Maven Central by `mvn`, once, into the user's cache. The broker runs in KRaft mode (it is its own
controller), keeps its log in a directory that the caller gives, and may be killed and started again there.
"""

import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

VERSION = "3.9.1"
RESOLVE_SECONDS = 600  # some 100 MB over a slow line
START_SECONDS = 60
CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"  # any; a broker refuses a directory that another cluster made
# Of a secured broker; they guard nothing but this test's own.
USER, PASSWORD = "sink", "only-for-tests"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>meterhouse</groupId><artifactId>test-kafka</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


def jars() -> Path:
    """Return the directory of the broker's jars, resolved first if they are not in the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "meterhouse" / f"kafka-{VERSION}"
    complete = cache / "complete"
    if not complete.exists():
        cache.mkdir(parents=True, exist_ok=True)
        (cache / "pom.xml").write_text(POM)
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={cache / 'lib'}"]
        subprocess.run(["mvn", "-q", "-B", *goal], cwd=cache, check=True, timeout=RESOLVE_SECONDS)
        complete.touch()
    return cache / "lib"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """One broker. `kill` and `start` in turn are what a crash and a restart look like."""

    def __init__(self, directory: Path, *, secured: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._port = _free_port()
        self.servers = f"127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration = directory / "server.properties"
        self._controller = _free_port()
        given = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(directory / "log"),
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            # A broker that was killed is let in again only when its session is over.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            **(self._security() if secured else {}),
        }
        self._configuration.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
        formatting = ["format", "-t", CLUSTER_ID, "-c", str(self._configuration)]
        subprocess.run(self._java("kafka.tools.StorageTool", *formatting), check=True, capture_output=True, timeout=60)

    def _security(self) -> Mapping[str, str]:
        """Make a certificate, and return what makes the broker ask for a password over TLS."""
        store, alias = ["-keystore", str(self._directory / "broker.p12"), "-storepass", PASSWORD], ["-alias", "broker"]
        about = ["-dname", "CN=127.0.0.1", "-ext", "SAN=ip:127.0.0.1", "-validity", "2"]
        subprocess.run(["keytool", "-genkeypair", "-keyalg", "RSA", *alias, *store, *about], check=True, timeout=60)
        self.certificate = self._directory / "broker.pem"
        exported = ["keytool", "-exportcert", "-rfc", *alias, *store, "-file", str(self.certificate)]
        subprocess.run(exported, check=True, timeout=60)
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        users = f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}"'
        return {
            "listeners": f"SASL_SSL://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller}",
            "advertised.listeners": f"SASL_SSL://127.0.0.1:{self._port}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{module} required {users};",
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.location": str(self._directory / "broker.p12"),
            "ssl.keystore.password": PASSWORD,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificate),
        }

    def _java(self, main: str, *arguments: str) -> list[str]:
        return ["java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", f"{jars()}/*", main, *arguments]

    def start(self) -> None:
        """Start the broker and wait until it takes connections."""
        with (self._directory / "output").open("ab") as output:
            command = self._java("kafka.Kafka", str(self._configuration))
            self._process = subprocess.Popen(command, stdout=output, stderr=output, cwd=self._directory)
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Kafka does not start: {(self._directory / 'output').read_text()[-2000:]}")
            time.sleep(0.1)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End the broker with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
