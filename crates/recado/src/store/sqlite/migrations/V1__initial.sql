-- Times are microseconds since 1970-01-01T00:00:00Z. Columns named sealed_* are
-- XChaCha20-Poly1305 under the person's key; *_index columns are keyed hashes. Columns such as state,
-- kind, source, outcome, priority hold the numbers that crates/delivery declares beside their words
-- (`stored!`). They have no CHECK: SQLite cannot change one without copying the table, and each new
-- state would copy the largest ones. Readers refuse a number they do not know.

-- Each row says whose it is, and keys that are searched by begin with it; row numbers are unique in
-- the file. Only `counter` does without: a counter belongs to its cohort, and is found by it.

-- "Rcdo": a file with tables that has another number here belongs to another program.
PRAGMA application_id = 0x5263646f;

-- A set of Twilio credentials and senders, with its two keys wrapped by the master key.
CREATE TABLE account (
    id                  INTEGER PRIMARY KEY,
    name                TEXT NOT NULL UNIQUE,
    wrapped_account_key BLOB NOT NULL,
    wrapped_index_key   BLOB NOT NULL,
    -- Counts the servers that have opened the database: attempts of earlier ones that are still
    -- open have no one who could close them.
    epoch               INTEGER NOT NULL DEFAULT 0,
    -- Random: which database this is, and which start of a server was the last. The marker beside
    -- the file has both, so that a restored or copied file is recognized.
    database            INTEGER NOT NULL DEFAULT 0,
    run                 INTEGER NOT NULL DEFAULT 0,
    -- Which account at the provider.
    provider_index      BLOB,
    -- What the database knew when it was restored: a message up to this one, whose last attempt is
    -- not younger than this one, may have left since this time. It is looked for before it leaves.
    restored_at         INTEGER,
    restored_reason     TEXT,
    restored_since      INTEGER NOT NULL DEFAULT 0,
    restored_message    INTEGER NOT NULL DEFAULT 0,
    restored_attempt    INTEGER NOT NULL DEFAULT 0,
    -- The same of the restore before, for the case that the last one turns out to be a mere move.
    earlier_since       INTEGER NOT NULL DEFAULT 0,
    earlier_message     INTEGER NOT NULL DEFAULT 0,
    earlier_attempt     INTEGER NOT NULL DEFAULT 0,
    -- When the operator let it send again.
    resumed_at          INTEGER,
    -- What time it was when a server last noted it: hourly, and when its trust in the clock changes.
    clock_noted_at      INTEGER,
    -- Since when the clock has been right, while it is doubted and nothing is removed; else NULL.
    clock_right_since   INTEGER
) STRICT;

CREATE TABLE sender (
    id           INTEGER PRIMARY KEY,
    account_id   INTEGER NOT NULL REFERENCES account (id),
    name         TEXT NOT NULL,
    configured   INTEGER NOT NULL,
    paused_at    INTEGER,
    pause_reason TEXT,
    -- Who has paused it: the operator, an answer (ends with a restart) or a report.
    pause_source INTEGER,
    resumed_at   INTEGER,
    UNIQUE (account_id, name)
) STRICT;

CREATE TABLE template (
    id          INTEGER PRIMARY KEY,
    account_id  INTEGER NOT NULL REFERENCES account (id),
    content_sid TEXT NOT NULL,
    UNIQUE (account_id, content_sid)
) STRICT;

-- The addresses of people: phones and user ids. A person is the identities that carry their number,
-- which is that of the identity by which we met them first.
CREATE TABLE identity (
    id             INTEGER PRIMARY KEY,
    account_id     INTEGER NOT NULL REFERENCES account (id),
    -- NULL as long as the person has no other identity: then it is this row's own number.
    person_id      INTEGER,
    kind           INTEGER NOT NULL,
    blind_index    BLOB NOT NULL,
    -- NULL when the person was erased: nothing of theirs can be opened any more.
    wrapped_key    BLOB,
    sealed_address BLOB,
    area           INTEGER NOT NULL,
    has_variant    INTEGER NOT NULL,
    -- The variant of the address to use. Written when the person wrote to us, or when something was
    -- delivered under the other one; else NULL, which means canonical.
    variant        INTEGER,
    -- The person's, the same at each of their identities.
    consent        INTEGER NOT NULL DEFAULT 0,
    consent_at     INTEGER,
    consent_source INTEGER,
    UNIQUE (account_id, blind_index)
) STRICT;

CREATE INDEX identity_asking ON identity (account_id, consent_at) WHERE consent = 1;
CREATE INDEX identity_by_person ON identity (account_id, person_id) WHERE person_id IS NOT NULL;

