"""API keys: made, listed, rotated, revoked. A key is `prefix-publicid-secret`; it is shown once.

Rules:
- Stored are the public id and a keyed digest of the whole key, never the secret.
- A rotated key keeps its id, its rights, its limits and its history: it has a new secret beside the old one, which ends
  after the overlap.
- Every change has a number. Whoever holds the keys in memory asks for what has changed since (see `keyring`), and is
  told by `changed`, which is called after each change is on the disk.
- An organisation is made with its first key. To other organisations than its own a key does not exist.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import Plan, Principal
from fastanchor.policy.grants import LIMITS, Grant, by_key, by_operator, checked
from fastanchor.settings.secrets import key_digest
from fastanchor.store.migrations import keys as schema
from fastanchor.store.sqlite import Database, Unusable

DATABASE: Final = "keys.db"
PREFIX: Final = "fa"
PUBLIC_SIZE: Final = 12
SECRET_SIZE: Final = 43  # of 62 characters: 256 bits
MAX_OVERLAP: Final = 30 * 86_400.0
_PUBLIC: Final = string.ascii_lowercase + string.digits
_SECRET: Final = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key. Times are unix seconds."""

    id: str
    hint: str  # what the key starts with
    organization: str
    name: str
    scopes: tuple[str, ...]
    models: tuple[str, ...]
    endpoints: tuple[str, ...]
    addresses: tuple[str, ...]
    plan: str
    limits: dict[str, int] | None
    expires: float | None
    created: float
    created_by: str
    revoked: float | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `key` is shown once and kept nowhere."""

    key: str = field(repr=False)
    info: KeyInfo


class KeyStore:
    """The database at `path`.

    Args:
        pepper: keys the digests (see `pepper`).
        prefix: what new keys start with.
        changed: called after each change.

    Raises:
        StoreError: the database cannot be used, or was made with another pepper.
    """

    def __init__(
        self, path: Path, pepper: bytes, *, prefix: str = PREFIX, changed: Callable[[], object] = lambda: None
    ) -> None:
        if not prefix or not all(character in f"{_SECRET}-_" for character in prefix):
            raise ValueError("a key's prefix has letters, digits, hyphens and underscores only")
        self._database = Database(path, schema.APPLICATION, schema.STEPS)
        self._pepper = pepper
        self.prefix = prefix
        self._changed = changed
        self._check_pepper(path)

    def _check_pepper(self, path: Path) -> None:
        mark = blake2b(b"pepper", key=self._pepper, digest_size=16).hexdigest()
        with self._database.transaction() as db:
            db.execute("INSERT OR IGNORE INTO fact VALUES ('pepper', ?), ('version', '0')", (mark,))
            if db.execute("SELECT value FROM fact WHERE name = 'pepper'").get != mark:
                raise Unusable(f"{path} was made with another pepper: restore that, or no key in it will be known")

    def create(self, grant: Grant, *, grantor: Principal | None, now: float) -> NewKey:
        """Make a key. Without a grantor it is the operator's.

        Raises:
            Fault: INVALID_REQUEST, or PERMISSION_DENIED for rights that the grantor has not.
            StoreError: the database cannot be used.
        """
        grant = checked(grant, now)
        grant = by_operator(grant) if grantor is None else by_key(grant, grantor)
        public = _random(_PUBLIC, PUBLIC_SIZE)
        with self._database.transaction() as db:
            self._insert(db, public, grant, "" if grantor is None else grantor.key_id, now)
            key = self._new_secret(db, self.prefix, public, now)
            info = _info(db, public, None)
        self._changed()
        return NewKey(key, _found(info))

    def list(self, organization: str | None = None, *, revoked: bool = False) -> list[KeyInfo]:
        """Keys, the oldest first; of all organisations when none is named, with revoked ones when asked."""
        query = f"{_SELECT} WHERE (?1 IS NULL OR organization = ?1) AND (?2 OR revoked IS NULL) ORDER BY created, id"
        with self._database.reading() as db:
            rows: list[Any] = db.execute(query, (organization, revoked)).fetchall()
        return [_read(row) for row in rows]

    def get(self, id: str, organization: str | None = None) -> KeyInfo | None:
        """One key, of that organisation if one is named."""
        with self._database.reading() as db:
            return _info(db, id, organization)

    def revoke(self, id: str, organization: str | None = None, *, now: float) -> bool:
        """End a key. Returns False when there is none to end."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE key SET revoked = ?1, version = ?2"
                " WHERE id = ?3 AND revoked IS NULL AND (?4 IS NULL OR organization = ?4)",
                (now, _next_version(db), id, organization),
            )
            done = db.changes() > 0
        if done:
            self._changed()
        return done

    def rotate(self, id: str, organization: str | None = None, *, overlap: float, now: float) -> NewKey | None:
        """Give a key a new secret; those before it end in `overlap` seconds. None when there is no such key."""
        if not 0 <= overlap <= MAX_OVERLAP:
            raise Fault(Kind.INVALID_REQUEST, f"overlap: expected 0 to {MAX_OVERLAP:.0f} seconds.", param="overlap")
        with self._database.transaction() as db:
            info = _info(db, id, organization)
            if info is None or info.revoked is not None:
                return None
            end = now + overlap
            db.execute("UPDATE secret SET expires = min(ifnull(expires, ?1), ?1) WHERE key = ?2", (end, id))
            db.execute("DELETE FROM secret WHERE key = ? AND expires <= ?", (id, now))
            prefix = info.hint.removesuffix(f"-{id}-")
            key = self._new_secret(db, prefix, id, now)
            db.execute("UPDATE key SET version = ? WHERE id = ?", (_next_version(db), id))
        self._changed()
        return NewKey(key, info)

    def close(self) -> None:
        self._database.close()

    def _insert(self, db: apsw.Connection, public: str, grant: Grant, by: str, now: float) -> None:
        db.execute("INSERT OR IGNORE INTO organization VALUES (?, ?, ?)", (grant.organization, grant.organization, now))
        limits = None if grant.limits is None else _json({name: getattr(grant.limits, name) for name in LIMITS})
        lists = [_json(sorted(grant.scopes or ()))]
        lists += [_json(entries or ()) for entries in (grant.models, grant.endpoints, grant.addresses)]
        db.execute(
            "INSERT INTO key (id, prefix, organization, name, scopes, models, endpoints, addresses, plan, limits,"
            " expires, created, created_by, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (public, self.prefix, grant.organization, grant.name, *lists, grant.plan, limits, grant.expires, now, by,
             _next_version(db)),
        )

    def _new_secret(self, db: apsw.Connection, prefix: str, public: str, now: float) -> str:
        key = f"{prefix}-{public}-{_random(_SECRET, SECRET_SIZE)}"
        db.execute("INSERT INTO secret VALUES (?, ?, ?, NULL)", (key_digest(key, self._pepper), public, now))
        return key


