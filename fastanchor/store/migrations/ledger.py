"""The ledger: requests, accounts, credits, usage by day, and how far each journal has been read."""

from __future__ import annotations

from typing import Final

APPLICATION: Final = 0x46414C47  # "FALG"

STEPS: Final = (
    """
    CREATE TABLE segment (
        name TEXT PRIMARY KEY,
        epoch TEXT NOT NULL,
        size INTEGER NOT NULL,       -- bytes that were folded
        records INTEGER NOT NULL,
        damaged INTEGER NOT NULL,    -- lines that did not verify
        torn INTEGER NOT NULL,       -- bytes of a last line that was never finished
        done INTEGER NOT NULL        -- its writer is dead and everything was read
    ) WITHOUT ROWID;

    CREATE TABLE request (
        id TEXT PRIMARY KEY,
        epoch TEXT NOT NULL,
        state INTEGER NOT NULL,      -- 0 open, 1 settled, 2 settled by rule: its worker died
        metered INTEGER NOT NULL,
        organization TEXT NOT NULL,
        key TEXT NOT NULL,
        model TEXT NOT NULL,
        opened REAL NOT NULL,        -- unix seconds
        ended REAL,
        reserved_tokens INTEGER NOT NULL DEFAULT 0,
        reserved_cost INTEGER NOT NULL DEFAULT 0,  -- micro-dollars
        cost INTEGER NOT NULL DEFAULT 0,           -- micro-dollars
        provider_cost INTEGER,                     -- what the provider says itself
        input INTEGER, output INTEGER,
        cache_read INTEGER NOT NULL DEFAULT 0, cache_write INTEGER NOT NULL DEFAULT 0,
        reasoning INTEGER NOT NULL DEFAULT 0,
        estimated INTEGER NOT NULL DEFAULT 0,
        status INTEGER, ending TEXT NOT NULL DEFAULT '',
        dialect TEXT NOT NULL DEFAULT '', endpoint TEXT NOT NULL DEFAULT '', client TEXT NOT NULL DEFAULT '',
        served_model TEXT NOT NULL DEFAULT '', channel TEXT NOT NULL DEFAULT '', provider TEXT NOT NULL DEFAULT '',
        stream INTEGER NOT NULL DEFAULT 0,
        seconds REAL, first_token REAL, overhead REAL,
        bytes_in INTEGER NOT NULL DEFAULT 0, bytes_out INTEGER NOT NULL DEFAULT 0,
        tries TEXT NOT NULL DEFAULT '[]',          -- JSON: [at, channel, model] of each attempt that was started
        attempts TEXT NOT NULL DEFAULT '[]'        -- JSON: the attempts of the receipt
    ) WITHOUT ROWID;
    CREATE INDEX request_by_organization ON request (organization, opened);
    CREATE INDEX request_by_age ON request (opened);
    CREATE INDEX request_open ON request (epoch) WHERE state = 0;

    CREATE TABLE account (
        organization TEXT PRIMARY KEY,
        granted INTEGER NOT NULL DEFAULT 0,        -- all in micro-dollars
        available INTEGER NOT NULL DEFAULT 0,
        held INTEGER NOT NULL DEFAULT 0,
        spent INTEGER NOT NULL DEFAULT 0,
        archived INTEGER NOT NULL DEFAULT 0,       -- the part of `spent` whose requests were deleted
        CHECK (granted = available + held + spent)
    ) WITHOUT ROWID;

    CREATE TABLE credit (
        id TEXT PRIMARY KEY,
        organization TEXT NOT NULL,
        amount INTEGER NOT NULL,
        reason TEXT NOT NULL,
        at REAL NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE usage (
        day INTEGER NOT NULL,        -- since 1970, UTC, of the request's start
        organization TEXT NOT NULL,
        key TEXT NOT NULL,
        model TEXT NOT NULL,
        requests INTEGER NOT NULL, failed INTEGER NOT NULL,
        input INTEGER NOT NULL, output INTEGER NOT NULL,
        cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL, reasoning INTEGER NOT NULL,
        cost INTEGER NOT NULL,
        metered_cost INTEGER NOT NULL,             -- the part that credits paid
        PRIMARY KEY (day, organization, key, model)
    ) WITHOUT ROWID;

    CREATE TABLE fact (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
    INSERT INTO fact VALUES ('expired_before', 0);
    """,
    # One narrow row for each request: how it ended is the journal's record itself, taken apart when somebody asks.
    """
    DROP INDEX request_by_organization;
    DROP INDEX request_by_age;
    DROP INDEX request_open;
    ALTER TABLE request RENAME TO request_1;

    CREATE TABLE request (
        id TEXT NOT NULL UNIQUE,
        epoch TEXT NOT NULL,         -- of the journal that opened it; '' when none did
        state INTEGER NOT NULL,      -- 0 open, 1 settled, 2 settled by rule: its worker died
        metered INTEGER NOT NULL,
        organization TEXT NOT NULL,
        key TEXT NOT NULL,
        model TEXT NOT NULL,
        opened REAL NOT NULL,        -- unix seconds
        ended REAL,
        reserved_tokens INTEGER NOT NULL,
        reserved_cost INTEGER NOT NULL,  -- micro-dollars
        cost INTEGER NOT NULL,           -- micro-dollars
        first_channel TEXT NOT NULL,     -- of the attempt with which it was opened; '' when that is not known
        first_model TEXT NOT NULL,
        tries TEXT,                      -- JSON: [at, channel, model] of each further attempt that was started
        told BLOB                        -- JSON: its `settle` record, as in the journal
    );
    CREATE INDEX request_by_organization ON request (organization, opened);
    CREATE INDEX request_by_age ON request (opened);
    CREATE INDEX request_open ON request (epoch) WHERE state = 0;

    INSERT INTO request
    SELECT
        id, epoch, state, metered, organization, key, model, opened, ended, reserved_tokens, reserved_cost, cost,
        '', '', nullif(tries, '[]'),
        CASE state WHEN 1 THEN CAST(json_array(
            'settle', ended, json(iif(metered, 'true', 'false')), id, opened, dialect, endpoint, client, key,
            organization, model, served_model, channel, provider, json(iif(stream, 'true', 'false')), status, ending,
            seconds, first_token, overhead,
            json_array(
                input, output, cache_read, cache_write, 0, reasoning, 0, 0, 0, provider_cost,
                json(iif(estimated, 'true', 'false'))
            ),
            cost, bytes_in, bytes_out, json(attempts)
        ) AS BLOB) END
    FROM request_1 ORDER BY opened;
    DROP TABLE request_1;
    """,
)
