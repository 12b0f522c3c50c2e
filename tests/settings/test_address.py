"""Addresses to listen at."""

from __future__ import annotations

import pytest

from fastanchor.settings.address import Address, is_loopback, parse_address


@pytest.mark.parametrize(
    ("text", "address", "local"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080), True),
        ("127.9.9.9:0", Address("127.9.9.9", 0), True),
        ("localhost:80", Address("localhost", 80), True),
        ("0.0.0.0:80", Address("0.0.0.0", 80), False),
        ("gateway.internal:65535", Address("gateway.internal", 65535), False),
        ("[::1]:8080", Address("::1", 8080), True),
        ("[0:0::1]:8080", Address("::1", 8080), True),
        ("[::]:8080", Address("::", 8080), False),
        ("unix:/run/a.sock", Address(path="/run/a.sock"), True),
        ("unix:a.sock", Address(path="a.sock"), True),
    ],
)
def test_an_address_is_read(text: str, address: Address, local: bool) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address
    assert address.local is local


@pytest.mark.parametrize(
    "text",
    ["", ":80", "80", "host", "host:", "host:65536", "host:-1", "host:8o", "host:٣", "::1:80", "[::1]", "[x]:80",
     "[1.2.3.4]:80", "[::1]:80x", "http://h:80", "a b:80", "unix:", "unix:/a\0b", "host:80\n"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'^expected "host:port", "\[ipv6\]:port" or "unix:/path"$'):
        parse_address(text)


def test_names_other_than_localhost_are_not_taken_for_loopback() -> None:
    assert is_loopback("LOCALHOST")
    assert not is_loopback("localhost.evil.example")
