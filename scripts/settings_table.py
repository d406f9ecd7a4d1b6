"""Writes the table of settings into the README; with --check, fails when it is not up to date."""

import sys
import typing
from pathlib import Path

from pydantic_core import PydanticUndefined

from meterhouse.settings import Settings

README = Path(__file__).parent.parent / "README.md"
START, END = "<!-- settings -->\n", "<!-- /settings -->"


def table() -> str:
    """Return the table, one row per setting, in the order of the class."""
    rows = ["| Environment variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        nested = getattr(field.annotation, "model_fields", None)
        if nested is None:
            rows.append(row(name, field.default, field.description, field.annotation))
            continue
        for inner, part in nested.items():
            rows.append(row(f"{name}__{inner}", part.default, part.description, part.annotation))
    return "\n".join(rows) + "\n"


def row(name: str, default: object, description: str | None, annotation: object) -> str:
    """Return one row; a setting without a description is told by its choices."""
    shown = ",".join(default) if isinstance(default, tuple) else default
    cell = "" if shown is None or shown is PydanticUndefined else f"`{shown}`"
    choices = [str(choice) for part in (annotation, *typing.get_args(annotation)) for choice in typing.get_args(part)]
    meaning = description or "One of " + ", ".join(choice for choice in choices if not choice.startswith("<")) + "."
    return f"| `METERHOUSE_{name.upper()}` | {cell} | {meaning} |"


def main() -> None:
    """Compare or write."""
    text = README.read_text()
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    wanted = before + START + table() + END + after
    if text == wanted:
        return
    if "--check" in sys.argv:
        sys.exit("the table of settings in README.md is not up to date: make docs")
    README.write_text(wanted)


if __name__ == "__main__":
    main()
