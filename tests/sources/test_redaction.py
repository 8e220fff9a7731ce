"""What a `redact` pattern matches is nowhere in what a source gives; texts are cut after that."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from notifyd.expression import Expression
from notifyd.model import Record
from notifyd.sources import Source, SourceError
from notifyd.sources.redaction import REDACTED, TOO_SLOW, redactor
from tests.sources.logs import NOW, Log, read_once
from tests.sources.servers import Server
from tests.sources.workload import source_of as source_at

MAIL = "ada.lovelace@example.com"
TABLE = "CREATE TABLE jobs (id INTEGER PRIMARY KEY, who TEXT, state TEXT, code TEXT, error TEXT, extra TEXT)"
MAPPING = r"""
table = "jobs"
start = "beginning"
redact = ['[\w.]+@[\w.]+', 'secret \d+']
text_limit = 60
{more}
[sources.columns]
key = "id"
connector_id = "who"
status = "state"
error_type = "code"
message = "error"
details = ["extra"]
[sources.statuses]
success = ["ok"]
failure = ["failed"]
"""


def source_of(log: Log, more: str = "") -> Source:
    return log.source(MAPPING.replace("{more}", more))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "jobs.db", TABLE)


def texts(record: Record) -> str:
    return repr(record)


@pytest.mark.parametrize("state", ["failed", "ok", "odd"])
def test_it_is_in_no_text_of_a_record(log: Log, state: str) -> None:
    log.add("jobs", [(1, f"of {MAIL}", state, f"E {MAIL}", f"Secret 42: no order for {MAIL}.", f'{{"to": "{MAIL}"}}')])
    source = source_of(log)
    records = [*read_once(source).records, *source.look_up(["1"], NOW).values(), *source.find("1", NOW)]
    assert len(records) == 3
    for record in records:
        assert "example.com" not in texts(record)
        assert record.message == f"{REDACTED}: no order for {REDACTED}"
        assert record.connector_id == f"of {REDACTED}"
    source.close()


def test_a_text_is_cut_after_that_so_that_nothing_is_half_redacted(log: Log) -> None:
    log.add("jobs", [(1, "woo", "failed", None, f"{'x' * 50} {MAIL} {'y' * 500}", None)])
    source = source_of(log)
    (record,) = read_once(source).records
    assert record.message is not None
    assert "ada" not in record.message
    assert len(record.message) == 60
    source.close()


def test_what_the_error_query_finds_is_redacted_too(log: Log) -> None:
    log.add("jobs", [(1, "woo", "failed", None, None, None)])
    found = f"'no order for {MAIL}' AS message, 'E {MAIL}' AS error_type, '{MAIL}' AS host"
    source = source_of(log, f'error_query = "SELECT {found}"')
    (record,) = read_once(source).records
    assert record.message == f"no order for {REDACTED}"
    assert "example.com" not in texts(record)
    source.close()


def test_what_the_database_says_is_redacted_too(log: Log) -> None:
    source = log.source(MAPPING.replace("{more}", "").replace('table = "jobs"', f'table = "jobs of {MAIL}"'))
    with pytest.raises(SourceError) as refusal:
        source.newest(1, NOW)
    assert REDACTED in str(refusal.value)
    assert "example.com" not in str(refusal.value)


def test_a_text_in_which_a_search_had_to_be_stopped_is_not_kept() -> None:
    redact = redactor([Expression("(a|aa)+$"), Expression("card [0-9]+")])
    assert redact is not None
    assert redact("card 4711") == "[redacted]"
    assert redact("card 4711 " + "a" * 60 + "!") == TOO_SLOW


@pytest.mark.parametrize("written", ["s3cret", "s3%63ret"])
def test_what_a_database_says_has_not_its_password(server: Server, tmp_path: Path, written: str) -> None:
    """A server quotes what it is given, and a person may have put it into the wrong place."""
    url = urlsplit(server.url)
    user = f"{url.username or 'root'}:{written}@"
    netloc = f"{user}{url.netloc.rpartition('@')[2]}"
    source = source_at(Server(server.kind, urlunsplit(url._replace(netloc=netloc, path="/s3cret")), "", ""), tmp_path)
    with pytest.raises(SourceError) as raised:
        source.read(source.start(NOW).cursor, NOW)
    assert "s3cret" not in str(raised.value)
    assert written not in str(raised.value)
    assert raised.value.__cause__ is None, "nor has what it was raised from, which a traceback would show"
