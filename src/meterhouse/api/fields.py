"""Where a failure says it lies, in the names of the API that the request came by (api-conventions section 3.1).

The domain names fields as v3 does. v1 has other names for some of them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from meterhouse.kernel.errors import DomainError, Issue


def _renamed(issue: Issue, names: Mapping[str, str]) -> Issue:
    for inner, sent in names.items():
        if issue.field == inner or (issue.field or "").startswith((inner + ".", inner + "[")):
            return replace(issue, field=sent + (issue.field or "").removeprefix(inner))
    return issue


@contextmanager
def named(names: Mapping[str, str]) -> Iterator[None]:
    """Rename fields in the issues of what the block raises: the first path of `names` that the field lies under."""
    try:
        yield
    except DomainError as error:
        error.issues = tuple(_renamed(issue, names) for issue in error.issues)
        raise
