"""`meterhouse openapi`."""

from pathlib import Path
from typing import Annotated

import typer

from meterhouse.cli.options import console, fail


def openapi(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the files.")] = Path("openapi"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when a file differs.")] = False,
) -> None:
    """Export v1.yaml and v3.yaml, the OpenAPI documents of the running code."""
    # Building the applications takes a second that other commands should not wait for.
    from meterhouse.api.app import create_v1, create_v3
    from meterhouse.api.openapi import to_yaml

    documents = {out / "v1.yaml": to_yaml(create_v1()), out / "v3.yaml": to_yaml(create_v3())}
    if check:
        stale = [str(path) for path, text in documents.items() if not path.is_file() or path.read_text() != text]
        if stale:
            fail(f"not what the code says: {', '.join(stale)}. Run: make openapi")
        return
    out.mkdir(parents=True, exist_ok=True)
    for path, text in documents.items():
        path.write_text(text)
        console.print(f"wrote {path}", highlight=False)
