"""Writes the table of settings into the README; with --check, fails when it is not up to date."""

import json
import sys
from pathlib import Path

from pydantic.fields import FieldInfo

from meterhouse.settings import Settings

README = Path(__file__).parent.parent / "README.md"
START, END = "<!-- settings -->\n", "<!-- /settings -->"


def table() -> str:
    """Return the table, one row per setting, in the order of the class."""
    rows = ["| Environment variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        nested = getattr(field.annotation, "model_fields", {"": field})
        rows += [row("__".join(filter(None, (name, inner))), part) for inner, part in nested.items()]
    return "\n".join(rows) + "\n"


def row(name: str, field: FieldInfo) -> str:
    """Return one row."""
    default = field.get_default(call_default_factory=True)
    match default:
        case None | []:
            shown = ""
        case tuple():
            shown = f"`{','.join(default)}`"
        case bool():
            shown = f"`{json.dumps(default)}`"
        case _:
            shown = f"`{default}`"
    return f"| `METERHOUSE_{name.upper()}` | {shown} | {field.description} |"


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
