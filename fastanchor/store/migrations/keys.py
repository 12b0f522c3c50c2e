"""Organisations, keys, and the digests of their secrets."""

from __future__ import annotations

from typing import Final

APPLICATION: Final = 0x46414B59  # "FAKY"

STEPS: Final = (
    """
    CREATE TABLE organization (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        created REAL NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE key (
        id TEXT PRIMARY KEY,         -- the public part
        prefix TEXT NOT NULL,
        organization TEXT NOT NULL REFERENCES organization (id),
        name TEXT NOT NULL,
        scopes TEXT NOT NULL,        -- JSON arrays
        models TEXT NOT NULL,
        endpoints TEXT NOT NULL,
        addresses TEXT NOT NULL,
        plan TEXT NOT NULL,          -- its name in the configuration; '' is none
        limits TEXT,                 -- JSON object, the key's own
        expires REAL,                -- unix seconds
        created REAL NOT NULL,
        created_by TEXT NOT NULL,    -- the grantor's key id; '' is the operator
        revoked REAL,
        version INTEGER NOT NULL     -- of its last change
    ) WITHOUT ROWID;
    CREATE INDEX key_by_organization ON key (organization, created);
    CREATE UNIQUE INDEX key_by_version ON key (version);

    CREATE TABLE secret (
        digest BLOB PRIMARY KEY,     -- keyed; the secret itself is nowhere
        key TEXT NOT NULL REFERENCES key (id),
        created REAL NOT NULL,
        expires REAL                 -- set when a newer secret has taken its place
    ) WITHOUT ROWID;
    CREATE INDEX secret_by_key ON secret (key);

    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
)
