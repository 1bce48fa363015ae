"""Tokens, and from where one may call."""

import pytest

from galaxy import access


def test_a_token_is_long_and_never_the_same():
    tokens = {access.new_token() for _ in range(100)}

    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 40


def test_only_the_token_itself_matches_its_digest():
    token = access.new_token()

    assert access.same(token, access.digest(token))
    for wrong in ("", token[:-1], token + "x", token.swapcase(), access.digest(token), "\u00e9"):
        assert not access.same(wrong, access.digest(token))


def test_no_token_is_never_the_right_one_not_even_where_none_was_set():
    assert not access.same("", access.digest(""))


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", ""),
        ("abc", ""),
        ("", ""),
        ("Bearer", ""),
        ("Bearerabc", ""),
        ("Bearer\tabc", ""),
    ],
)
def test_a_token_stands_behind_the_word_bearer(header: str, token: str):
    assert access.bearer_in(header) == token


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("galaxy.example", False),
        ("", False),
        ("127.0.0.1.evil.com", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_else(host: str, own: bool):
    assert access.is_loopback(host) is own


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("", "localhost:8421", True),
        ("http://localhost:8421", "localhost:8421", True),
        ("https://galaxy.example", "galaxy.example", True),
        ("null", "localhost:8421", False),
        ("http://localhost:8422", "localhost:8421", False),
        ("http://evil.example", "localhost:8421", False),
        ("localhost:8421", "localhost:8421", False),
        ("http://localhost:8421/", "localhost:8421", False),
        ("null", "", False),
    ],
)
def test_a_page_may_call_only_where_it_came_from(origin: str, host: str, allowed: bool):
    assert access.origin_allowed(origin, host) is allowed


def test_a_token_is_never_taken_for_an_option_on_a_command_line():
    assert {access.new_token()[0] for _ in range(200)} == {"g"}