-- Which identities were tied to a person, and why, for ever.
CREATE TABLE identity_tie (
    id          INTEGER PRIMARY KEY,
    account_id  INTEGER NOT NULL,
    person_id   INTEGER NOT NULL,
    identity_id INTEGER NOT NULL,
    -- Whose it was before; NULL when it was new.
    merged_id   INTEGER,
    at          INTEGER NOT NULL,
    source      INTEGER NOT NULL,
    -- Whose callback showed it: the provider's id, and our message when it was one.
    sid         BLOB,
    message_id  INTEGER
) STRICT;

CREATE INDEX identity_tie_by_person ON identity_tie (account_id, person_id, id);

-- When a person last wrote to a sender: the 24-hour window.
CREATE TABLE conversation (
    account_id      INTEGER NOT NULL,
    person_id       INTEGER NOT NULL,
    sender_id       INTEGER NOT NULL,
    last_inbound_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, person_id, sender_id)
) STRICT, WITHOUT ROWID;

-- What counters are kept by.
CREATE TABLE cohort (
    id          INTEGER PRIMARY KEY,
    account_id  INTEGER NOT NULL,
    hour        INTEGER NOT NULL,
    sender_id   INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    template_id INTEGER NOT NULL,
    area        INTEGER NOT NULL,
    -- The removal of old messages that was the last one to touch the cohort.
    removal     INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account_id, hour, sender_id, kind, template_id, area)
) STRICT;

CREATE INDEX cohort_removal ON cohort (account_id, removal) WHERE removal > 0;

CREATE TABLE counter (
    cohort_id INTEGER NOT NULL,
    metric    INTEGER NOT NULL,
    code      INTEGER NOT NULL,
    n         INTEGER NOT NULL,
    -- How much of n was counted for messages that are no longer stored: the recount finds the rest.
    baseline  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (cohort_id, metric, code)
) STRICT, WITHOUT ROWID;

-- Sums over all cohorts, and the length of each sender's queue, kept in the commits that change them:
-- reading them costs the same however old the database is.
CREATE TABLE total (
    account_id INTEGER NOT NULL,
    what       INTEGER NOT NULL,
    -- The state, the error code or the sender.
    code       INTEGER NOT NULL,
    n          INTEGER NOT NULL,
    PRIMARY KEY (account_id, what, code)
) STRICT, WITHOUT ROWID;

-- What a caller asked for. Written once.
CREATE TABLE message (
    id                  INTEGER PRIMARY KEY,
    account_id          INTEGER NOT NULL,
    public_id           BLOB NOT NULL,
    person_id           INTEGER NOT NULL,
    -- To which of the person's addresses it goes; its key seals the message.
    identity_id         INTEGER NOT NULL,
    content_index       BLOB NOT NULL,
    template_id         INTEGER NOT NULL,
    kind                INTEGER NOT NULL,
    window_check        INTEGER NOT NULL,
    send_at             INTEGER,
    accepted_at         INTEGER NOT NULL,
    sealed_content      BLOB NOT NULL,
    sealed_metadata     BLOB,
    sealed_business_key BLOB,
    UNIQUE (account_id, public_id)
) STRICT;

CREATE INDEX message_by_person ON message (account_id, person_id, id);

-- Where a message is. Narrow, because every callback writes it.
CREATE TABLE progress (
    message_id   INTEGER PRIMARY KEY,
    account_id   INTEGER NOT NULL,
    cohort_id    INTEGER NOT NULL,
    person_id    INTEGER NOT NULL,
    sender_id    INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    -- How many of the attempts do not count against the limit.
    spared       INTEGER NOT NULL,
    -- Its age, as far as trying again goes: the sum of the waits between attempts.
    tried_for    INTEGER NOT NULL,
    attempt_id   INTEGER,
    seen         INTEGER NOT NULL,
    flags        INTEGER NOT NULL,
    priority     INTEGER NOT NULL,
    policy       INTEGER NOT NULL,
    last_event   INTEGER NOT NULL,
    accepted_at  INTEGER NOT NULL,
    expires_at   INTEGER,
    due_at       INTEGER,
    sent_at      INTEGER,
    delivered_at INTEGER,
    read_at      INTEGER,
    failed_at    INTEGER,
    error_reason INTEGER,
    error_code   INTEGER,
    -- Zeros in the place of times to come: a row that grew would split its page.
    padding      BLOB
) STRICT;

