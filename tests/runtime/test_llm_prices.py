"""The command that refreshes prices of language models (catalog-extras section 4.5)."""

import asyncio
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meterhouse.cli.llm_prices import app

OWN = """
format: 1
prices:
  - {provider: openai, model: gpt-4o, effective_from: 2024-10-02, input: "3", output: "10"}
  - {provider: acme, model: own, input: "1", output: "2"}
"""
CATALOGUE = {"openai": {"models": {"gpt-4o": {"name": "GPT-4o", "cost": {"input": 3.01, "output": 10}}}}}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Serve the directory of the test."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_refresh(database_url: str, tmp_path: Path, url: str) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    (tmp_path / "api.json").write_text(json.dumps(CATALOGUE))

    async def run(*sources: str) -> tuple[str, str]:
        arguments = ["refresh", "--data-dir", str(tmp_path)]
        arguments += [part if part.startswith(("-", "http")) else str(tmp_path / part) for part in sources]
        env = {"METERHOUSE_DATABASE_URL": database_url, "COLUMNS": "200"}
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=env)
        assert done.exit_code == 0, done.output
        return done.stdout, done.stderr

    table, told = await run("--from", "own.yaml", "--dry-run")
    assert "2 new, 0 changed, 0 unchanged. Nothing was written." in told
    assert "input 3, output 10" in table
    _, told = await run("--from", "own.yaml")
    assert "2 new, 0 changed, 0 unchanged." in told
    table, told = await run("--from", "own.yaml", "--from", f"{url}/api.json")
    assert "2 models are listed, 1 prices agreed on." in told
    assert "0 new, 1 changed, 0 unchanged." in told
    assert "input 3 → 3.005" in table
    _, told = await run("--from", "own.yaml", "--from", f"{url}/missing.json")
    assert "left out" in told
    assert "0 prices agreed on." in told


@pytest.mark.parametrize("arguments", [["--from", "missing.yaml"], ["--tolerance", "x"], ["--tolerance", "-1"]])
def test_what_cannot_be_done(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["refresh", *arguments]).exit_code != 0
