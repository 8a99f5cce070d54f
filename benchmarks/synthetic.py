"""Fills a log with synthetic events, past its writer: rows, runs, density and blocks as the integrator leaves them.

One session is long; the others have 1,000 events each, spread over half a year. Nothing is signed for.
"""

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from audit.event import now
from audit.integrator import months_ahead
from audit.sequencing import BLOCK, BUCKET_S, TAG, WORDS

SHORT = 1_000
RUN = 100
BURST = 25
SHORT_PACE_S, LONG_PACE_S = 30, 0.3
DAYS = 180
AT_ONCE = 2
BATCH = 100
Tell = Callable[[str], None]


class Loader:
    """`owner_url` is the database's owner. `grow` may be called again with more rows."""

    def __init__(self, owner_url: str, tell: Tell) -> None:
        self._url, self._tell = owner_url, tell
        self.short: list[uuid.UUID] = []

    def prepare(self, long: int) -> None:
        """The pattern that all sessions repeat, with the words of its blocks and its density."""
        with self._connection() as connection:
            connection.execute(PATTERN, {"long": long, "burst": BURST})
            for name, length, pace in (("short", SHORT, SHORT_PACE_S), ("long", long, LONG_PACE_S)):
                asked = {"name": name, "length": length, "pace": pace, "bucket": BUCKET_S, "block": BLOCK}
                connection.execute(PATTERN_BLOCKS, asked)
                connection.execute(PATTERN_DENSITY, asked)
            earliest = (now() - timedelta(days=DAYS + 31)).date()
            for month in months_ahead(earliest, DAYS // 30 + 2):
                connection.execute("SELECT audit_make_partition(%s)", [month])

    def add_long(self, stream: uuid.UUID, agent: uuid.UUID, base: int, length: int) -> None:
        begins = aligned(now() - timedelta(seconds=length / BURST * LONG_PACE_S + 60))
        self._tell(f"one session of {length:,} events")
        self._add([(stream, agent, begins, base, length)], "long", LONG_PACE_S)

    def grow(self, rows: int) -> None:
        """Sessions of 1,000 events, until those of this loader have so many rows."""
        count = rows // SHORT - len(self.short)
        step = timedelta(days=DAYS) / max(count, 1)
        begins = [aligned(now() - timedelta(days=DAYS, hours=2) + step * number) for number in range(count)]
        made = [(made_at(at), uuid.uuid4(), at, 0, SHORT) for at in begins]
        self._tell(f"{count:,} sessions of {SHORT:,} events")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            batches = [made[first : first + BATCH] for first in range(0, count, BATCH)]
            list(pool.map(lambda batch: self._add(batch, "short", SHORT_PACE_S), batches))
        self.short += [one[0] for one in made]

    def without_indexes(self) -> None:
        with self._connection() as connection:
            for statement in INDEXES:
                connection.execute(f"DROP INDEX {statement.split()[2]}")

    def index(self) -> None:
        """The indexes as the migrations make them, and the statistics."""
        self._tell("indexes")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._execute, INDEXES))
        self._tell("vacuum")
        self._execute("VACUUM (ANALYZE) audit_event, audit_block, audit_density, audit_run, audit_stream")

    def _execute(self, statement: str) -> None:
        with self._connection() as connection:
            connection.execute(statement)

    def _add(self, sessions: Sequence[tuple[uuid.UUID, uuid.UUID, datetime, int, int]], name: str, pace: float) -> None:
        ids, agents, begins, bases, lengths = zip(*sessions, strict=True)
        asked: dict[str, Any] = {"ids": list(ids), "agents": list(agents), "begins": list(begins), "bases": list(bases)}
        asked |= {"lengths": list(lengths), "name": name, "pace": pace, "burst": BURST, "run": RUN}
        with self._connection() as connection, connection.transaction():
            for statement in (EVENTS, RUNS, DENSITY, BLOCKS, STREAMS):
                connection.execute(statement, asked)

    def _connection(self) -> "psycopg.Connection[Any]":
        options = "-c synchronous_commit=off -c maintenance_work_mem=768MB -c lock_timeout=0"
        return psycopg.connect(self._url, autocommit=True, options=options, cursor_factory=psycopg.ClientCursor)