-- The states that a person may have to look at are few; the usual ones are not indexed.
-- Comparisons and no list: a list is made again, twice, for each update of a row.
CREATE INDEX progress_attention ON progress (account_id, state, message_id)
    WHERE state >= 3 AND state <= 11 AND state <> 8 AND state <> 9;
-- What an opt-out stops, found without walking everything that the person was ever sent.
CREATE INDEX progress_stoppable ON progress (account_id, person_id, message_id)
    WHERE state <= 4 AND state <> 2 AND state <> 3;
CREATE INDEX progress_error ON progress (account_id, error_code, message_id)
    WHERE error_code IS NOT NULL;
CREATE INDEX progress_expiry ON progress (account_id, expires_at)
    WHERE due_at IS NOT NULL AND expires_at IS NOT NULL;

-- The queue: exactly the messages whose progress has a due time.
CREATE TABLE queue (
    account_id INTEGER NOT NULL,
    sender_id  INTEGER NOT NULL,
    priority   INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    person_id  INTEGER NOT NULL,
    PRIMARY KEY (account_id, sender_id, priority, due_at, message_id)
) STRICT, WITHOUT ROWID;

-- Who waits because of what the provider said about a message. What waits has the due time `until`;
-- the hold is in effect until `ends_at`, which is earlier when it was lifted. Rows of the past tell how
-- many holds came in a row.
CREATE TABLE hold (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL,
    scope      INTEGER NOT NULL,
    -- The person, the template or the sender; 0 for the account.
    subject    INTEGER NOT NULL,
    -- The only kind of message that is held; -1 for all.
    kind       INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL,
    lifted     INTEGER NOT NULL,
    -- It was lifted, and has not let go of everything that waits for it.
    releasing  INTEGER NOT NULL,
    step       INTEGER NOT NULL,
    code       INTEGER,
    message_id INTEGER NOT NULL
) STRICT;

CREATE INDEX hold_subject ON hold (account_id, scope, subject, kind);
CREATE INDEX hold_end ON hold (account_id, scope, ends_at);
CREATE INDEX hold_releasing ON hold (account_id, id) WHERE releasing = 1;

-- Which messages met a code that stops others, or might.
CREATE TABLE hold_evidence (
    account_id     INTEGER NOT NULL,
    message_id     INTEGER NOT NULL,
    code           INTEGER NOT NULL,
    person_id      INTEGER NOT NULL,
    sender_id      INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    stopped_others INTEGER NOT NULL,
    PRIMARY KEY (account_id, message_id, code)
) STRICT, WITHOUT ROWID;

CREATE INDEX hold_evidence_code ON hold_evidence (account_id, code, at);
CREATE INDEX hold_evidence_age ON hold_evidence (account_id, at);

CREATE TABLE attempt (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  INTEGER NOT NULL,
    message_id  INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    nonce       INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    -- NULL while it is open.
    outcome     INTEGER,
    cause       TEXT,
    -- The variant of the address used.
    variant     INTEGER NOT NULL,
    -- Statuses seen, kept here when a later attempt takes its place in progress.
    seen        INTEGER NOT NULL DEFAULT 0,
    sid         BLOB,
    -- How the SID was learned, or that there is none.
    settled_by  INTEGER,
    error_code  INTEGER
) STRICT;

CREATE UNIQUE INDEX attempt_sid ON attempt (account_id, sid) WHERE sid IS NOT NULL;

-- At most one open attempt of a sender to a person, and those that two people had who are one now.
CREATE TABLE open_attempt (
    account_id INTEGER NOT NULL,
    person_id  INTEGER NOT NULL,
    sender_id  INTEGER NOT NULL,
    attempt_id INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    PRIMARY KEY (account_id, person_id, sender_id, attempt_id)
) STRICT, WITHOUT ROWID;

-- Reports that a status bit cannot tell apart: those with an error code.
CREATE TABLE coded_report (
    account_id INTEGER NOT NULL,
    attempt_id INTEGER NOT NULL,
    status     INTEGER NOT NULL,
    code       INTEGER NOT NULL,
    PRIMARY KEY (account_id, attempt_id, status, code)
) STRICT, WITHOUT ROWID;

-- Reports about messages that nobody knows yet.
CREATE TABLE parked_report (
    account_id  INTEGER NOT NULL,
    sid         BLOB NOT NULL,
    status      INTEGER NOT NULL,
    code        INTEGER NOT NULL,
    word        TEXT,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, sid, status, code)
) STRICT, WITHOUT ROWID;

CREATE INDEX parked_report_age ON parked_report (account_id, received_at);

