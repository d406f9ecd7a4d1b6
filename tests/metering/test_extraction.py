"""What the sink puts in slots is what the engine reads from the JSON text, exactly (metering section 8)."""

import random
from decimal import Decimal

import pytest

from meterhouse.metering import extraction, jsonpath
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.extraction import Documents, parse, text_at
from meterhouse.metering.jsonpath import InvalidPath
from meterhouse.metering.meter import SlotKind
from meterhouse.metering.rows import numbers
from meterhouse.metering.sql import Bound, Value, read

NUMBERS = [
    *("0", "-0", "-0.0", "0.0", "1", "-1", "1.50", "0.1", "0.01", "0.001", "0.0001", "0.010", "1e3", "1E-7", "1e22"),
    *(
        "1e400",
        "-1e400",
        "1e-400",
        "12345678901234567.1234567890123456789",
        "123456789012345678",
        "1234567890123456789",
    ),
    *(
        "12345678901234567890",
        "123456789012345678901",
        "9007199254740993",
        "0.30000000000000004",
        "100000000000000000000",
    ),
    *("999999999999999.9", "99999999999999.99", "0.12345678901234567899", "1.000000000000000000000", "1" * 5000),
]
DOCUMENTS = [
    "", "null", "{}",
    '{"a":null}', '{"a":"null"}', '{"a":true}', '{"a":false}', '{"a":""}', '{"a":[1,2]}', '{"a":{"b":2}}',
    '{"a":[{"b":1},{"b":2}]}', '{"a":[{"b":[7]},{"b":2}]}', '{"a":[[1,2],[3]]}', '{"a":[]}', '{"a":[null,1]}',
    '{"a":1,"a":2}', '{"a":{"b":1},"a":7}', '{"a":"x\\u0041\\n\\"q\\\\"}', '{"a":"\\u0000b"}',
    '{"a-b":3,"c d":4,"\\"":5}',
    '{"b":{"a":9},"a":1}', '{ "a" : 1.5 , "b" : [ 1e2 , "1e2" ] }', '{"a":"ünï😀"}',
    *(f'{{"a":{number},"b":["{number}",{number}]}}' for number in NUMBERS),
]  # fmt: skip
PATHS = [
    *("$.a", "$['a']", '$["a"]', '$."a-b"', "$['c d']", "$.a.b", "$.a[0]", "$.a[1]", "$.a[*]", "$.a[*].b", "$.b[1]"),
    *(
        "$.a[*][0]",
        "$.a[1][0]",
        "$.a[0 to 2]",
        "$.a[1, 0]",
        "$.a[5]",
        "$[0]",
        "$.b.a",
        '$["\\""]',
        "$ . a",
        "$.b[0]",
    ),
]


def _random_documents(count: int) -> list[str]:
    chance = random.Random(20250301)
    made = []
    for _ in range(count):
        digits = "".join(chance.choice("0123456789") for _ in range(chance.randint(1, 25)))
        number = str(int(digits))
        if chance.random() < 0.6:
            number += "." + "".join(chance.choice("0123456789") for _ in range(chance.randint(1, 22)))
        if chance.random() < 0.3:
            number += chance.choice("eE") + chance.choice(["", "+", "-"]) + str(chance.randint(0, 30))
        made.append(f'{{"a":{chance.choice(["", "-"])}{number}}}')
    return made


async def _fallback(clickhouse: ClickHouse, documents: list[str], path: str, kind: SlotKind) -> list[str | None]:
    bound = Bound()
    expression = read(Value(jsonpath.parse(path).text, kind, None), bound, everywhere=False)
    bound.parameters["datas"] = documents
    bound.parameters["exacts"] = [extraction.exact_form(data) for data in documents]
    rows = await clickhouse.query(
        f"SELECT toString({expression}) FROM (SELECT pair.1 AS data, pair.2 AS exact_data FROM"
        " (SELECT arrayJoin(arrayZip({datas:Array(String)}, {exacts:Array(String)})) AS pair))",
        bound.parameters,
    )
    return [row[0] for row in rows]


