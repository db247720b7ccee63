"""API keys and subkeys: what the format makes is taken, what people mistype is not, and no error repeats it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hub_api import API_KEY, SUBKEY, encoded
from tklbam_core.api import UsageError
from tklbam_profiles_hub.api_key import is_key, parse_api_key


@given(st.integers(0, 2**32 - 1), st.binary(min_size=8, max_size=8).filter(any))
def test_every_key_of_the_format_is_taken_as_it_is(user: int, secret: bytes) -> None:
    key = encoded(user, secret)
    assert is_key(key)
    assert parse_api_key(key) == key


def test_a_key_is_taken_as_people_paste_it() -> None:
    assert parse_api_key(f"  {API_KEY[:4].lower()} {API_KEY[4:]}\n") == API_KEY
    assert parse_api_key("AAA" + API_KEY + "====") == API_KEY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "AAAA",
        "APIKEY!",
        API_KEY + "A" * 9,
        API_KEY[:-1] + "B",
        "0" + API_KEY[1:],
        "ÄÖÜ",
        "A" * 5000,
        "\x1b[31m",
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_api_key(text)
    assert not text.strip("A") or text not in str(caught.value)
    assert "profile" in caught.value.remedy


def test_the_subkey_of_the_format_has_the_form_of_a_key() -> None:
    assert is_key(SUBKEY)
    assert not is_key(SUBKEY.lower())
    assert not is_key(SUBKEY + "\n")