-- What must be asked about: unknown attempts and silent messages.
CREATE TABLE watch (
    account_id INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    attempt_id INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    polls      INTEGER NOT NULL,
    PRIMARY KEY (account_id, kind, at, attempt_id)
) STRICT, WITHOUT ROWID;

-- How late the provider's list was at most, and how far its clock was from ours, hour by hour.
CREATE TABLE list_lag (
    account_id  INTEGER NOT NULL,
    hour        INTEGER NOT NULL,
    -- Microseconds; NULL when none was measured.
    lag         INTEGER,
    clock_least INTEGER NOT NULL,
    clock_most  INTEGER NOT NULL,
    PRIMARY KEY (account_id, hour)
) STRICT, WITHOUT ROWID;

-- The log. Append only; prev points to the event before of the same message.
CREATE TABLE event (
    id         INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    prev       INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    source     INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    attempt_id INTEGER,
    status     INTEGER,
    code       INTEGER,
    detail     TEXT
) STRICT;

CREATE TABLE inbound (
    id             INTEGER PRIMARY KEY,
    account_id     INTEGER NOT NULL,
    sid            BLOB NOT NULL,
    person_id      INTEGER NOT NULL,
    -- From which of the person's addresses it came; its key seals it.
    identity_id    INTEGER NOT NULL,
    sender_id      INTEGER,
    type           TEXT NOT NULL,
    media          INTEGER NOT NULL,
    reply_to       INTEGER,
    received_at    INTEGER NOT NULL,
    -- By the provider's clock; NULL while nobody has asked.
    written_at     INTEGER,
    -- What it says about consent; NULL for nothing.
    word           INTEGER,
    -- Found in the provider's list; no callback has told of it.
    listed         INTEGER NOT NULL,
    sealed_payload BLOB NOT NULL,
    UNIQUE (account_id, sid)
) STRICT;

CREATE INDEX inbound_by_person ON inbound (account_id, person_id, id);

CREATE INDEX inbound_word ON inbound (account_id, person_id, id) WHERE word IS NOT NULL;

-- How far the provider's list of inbound messages was read, for each number of ours.
CREATE TABLE inbound_cursor (
    account_id    INTEGER NOT NULL,
    sender_id     INTEGER NOT NULL,
    recipient     TEXT NOT NULL,
    -- Whatever was written before is stored; by the provider's clock.
    listed_until  INTEGER,
    -- A reading that was broken off: what it will have reached, how far back it goes, where it goes on.
    reading_until INTEGER,
    reading_since INTEGER,
    next_page     TEXT,
    PRIMARY KEY (account_id, sender_id, recipient)
) STRICT, WITHOUT ROWID;

-- People whose words wait until the provider has said when they were written.
CREATE TABLE consent_check (
    account_id INTEGER NOT NULL,
    person_id  INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    PRIMARY KEY (account_id, person_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX consent_check_due ON consent_check (account_id, due_at);

-- The URLs that status callbacks were asked for at: messages under way still carry older ones.
CREATE TABLE callback_url (
    account_id  INTEGER NOT NULL,
    url         TEXT NOT NULL,
    -- NULL for the one in use.
    replaced_at INTEGER,
    PRIMARY KEY (account_id, url)
) STRICT, WITHOUT ROWID;

-- What changed a person's consent, for ever.
CREATE TABLE consent_event (
    id         INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    person_id  INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    consent    INTEGER NOT NULL,
    source     INTEGER NOT NULL,
    inbound_id INTEGER,
    message_id INTEGER,
    code       INTEGER
) STRICT;

CREATE INDEX consent_event_by_person ON consent_event (account_id, person_id, id);

CREATE TABLE idempotency (
    account_id INTEGER NOT NULL,
    key        BLOB NOT NULL,
    body       BLOB NOT NULL,
    message_id INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_age ON idempotency (account_id, created_at);

-- The newest message about a subject.
CREATE TABLE business_key (
    account_id    INTEGER NOT NULL,
    -- 0 when the subject is the account's.
    person_id     INTEGER NOT NULL,
    subject_index BLOB NOT NULL,
    version       INTEGER,
    message_id    INTEGER NOT NULL,
    PRIMARY KEY (account_id, person_id, subject_index)
) STRICT, WITHOUT ROWID;

CREATE INDEX business_key_message ON business_key (account_id, message_id);

CREATE TABLE api_key (
    account_id INTEGER NOT NULL REFERENCES account (id),
    id         TEXT NOT NULL,
    name       TEXT NOT NULL,
    scope      INTEGER NOT NULL,
    hash       BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    PRIMARY KEY (account_id, id)
) STRICT, WITHOUT ROWID;
