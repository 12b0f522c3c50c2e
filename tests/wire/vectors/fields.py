"""Fields and what frames a body: names, values, Content-Length, Transfer-Encoding, Expect (RFC 9110 §5, §8.6)."""

from __future__ import annotations

from tests.wire.vectors import get, got, post, refused, taken

POSTED = got(body=b"abc", method=b"POST")
EMPTY = got(method=b"POST")


def raw(fields: bytes) -> bytes:
    """A GET whose field lines are `fields`, byte for byte."""
    return b"GET / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n"


FIELDS = [
    taken("field-value-empty", raw(b"X:\r\n"), got()),
    taken("field-value-of-white-space", raw(b"X: \t \r\n"), got()),
    taken("field-without-space-after-colon", raw(b"X:y\r\n"), got()),
    taken("field-value-with-tab-inside", raw(b"X: a\tb\r\n"), got()),
    taken("field-value-with-colons", raw(b"X: a:b::c\r\n"), got()),
    taken("field-value-beyond-ascii", raw(b"X: \xc3\xa9\x80\x85\xa0\xff\r\n"), got()),
    taken("field-name-of-every-token-character", raw(b"!#$%&'*+-.^_`|~09azAZ: x\r\n"), got()),
    taken("field-given-twice", raw(b"X: a\r\nX: b\r\n"), got()),
    taken("field-with-underscore-is-another-field", raw(b"Content_Length: 5\r\n"), got()),
    refused("space-before-colon", raw(b"X : y\r\n")),
    refused("tab-before-colon", raw(b"X\t: y\r\n")),
    refused("space-before-colon-of-length", post(b"Content-Length : 3", body=b"abc")),
    refused("space-before-colon-of-coding", post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    refused("white-space-before-first-field", b"GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
    refused("tab-before-first-field", b"GET / HTTP/1.1\r\n\tHost: h\r\n\r\n"),
    refused("folded-field", raw(b"X: a\r\n b\r\n")),
    refused("folded-field-with-tab", raw(b"X: a\r\n\tb\r\n")),
    refused("folded-empty-line", raw(b"X: a\r\n \r\n")),
    refused("folded-host", b"GET / HTTP/1.1\r\nHost:\r\n h\r\n\r\n"),
    refused("folded-coding", post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n")),
    refused("folded-length", post(b"Content-Length:\r\n 3", body=b"abc")),
    refused("field-without-colon", raw(b"X\r\n")),
    refused("field-without-name", raw(b": x\r\n")),
    refused("field-name-with-space", raw(b"X Y: z\r\n")),
    refused("field-name-with-nul", raw(b"X\0: z\r\n")),
    refused("field-name-with-parenthesis", raw(b"X(: z\r\n")),
    refused("field-name-with-slash", raw(b"X/Y: z\r\n")),
    refused("field-name-with-at", raw(b"X@Y: z\r\n")),
    refused("field-name-with-brackets", raw(b"X[0]: z\r\n")),
    refused("field-name-beyond-ascii", raw(b"X\xff: z\r\n")),
    refused("field-name-with-no-break-space", raw(b"Host\xa0: i\r\n")),
    refused("field-name-with-vertical-tab", raw(b"\x0bX: z\r\n")),
    refused("field-name-with-file-separator", raw(b"X\x1c: z\r\n")),
    refused("field-name-with-del", raw(b"X\x7f: z\r\n")),
    refused("field-name-with-quote", raw(b'"X": z\r\n')),
    refused("field-value-with-nul", raw(b"X: a\0b\r\n")),
    refused("field-value-with-bell", raw(b"X: a\x07b\r\n")),
    refused("field-value-with-vertical-tab", raw(b"X: a\x0bb\r\n")),
    refused("field-value-ends-in-form-feed", raw(b"X: a\x0c\r\n")),
    refused("field-value-with-del", raw(b"X: a\x7fb\r\n")),
    refused("field-value-with-escape", raw(b"X: \x1b[2J\r\n")),
    refused("field-value-with-file-separator", raw(b"X: a\x1cY: b\r\n")),
    refused("field-value-with-bare-cr", raw(b"X: a\rY: b\r\n")),
    refused("field-value-with-bare-lf", raw(b"X: a\nY: b\r\n")),
    refused("field-value-ends-in-two-crs", raw(b"X: a\r\r\n")),
    refused("field-ends-in-lf", raw(b"X: a\n")),
    refused("blank-line-is-bare-lf", b"GET / HTTP/1.1\r\nHost: h\r\n\n"),
    refused("blank-line-is-bare-cr", b"GET / HTTP/1.1\r\nHost: h\r\n\rX"),
    refused("authorization-twice", raw(b"Authorization: Bearer a\r\nauthorization: Bearer b\r\n")),
    refused("x-api-key-twice", raw(b"x-api-key: a\r\nX-API-Key: b\r\n")),
    refused("content-type-twice", raw(b"Content-Type: a/b\r\nContent-Type: a/b\r\n")),
]

LENGTHS = [
    taken("length", post(b"Content-Length: 3", body=b"abc"), POSTED),
    taken("length-zero", post(b"Content-Length: 0"), EMPTY),
    taken("length-with-leading-zeros", post(b"Content-Length: 0003", body=b"abc"), POSTED),
    taken("length-with-trailing-white-space", post(b"Content-Length: 3 \t", body=b"abc"), POSTED),
    taken("length-in-odd-case", post(b"cOnTeNt-lEnGtH: 3", body=b"abc"), POSTED),
    taken("no-length-no-body", post(), EMPTY),
    taken("get-with-body", get(b"Content-Length: 3") + b"abc", got(body=b"abc")),
    refused("length-empty", post(b"Content-Length:")),
    refused("length-with-plus", post(b"Content-Length: +3", body=b"abc")),
    refused("length-with-minus", post(b"Content-Length: -3", body=b"abc")),
    refused("length-with-underscore", post(b"Content-Length: 1_0", body=b"0123456789")),
    refused("length-hexadecimal", post(b"Content-Length: 0x3", body=b"abc")),
    refused("length-hex-digits", post(b"Content-Length: a", body=b"0123456789")),
    refused("length-decimal-point", post(b"Content-Length: 3.0", body=b"abc")),
    refused("length-exponent", post(b"Content-Length: 3e0", body=b"abc")),
    refused("length-with-space-inside", post(b"Content-Length: 1 0", body=b"abc")),
    refused("length-quoted", post(b'Content-Length: "3"', body=b"abc")),
    refused("length-with-semicolon", post(b"Content-Length: 3;", body=b"abc")),
    refused("length-list-of-equals", post(b"Content-Length: 3, 3", body=b"abc")),
    refused("length-list-of-different", post(b"Content-Length: 3,4", body=b"abc")),
    refused("length-twice-equal", post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc")),
    refused("length-twice-different", post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd")),
    refused("length-latin-1-superscript", post(b"Content-Length: \xb3", body=b"abc")),
    refused("length-arabic-digit", post(b"Content-Length: \xd9\xa3", body=b"abc")),
    refused("length-of-19-digits", post(b"Content-Length: 1000000000000000000")),
    refused("length-wraps-64-bits", post(b"Content-Length: 18446744073709551619", body=b"abc")),
    refused("length-of-5000-digits", post(b"Content-Length: " + b"1" * 5000)),
    refused("length-over-the-limit", post(b"Content-Length: 4097"), 413),
    refused("length-far-over-the-limit", post(b"Content-Length: 999999999999999999"), 413),
]

CODED = b"3\r\nabc\r\n0\r\n\r\n"


def coding(value: bytes) -> bytes:
    return post(b"Transfer-Encoding: " + value, body=CODED)


CODINGS = [
    taken("chunked", coding(b"chunked"), POSTED),
    taken("chunked-in-odd-case", coding(b"cHuNkEd"), POSTED),
    taken("chunked-with-spaces", coding(b"  chunked  "), POSTED),
    refused("chunked-before-tab", coding(b"chunked\t")),
    refused("chunked-behind-tab", coding(b"\tchunked")),
    refused("coding-empty", coding(b"")),
    refused("coding-unknown", coding(b"x")),
    refused("coding-identity", coding(b"identity")),
    refused("coding-gzip", coding(b"gzip")),
    refused("coding-gzip-chunked", coding(b"gzip, chunked"), 501),
    refused("coding-chunked-gzip", coding(b"chunked, gzip")),
    refused("coding-chunked-identity", coding(b"chunked, identity")),
    refused("coding-chunked-twice", coding(b"chunked, chunked")),
    refused("coding-chunked-with-comma", coding(b"chunked,")),
    refused("coding-comma-chunked", coding(b", chunked")),
    refused("coding-xchunked", coding(b"xchunked")),
    refused("coding-chunked-with-parameter", coding(b"chunked;q=1")),
    refused("coding-quoted", coding(b'"chunked"')),
    refused("coding-with-vertical-tab", coding(b"\x0bchunked")),
    refused("coding-with-nul", coding(b"chunked\0")),
    refused("coding-with-nel", coding(b"chunked\x85")),
    refused("coding-with-no-break-space", coding(b"\xa0chunked")),
    refused("coding-with-kelvin-sign", coding("chun\u212aed".encode())),
    refused("coding-with-space-inside", coding(b"chun ked")),
    refused("coding-given-twice", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=CODED)),
    refused("coding-and-length", post(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=CODED)),
    refused("length-and-coding", post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=CODED)),
    refused("coding-and-zero-length", post(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=CODED)),
    refused("identity-and-length", post(b"Transfer-Encoding: identity", b"Content-Length: 3", body=b"abc")),
    refused("coding-in-1.0", post(b"Transfer-Encoding: chunked", body=CODED, line=b"POST / HTTP/1.0")),
    refused("smuggled-behind-cl-te",
            post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + get())),
]

EXPECTATIONS = [
    taken("expect-continue", post(b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"), POSTED),
    taken("expect-continue-in-odd-case", post(b"Expect: 100-Continue", b"Content-Length: 3", body=b"abc"), POSTED),
    taken("expect-without-body", get(b"Expect: 100-continue"), got()),
    taken("expect-in-1.0-is-ignored",
          post(b"Expect: 100-continue", b"Content-Length: 3", body=b"abc", line=b"POST / HTTP/1.0"),
          POSTED, open=False),
    refused("expect-something-else", post(b"Expect: 200-ok"), 417),
    refused("expect-list", post(b"Expect: 100-continue, x"), 417),
    refused("expect-empty", post(b"Expect:"), 417),
    refused("expect-twice", post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 3", body=b"abc")),
]

VECTORS = [*FIELDS, *LENGTHS, *CODINGS, *EXPECTATIONS]
