"""Rules that no tool knows. A failure lists the places; the test's docstring gives the reason."""

import ast
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2] / "src" / "meterhouse"

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70

# Written by alembic, and never changed again.
GENERATED = "migrations/versions/"

# The only place that reads the machine's clock.
CLOCK = "kernel/clock.py"

# The only place that ends transactions.
DATABASE = "kernel/db.py"

# Modules with queries that are no repositories: the kernel's few tables have one module each, and pages are read alike.
KERNEL_QUERIES = ("kernel/jobs.py", "kernel/worker.py", "kernel/testclock.py", "kernel/paged.py")

# Where money and quantities are handled.
MONEY = ("billing/", "ledger/", "credits/", "catalog/", "kernel/money.py", "api/v1/", "api/v3/")

# Floats in those places that are no money, each with its reason.
FLOATS = {
    "api/v1/ratecards.py": "the contract writes percentages as JSON numbers; they become decimals by their text",
    "api/v1/subjects.py": "metadata is any JSON; numbers in it that JSON cannot hold are refused",
    "api/v1/meter_queries.py": "the contract writes a meter's value as a JSON number",
}

READS_TIME = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "time"),
    ("time", "time_ns"),
}

TREES = {
    name: ast.parse(path.read_text("utf-8"))
    for path in sorted(ROOT.rglob("*.py"))
    if not (name := path.relative_to(ROOT).as_posix()).startswith(GENERATED)
}


def places(names: Iterable[str], wrong: Callable[[ast.AST], bool]) -> list[str]:
    """Return `file:line` of every node in the named files for which `wrong` holds."""
    return [f"{name}:{getattr(node, 'lineno', 0)}" for name in names for node in ast.walk(TREES[name]) if wrong(node)]


def everywhere_but(*excepted: str) -> Iterator[str]:
    return (name for name in TREES if name not in excepted)


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def test_nothing_commits_but_the_database_module() -> None:
    """A commit in the middle of a request or job leaves half of it behind when the rest fails."""

    def commits(node: ast.AST) -> bool:
        # With an argument it is another thing: a consumer of the event log commits the position it has reached.
        return isinstance(node, ast.Call) and not node.args and not node.keywords and last_name(node.func) == "commit"

    assert places(everywhere_but(DATABASE), commits) == []


def test_time_comes_from_the_clock() -> None:
    """What reads the machine's clock goes wrong on simulated time, and cannot be tested at an instant."""

    def reads_time(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            return False
        return (last_name(node.func.value), node.func.attr) in READS_TIME

    assert places(everywhere_but(CLOCK), reads_time) == []


def test_money_is_never_a_float() -> None:
    """A float cannot hold 0.1: sums of money and quantities would drift."""

    def is_float(node: ast.AST) -> bool:
        literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
        return literal or (isinstance(node, ast.Name) and node.id == "float")

    assert places((name for name in everywhere_but(*FLOATS) if name.startswith(MONEY)), is_float) == []


def test_files_stay_small() -> None:
    """A file is read as a whole; one that grows out of that holds two things."""
    lines = {name: len((ROOT / name).read_text("utf-8").splitlines()) for name in TREES}
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_functions_stay_small() -> None:
    """What does not fit on a screen is not reviewed with care."""

    def is_long(node: ast.AST) -> bool:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return False
        return (node.end_lineno or node.lineno) - node.lineno + 1 > MAX_FUNCTION_LINES

    assert places(TREES, is_long) == []


def test_queries_stand_in_repositories() -> None:
    """Who looks for all queries of a table, or for one that forgets the namespace, has one place to look."""

    def is_repository(name: str) -> bool:
        return name.endswith("/repository.py") or "/repository/" in name

    def selects(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and last_name(node.func) == "select"

    assert places((name for name in everywhere_but(*KERNEL_QUERIES) if not is_repository(name)), selects) == []