def aligned(at: datetime) -> datetime:
    return datetime.fromtimestamp(int(at.timestamp()) // BUCKET_S * BUCKET_S, UTC)


def made_at(at: datetime) -> uuid.UUID:
    """A UUIDv7 of that moment."""
    random = uuid.uuid4().int & (1 << 80) - 1
    return uuid.UUID(int=int(at.timestamp() * 1000) << 80 | random & ~(0xF << 76) & ~(0x3 << 62) | 7 << 76 | 2 << 62)


INDEXES = (
    "CREATE INDEX event_kind ON audit_event (stream, kind, seq)",
    "CREATE INDEX event_host ON audit_event (stream, host, seq) WHERE host IS NOT NULL",
    "CREATE INDEX event_actor ON audit_event (stream, actor, seq) WHERE actor IS NOT NULL",
    "CREATE INDEX event_outcome ON audit_event (stream, outcome, seq) WHERE outcome > 0",
    "CREATE INDEX block_words ON audit_block USING gin (words)",
)
# What happens in a session, by its ordinal; `n` varies.
PATTERN = """
CREATE UNLOGGED TABLE bench_pattern AS
SELECT o, (o - 1) / %(burst)s AS burst, kind, CASE WHEN o %% 97 = 0 THEN 2 ELSE 0 END::smallint AS outcome,
    CASE WHEN o %% 500 = 0 THEN 'service:issuer' END AS actor,
    CASE WHEN kind = 'http.request' THEN 'api' || n %% 12 || '.example' END AS host,
    CASE WHEN kind LIKE 'file.%%' THEN '/srv/work/area' || n %% 9 || '/file' || n || '.txt'
        WHEN kind = 'http.request' THEN '/v1/items/' || n END AS path,
    CASE WHEN kind = 'db.statement' THEN format('{"rows":%%s,"statement":"SELECT order_id, shipped_at, weight_kg FROM '
            'public.orders JOIN public.customers USING (customer_id) WHERE customer_id = %%s AND region = ''r%%s''"}',
            n %% 40, n, n %% 30)
        WHEN kind = 'http.request' THEN format('{"host":"api%%s.example","method":"GET","path":"/v1/items/%%s",'
            '"status":200}', n %% 12, n)
        WHEN kind LIKE 'file.%%' THEN format('{"path":"/srv/work/area%%s/file%%s.txt","size":%%s}', n %% 9, n, n)
        ELSE format('{"name":"search_%%s","text":"looked for late shipments of customer %%s near the depot of r%%s and '
            'compared them with what the carrier had promised"}', n %% 15, n, n %% 30) END AS data
FROM generate_series(1, greatest(%(long)s, 1000)) AS o,
    LATERAL (SELECT (o::bigint * 7919) %% 100003 AS n, (ARRAY['db.statement', 'db.statement', 'db.statement',
        'tool.called', 'tool.called', 'http.request', 'http.request', 'file.read', 'process.started',
        'agent.message'])[(o - 1) %% 10 + 1] AS kind) AS one;
CREATE UNLOGGED TABLE bench_density (name text, bucket bigint, kind text, events bigint, refused bigint, lowest int,
    highest int);
CREATE UNLOGGED TABLE bench_block (name text, lowest int, highest int, words text[]);
CREATE SEQUENCE bench_leaf START 1000;
"""
PATTERN_DENSITY = """
INSERT INTO bench_density SELECT %(name)s, floor(burst * %(pace)s::float / %(bucket)s), kind, count(*),
    count(*) FILTER (WHERE outcome > 0), min(o), max(o) FROM bench_pattern WHERE o <= %(length)s GROUP BY 2, 3
"""
PATTERN_BLOCKS = f"""
INSERT INTO bench_block SELECT %(name)s, min(o), max(o), array_agg(DISTINCT word) FROM bench_pattern,
    LATERAL ({WORDS.format(text="concat_ws(' ', kind, path, data)")}) AS one (word)
WHERE o <= %(length)s GROUP BY (o - 1) / %(block)s
"""
SESSIONS = """
unnest(%(ids)s::uuid[], %(agents)s::uuid[], %(begins)s::timestamptz[], %(bases)s::bigint[], %(lengths)s::int[])
AS session (id, agent, begins, base, length)
"""
MOMENT = "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
EVENTS = f"""
INSERT INTO audit_event (id, stream, seq, occurred_at, recorded_at, outcome, kind, actor, host, path, body)
SELECT made, session.id, base + o, at, at, outcome, kind, actor, host, path, convert_to(concat(
    '{{"act":{{"sub":"', coalesce(actor, 'agent:' || agent), '"}},"agent":"agent:', agent, '","data":', data,
    ',"id":"', made, '","kind":"', kind, '","occurred_at":"', {MOMENT}, '","outcome":"',
    CASE outcome WHEN 0 THEN 'success' ELSE 'denied' END, '","recorded_at":"', {MOMENT}, '","seq":', base + o,
    ',"session":"', session.id, '","stream":"', session.id, '","sub":"person:', agent, '","v":1}}'), 'UTF8')
FROM {SESSIONS}, bench_pattern,
    LATERAL (SELECT begins + make_interval(secs => burst * %(pace)s::float) AS at) AS moment,
    LATERAL (SELECT uuidv7(at - clock_timestamp()) AS made OFFSET 0) AS identity
WHERE o <= length
"""
RUNS = f"""
INSERT INTO audit_run (stream, first_seq, last_seq, first_leaf)
SELECT id, base + first, base + least(first + %(run)s - 1, length), nextval('bench_leaf') * %(run)s
FROM {SESSIONS}, LATERAL generate_series(1, length, %(run)s::int) AS first
"""
DENSITY = f"""
INSERT INTO audit_density (stream, bucket, kind, events, refused, first_seq, last_seq)
SELECT id, begins + make_interval(secs => bucket * {BUCKET_S}), kind, events, refused, base + lowest, base + highest
FROM {SESSIONS}, bench_density WHERE name = %(name)s
ON CONFLICT (stream, bucket, kind) DO NOTHING
"""
BLOCKS = f"""
INSERT INTO audit_block (stream, first_seq, last_seq, words)
SELECT id, base + lowest, base + highest,
    (SELECT array_to_tsvector(array_agg(right(id::text, {TAG}) || word)) FROM unnest(words) AS word)
FROM {SESSIONS}, bench_block WHERE name = %(name)s
"""
STREAMS = f"""
INSERT INTO audit_stream (id, last_seq) SELECT id, base + length FROM {SESSIONS}
ON CONFLICT (id) DO UPDATE SET last_seq = EXCLUDED.last_seq
"""