def _slots(documents: list[str], path: str) -> list[str]:
    parsed = jsonpath.parse(path)
    exact = [extraction.exact_form(data) or data for data in documents]
    return [extraction.text_at(extraction.parse(data, parsed.names()), parsed) for data in exact]


@pytest.mark.parametrize("path", PATHS)
async def test_texts(clickhouse: ClickHouse, path: str) -> None:
    assert _slots(DOCUMENTS, path) == await _fallback(clickhouse, DOCUMENTS, path, SlotKind.TEXT)


async def test_numbers(clickhouse: ClickHouse) -> None:
    documents = [*DOCUMENTS, *_random_documents(3000)]
    texts = _slots(documents, "$.a")
    assert texts == await _fallback(clickhouse, documents, "$.a", SlotKind.TEXT)
    numbers = await _fallback(clickhouse, documents, "$.a", SlotKind.NUMBER)
    read_back = [None if number is None else Decimal(number) for number in numbers]
    assert [extraction.number_of(text) for text in texts] == read_back


def test_documents_read_together_are_read_as_one_by_one() -> None:
    exact = [extraction.exact_form(data) or data for data in [*DOCUMENTS, *_random_documents(3000)]]
    plain = ['{"a":1.50,"b":"x"}', '{"b":"y","a":100.0}', '{"a":"z"}', "", '{"b":{"a":1}}']
    odd = ['{"a":1,"\\u0061":2}', '{"b":"a"}', '{"b":{"b":1},"b":2}']
    paths = [jsonpath.parse(path) for path in (*PATHS, "$")]
    for datas in (exact, plain, plain[:2], [*plain, *odd], odd, ["[1]"], ["{"], ["{" * 20_000], []):
        documents = Documents(datas, paths)
        for path in paths:
            assert documents.texts(path) == [text_at(parse(data, path.names()), path) for data in datas], path.text


def test_numbers_read_together_are_read_as_one_by_one() -> None:
    for texts in (["1.5", "-2", "0"], ["1.5", "", "+7", "1e3", "9" * 19 + "." + "9" * 19, "9" * 20, "5.", " 3", "3\n"]):
        assert numbers(texts).to_pylist() == [extraction.number_of(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.5", "1.5"), ("-2", "-2"), ("+7", "7"), (".5", "0.5"), ("5.", "5"), ("1e3", "1000"), ("1E-3", "0.001"),
        ("12abc", None), ("abc", None), ("", None), ("null", None), ("true", None), ("0x10", None), ("1_000", None),
        ("1,000", None), ("--1", None), (" 3", None), ("3 ", None), ("3\n", None), ("inf", None), ("nan", None),
        ("1e400", None), (".", None), ("+", None), ("e3", None), ("1e", None), ("１", None),
        ("1234567890123456789.5", "1234567890123456789.5"), ("12345678901234567890.5", None),
        ("0.12345678901234567899", "0.1234567890123456789"), ("-0.12345678901234567899", "-0.1234567890123456789"),
        ("1e-400", "0"), ("1e99999999999999999999", None),
    ],
)  # fmt: skip
def test_number_of(text: str, number: str | None) -> None:
    assert extraction.number_of(text) == (None if number is None else Decimal(number))


@pytest.mark.parametrize(
    "path",
    ["", "a", "$.", "$..a", "$.a-b", "$.a b", "$.a[-1]", "$.a[?(@.b)]", "$.é", '$.""', "$.b[]", "$.a;x", "$.*", "$.1.2",
     "$.a[2 to 1]", "$.a[4294967297]", "$.a[", "$['a'", "$.a[1 2]", "x$.a", "$" + "[" * 100],
)  # fmt: skip
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(InvalidPath):
        jsonpath.parse(path)


def test_spellings_of_a_path_are_one() -> None:
    assert {jsonpath.parse(path).text for path in ("$.a", "$['a']", '$["a"]', '$."a"', " $ . a ")} == {'$."a"'}
