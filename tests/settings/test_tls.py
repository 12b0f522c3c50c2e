"""`[server.tls]`: which files it names, and what `check` says of files that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from fastanchor.settings.load import check, load

PASSWORD_KEY = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBD0ZH4m1mW8xuP9xO8X
-----END ENCRYPTED PRIVATE KEY-----
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    authority = trustme.CA()
    for name in ("a", "b"):
        pair = authority.issue_cert(f"{name}.example")
        pair.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        pair.private_key_pem.write_to_path(tmp_path / f"{name}-key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "encrypted-key.pem").write_text(PASSWORD_KEY)
    (tmp_path / "junk.pem").write_text("junk")
    return tmp_path


def config(directory: Path, certificate: str = "a", key: str = "a-key", more: str = "") -> Path:
    path = directory / "config.toml"
    path.write_text(
        f'[server.tls]\ncertificate = "{directory}/{certificate}.pem"\nkey = "{directory}/{key}.pem"\n{more}'
    )
    return path


def test_certificates_by_name(directory: Path) -> None:
    more = f'''
        client_ca = "{directory}/ca.pem"
        client_certificate = "optional"
        [[server.tls.certificates]]
        names = ["b.example", "*.b.example"]
        certificate = "{directory}/b.pem"
        key = "{directory}/b-key.pem"
    '''
    tls = load(config(directory, more=more), {}, pepper=b"p").server.tls
    assert tls is not None
    assert tls.default.certificate == f"{directory}/a.pem"
    assert {name: pair.key for name, pair in tls.by_name.items()} == {
        "b.example": f"{directory}/b-key.pem",
        "*.b.example": f"{directory}/b-key.pem",
    }
    assert (tls.client_ca, tls.client_required) == (f"{directory}/ca.pem", False)


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("none", "a-key", "No such file"),
        ("junk", "a-key", "cannot use"),
        ("a", "junk", "cannot use"),
        ("a", "b-key", "key values mismatch"),
        ("a", "encrypted-key", "cannot use"),
    ],
)
def test_files_that_cannot_be_used(directory: Path, certificate: str, key: str, reason: str) -> None:
    [problem] = check(config(directory, certificate, key), {})
    assert problem.key == "server.tls"
    assert reason in problem.message


def test_client_authorities_that_are_none(directory: Path) -> None:
    [problem] = check(config(directory, more=f'client_ca = "{directory}/junk.pem"'), {})
    assert problem.key == "server.tls.client_ca"


@pytest.mark.parametrize("name", ["", "B.example", "*", "a.*.example", "b.example/x", "*b.example"])
def test_a_name_that_is_none(directory: Path, name: str) -> None:
    more = f'certificates = [{{ names = ["{name}"], certificate = "x", key = "y" }}]'
    [problem] = check(config(directory, more=more), {})
    assert problem.key == "server.tls.certificates[0].names[0]"


def test_a_name_that_stands_twice(directory: Path) -> None:
    more = 'certificates = [{ names = ["b.example", "b.example"], certificate = "x", key = "y" }]'
    [problem] = check(config(directory, more=more), {})
    assert problem.message == '"b.example" already belongs to server.tls.certificates[0]'