_SELECT: Final = (
    "SELECT id, prefix, organization, name, scopes, models, endpoints, addresses, plan, limits, expires, created,"
    " created_by, revoked FROM key"
)


def _info(db: apsw.Connection, id: str, organization: str | None) -> KeyInfo | None:
    query = f"{_SELECT} WHERE id = ?1 AND (?2 IS NULL OR organization = ?2)"
    row: Any = db.execute(query, (id, organization)).fetchone()
    return None if row is None else _read(row)


def _found(info: KeyInfo | None) -> KeyInfo:
    if info is None:
        raise RuntimeError("a key that was just written is not there")
    return info


def _read(row: Any) -> KeyInfo:
    id, prefix, organization, name, scopes, models, endpoints, addresses, plan, limits, *rest = row
    own = None if limits is None else {limit: n for limit, n in msgspec.json.decode(limits).items() if n}
    return KeyInfo(
        id, f"{prefix}-{id}-", organization, name, _tuple(scopes), _tuple(models), _tuple(endpoints),
        _tuple(addresses), plan, own, *rest,
    )


def _tuple(text: str) -> tuple[str, ...]:
    return tuple(msgspec.json.decode(text))


def _next_version(db: apsw.Connection) -> int:
    """Number a change."""
    db.execute("UPDATE fact SET value = CAST(value AS INTEGER) + 1 WHERE name = 'version'")
    return int(db.execute("SELECT value FROM fact WHERE name = 'version'").get)


def _random(alphabet: str, size: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(size))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def limits_of(text: str | None, name: str) -> Plan | None:
    """A key's own limits from their JSON."""
    return None if text is None else Plan(name, **msgspec.json.decode(text))


def shown(info: KeyInfo) -> dict[str, Any]:
    """The key as JSON-ready values."""
    return asdict(info)
