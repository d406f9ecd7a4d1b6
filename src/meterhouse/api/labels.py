"""v3 labels over stored metadata and annotations (api-conventions section 15)."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from meterhouse.kernel.errors import InvalidInput, Issue

MAX_LABELS = 50
MAX_LABEL_LENGTH = 63

_PATTERN = r"^[a-zA-Z0-9]([a-zA-Z0-9\-._]*[a-zA-Z0-9])?$"
_LABEL = re.compile(_PATTERN[:-1] + r"\Z")
_RESERVED = ("_", "kong", "konnect", "insomnia", "mesh", "kic", "kuma", "openmeter")
_ANNOTATION_PREFIX = "openmeter_"

# Labels of a request; `metadata_of` checks their form.
Labels = Annotated[
    dict[str, str],
    Field(max_length=MAX_LABELS),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MAX_LABELS,
            "additionalProperties": {
                "type": "string",
                "pattern": _PATTERN,
                "minLength": 1,
                "maxLength": MAX_LABEL_LENGTH,
            },
        }
    ),
]

# Labels of an answer: whatever text is stored, which v1 does not limit.
ShownLabels = dict[str, str]


def _is_label(text: str) -> bool:
    return len(text) <= MAX_LABEL_LENGTH and _LABEL.match(text) is not None


def metadata_of(
    labels: Mapping[str, str] | None,
    metadata: Mapping[str, str] | None = None,
    annotations: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Return the metadata that labels are stored as.

    Args:
        metadata: what is stored, with the annotations. What of it is sent back as it was shown is not checked, because
            v1 takes any text; annotations stay where they are.

    Raises:
        InvalidInput: codes `invalid_label_key_format`, `invalid_label_value_format`, `invalid_label_key_prefix`.
    """
    stored = metadata or {}
    shown = labels_of(stored, annotations).items()
    issues: list[Issue] = []
    found: dict[str, str] = {}
    for key, value in (labels or {}).items():
        if (key, value) in shown:
            if key in stored:
                found[key] = value
            continue
        found[key] = value
        if key.startswith(_RESERVED):
            issues.append(Issue("invalid_label_key_prefix", f"label key has a reserved prefix: {key!r}", "$.labels"))
        elif not _is_label(key):
            issues.append(Issue("invalid_label_key_format", f"invalid label key: {key!r}", "$.labels"))
        if not _is_label(value):
            issues.append(Issue("invalid_label_value_format", f"invalid value of label {key!r}", "$.labels"))
    if issues:
        raise InvalidInput("\n".join(issue.message for issue in issues), issues=issues)
    return found


def labels_of(metadata: Mapping[str, str], annotations: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return what is shown as labels: all metadata, and annotations that are text under `openmeter_<name>`."""
    shown = {
        _ANNOTATION_PREFIX + name: value
        for name, value in (annotations or {}).items()
        if isinstance(value, str) and not name.startswith(_RESERVED)
    }
    return {**shown, **metadata}


def replaced_metadata(labels: Mapping[str, str] | None, metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata of which only the well-formed part was shown, with labels in the place of that part.

    Raises:
        InvalidInput: see `metadata_of`.
    """
    shown = well_formed(metadata)
    hidden = {key: value for key, value in metadata.items() if key not in shown}
    return hidden | metadata_of(labels)


def well_formed(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return what of the metadata can be sent back as labels."""
    return {
        key: value
        for key, value in metadata.items()
        if _is_label(key) and _is_label(value) and not key.startswith(_RESERVED)
    }
