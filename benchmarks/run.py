"""Run every benchmark, each in a process of its own, and print one table."""

import json
import subprocess
import sys
import time
from pathlib import Path

import harness
from harness import Figure

SCRIPTS = ("queries", "insert", "dedupe", "ingest", "pipe", "growth", "money", "lists")


def main() -> None:
    """Run the scripts in order; one that fails is told and the others go on."""
    given = harness.options(__doc__)
    figures: list[Figure] = []
    failed = []
    with harness.temporary_directory() as directory:
        for number, name in enumerate(SCRIPTS, start=1):
            harness.say(f"[bold]{number}/{len(SCRIPTS)} {name}[/bold]")
            out = directory / f"{name}.json"
            start = time.perf_counter()
            script = Path(__file__).with_name(f"{name}.py")
            command = [sys.executable, str(script), "--scale", given.scale, "--json", str(out)]
            ended = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
            harness.say(f"{name} took {time.perf_counter() - start:.0f} s")
            if ended.returncode:
                failed.append(name)
            else:
                figures += [Figure(**one) for one in json.loads(out.read_text())]
    harness.report(figures, given)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
