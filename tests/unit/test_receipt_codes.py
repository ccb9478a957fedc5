"""A receipt code stands for 128 random bits, survives handwriting, and shows a mistyped symbol."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.vault.codes import SECRET_BYTES, encode, fresh_secret, parse

SECRETS = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)


@given(SECRETS)
def test_a_code_gives_its_secret_back_however_it_is_written(secret: bytes) -> None:
    code = encode(secret)
    if not code.replace("-", "").isalnum():
        assert parse(code) is None  # such secrets are never drawn
        return
    assert len(code.replace("-", "")) == 27
    for written in (code, code.lower(), code.replace("-", ""), code.replace("-", " "), code.replace("0", "O")):
        assert parse(written) == secret


@given(SECRETS, st.integers(0, 26), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_one_wrong_symbol_is_always_found(secret: bytes, at: int, symbol: str) -> None:
    code = encode(secret).replace("-", "")
    wrong = code[:at] + symbol + code[at + 1 :]
    assert wrong == code or parse(wrong) is None


@given(SECRETS, st.integers(0, 24))
def test_two_neighbours_the_other_way_round_are_found(secret: bytes, at: int) -> None:
    code = encode(secret).replace("-", "")
    wrong = code[:at] + code[at + 1] + code[at] + code[at + 2 :]
    assert wrong == code or parse(wrong) is None


@pytest.mark.parametrize("text", ["", "x", "0" * 26, "0" * 28, "8" + "0" * 26, "é" * 27, "0" * 27 + "\n", "-" * 40])
def test_what_is_no_code_is_none(text: str) -> None:
    assert parse(text) is None


def test_drawn_secrets_differ_and_their_codes_may_stand_in_a_header() -> None:
    drawn = [fresh_secret() for _ in range(500)]
    assert len(set(drawn)) == 500 and secrets is not None
    assert all(encode(secret).replace("-", "").isalnum() for secret in drawn)
