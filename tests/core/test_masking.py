"""A secret in somebody else's writing is a secret still."""

from __future__ import annotations

import html
import json
import os
from urllib.parse import quote, quote_plus, unquote

import pytest

from notifyd.api import Secret, SecretUrl
from notifyd.api.masking import masked, secrets_of
from notifyd.outbound.excerpt import excerpt

KEY = 'SECheader/+&"val\u00e9'
WRITINGS = [
    KEY.upper(),
    KEY.lower(),
    quote(KEY),
    quote(KEY, safe=""),
    quote_plus(KEY).lower(),
    json.dumps(KEY)[1:-1],
    json.dumps(KEY, ensure_ascii=False).replace("/", r"\/")[1:-1],
    html.escape(KEY),
]


@pytest.mark.parametrize("said", WRITINGS)
def test_a_secret_is_known_in_another_writing(said: str) -> None:
    text = f"q={said}; see"
    assert masked(text, secrets_of({"key": Secret(KEY)})) == "q=<secret>; see"
    assert excerpt({}, text.encode(), [KEY]) == "q=<secret>; see"


@pytest.mark.parametrize("password", ["s3c", "b%2Fc"])
def test_a_short_password_is_masked_as_it_stands_in_a_url(password: str) -> None:
    found = secrets_of([SecretUrl(f"https://ann:{password}@hooks.example/")])
    for said in (password, unquote(password)):
        assert masked(f"https://ann:{said}@host is down", found) == "https://ann<secret>host is down"


def test_a_short_word_is_masked_as_it_was_written() -> None:
    assert masked("Ann and ann", secrets_of([Secret("ann")])) == "Ann and <secret>"


def test_a_secret_of_odd_bytes_is_one_too() -> None:
    odd = Secret(os.fsdecode(b"p\xffssword"))
    assert masked("p%FFssword", secrets_of([odd])) == "<secret>"
