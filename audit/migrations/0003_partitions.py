"""Events in monthly partitions, and their places in the tree as runs beside them.

The partition follows from the time in the event's own UUIDv7, so that its primary key is unique over all of them.
What is there already is carried over, byte for byte.
"""

from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Q

EVENTS = """
ALTER TABLE audit_event RENAME TO audit_event_before;
ALTER TABLE audit_event_before DROP CONSTRAINT event_stream_seq;
CREATE TABLE audit_event (
    id uuid NOT NULL,
    stream uuid NOT NULL,
    seq bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    outcome smallint NOT NULL,
    kind text NOT NULL,
    actor text,
    host text,
    path text,
    body bytea NOT NULL,
    CONSTRAINT event_pk PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX event_kind ON audit_event (stream, kind, seq);
CREATE INDEX event_host ON audit_event (stream, host, seq) WHERE host IS NOT NULL;
CREATE INDEX event_actor ON audit_event (stream, actor, seq) WHERE actor IS NOT NULL;
CREATE INDEX event_outcome ON audit_event (stream, outcome, seq) WHERE outcome > 0;
CREATE INDEX event_recorded ON audit_event USING brin (recorded_at) WITH (autosummarize = on, pages_per_range = 32);
"""

# The lowest UUIDv7 of a moment: its 48 bits of milliseconds, and nothing else.
FUNCTIONS = """
CREATE FUNCTION audit_floor(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

CREATE FUNCTION audit_make_partition(month date) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    since timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    until timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
    part text := 'audit_event_' || to_char(month, 'YYYYMM');
BEGIN
    IF to_regclass('public.' || part) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE public.%%I (LIKE public.audit_event INCLUDING DEFAULTS INCLUDING STORAGE)', part);
    PERFORM audit_close(part);
    EXECUTE format(
        'ALTER TABLE public.audit_event ATTACH PARTITION public.%%I FOR VALUES FROM (%%L) TO (%%L)',
        part, audit_floor(since), audit_floor(until)
    );
    RETURN true;
END $$;

CREATE FUNCTION audit_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only: %% of %% is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- What a partition does not inherit: the trigger against TRUNCATE, the numbers' uniqueness, and that nobody but
-- the owner reaches it past its parent.
CREATE FUNCTION audit_close(part text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE UNIQUE INDEX ON public.%%I (stream, seq)', part);
    EXECUTE format(
        'CREATE TRIGGER no_truncate BEFORE TRUNCATE ON public.%%I FOR EACH STATEMENT EXECUTE FUNCTION audit_guard()',
        part
    );
    EXECUTE format('REVOKE ALL ON public.%%I FROM PUBLIC, %(app)s, %(integrator)s', part);
END $$;
REVOKE ALL ON FUNCTION audit_make_partition(date), audit_close(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_make_partition(date) TO %(integrator)s;

CREATE TRIGGER event_immutable BEFORE UPDATE OR DELETE ON audit_event FOR EACH ROW EXECUTE FUNCTION audit_guard();
CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON audit_event FOR EACH STATEMENT EXECUTE FUNCTION audit_guard();
CREATE TABLE audit_event_elsewhen PARTITION OF audit_event DEFAULT;
SELECT audit_close('audit_event_elsewhen');
SELECT audit_make_partition(month::date) FROM generate_series(
    date_trunc('month', least((SELECT min(recorded_at) FROM audit_event_before), now()) AT TIME ZONE 'UTC') - interval '1 month',
    date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months',
    interval '1 month'
) AS month;

-- A run gets its place once, and nothing else about it ever changes.
CREATE FUNCTION audit_run_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.first_leaf IS NULL AND NEW.first_leaf IS NOT NULL
        AND (OLD.id, OLD.stream, OLD.first_seq, OLD.last_seq) = (NEW.id, NEW.stream, NEW.first_seq, NEW.last_seq)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the log is append-only: %% of audit_run is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER run_immutable BEFORE UPDATE OR DELETE ON audit_run FOR EACH ROW EXECUTE FUNCTION audit_run_guard();
CREATE TRIGGER run_no_truncate BEFORE TRUNCATE ON audit_run FOR EACH STATEMENT EXECUTE FUNCTION audit_guard();
"""

CARRY_OVER = """
INSERT INTO audit_event (id, stream, seq, occurred_at, recorded_at, outcome, kind, actor, host, path, body)
SELECT id, stream, seq, occurred_at, recorded_at,
    CASE outcome WHEN 'success' THEN 0 WHEN 'failure' THEN 1 ELSE 2 END,
    kind,
    nullif(content->'act'->>'sub', content->>'agent'),
    left(lower(content->'data'->>'host'), 253),
    left(content->'data'->>'path', 1024),
    body
FROM audit_event_before, LATERAL (SELECT convert_from(body, 'UTF8')::jsonb AS content) AS parsed;
INSERT INTO audit_run (stream, first_seq, last_seq) SELECT id, 1, last_seq FROM audit_stream WHERE last_seq > 0;
INSERT INTO audit_head (id, size, published_size, indexed_size, published_root)
VALUES (1, 0, 0, 0, '\\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
DROP TABLE audit_event_before;
ALTER TABLE audit_run ADD CONSTRAINT run_not_endless CHECK (last_seq - first_seq < 10000) NOT VALID;
DROP FUNCTION audit_event_guard();
"""

BLOCKS = """
ALTER TABLE audit_block ADD COLUMN words tsvector NOT NULL;
CREATE INDEX block_words ON audit_block USING gin (words);
"""


def make(apps, schema_editor):
    quote = schema_editor.quote_name
    names = {"app": quote(settings.DATABASE_APP_ROLE), "integrator": quote(settings.DATABASE_INTEGRATOR_ROLE)}
    for script in (EVENTS, FUNCTIONS % names, CARRY_OVER, BLOCKS):
        schema_editor.execute(script, params=None)


def restrict(apps, schema_editor):
    app = schema_editor.quote_name(settings.DATABASE_APP_ROLE)
    integrator = schema_editor.quote_name(settings.DATABASE_INTEGRATOR_ROLE)
    for table in ("audit_event", "audit_run", "audit_head", "audit_block", "audit_density"):
        schema_editor.execute(f"REVOKE ALL ON {table} FROM {app}, {integrator}")
        schema_editor.execute(f"GRANT SELECT ON {table} TO {app}, {integrator}")
    schema_editor.execute(f"GRANT INSERT ON audit_event TO {app}, {integrator}")
    # A place is the integrator's to give: nobody appends a run that has one.
    schema_editor.execute(f"GRANT INSERT (stream, first_seq, last_seq) ON audit_run TO {app}, {integrator}")
    schema_editor.execute(f"GRANT UPDATE (first_leaf) ON audit_run TO {integrator}")
    schema_editor.execute(f"GRANT UPDATE ON audit_head TO {integrator}")
    schema_editor.execute(f"GRANT INSERT, UPDATE ON audit_density TO {integrator}")
    schema_editor.execute(f"GRANT INSERT ON audit_block TO {integrator}")
    for table in ("audit_health", "audit_stream"):
        schema_editor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {integrator}")
    schema_editor.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {integrator}")


EVENT_STATE = [
    migrations.RemoveConstraint("event", "event_stream_seq"),
    migrations.RemoveIndex("event", "event_stream_kind_seq"),
    migrations.RemoveIndex("event", "event_recorded_at"),
    migrations.RemoveIndex("event", "event_waiting"),
    migrations.RemoveField("event", "leaf_index"),
    migrations.AddField("event", "actor", models.TextField(null=True)),
    migrations.AddField("event", "host", models.TextField(null=True)),
    migrations.AddField("event", "path", models.TextField(null=True)),
    migrations.AlterField("event", "kind", models.TextField()),
    migrations.AlterField(
        "event",
        "outcome",
        models.SmallIntegerField(choices=[(0, "success"), (1, "failure"), (2, "denied")]),
    ),
    migrations.AddIndex("event", models.Index(fields=["stream", "kind", "seq"], name="event_kind")),
    migrations.AddIndex(
        "event", models.Index(fields=["stream", "host", "seq"], name="event_host", condition=Q(host__isnull=False))
    ),
    migrations.AddIndex(
        "event", models.Index(fields=["stream", "actor", "seq"], name="event_actor", condition=Q(actor__isnull=False))
    ),
    migrations.AddIndex(
        "event", models.Index(fields=["stream", "outcome", "seq"], name="event_outcome", condition=Q(outcome__gt=0))
    ),
]


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_append_only")]

    operations = [
        migrations.CreateModel(
            name="Run",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stream", models.UUIDField()),
                ("first_seq", models.BigIntegerField()),
                ("last_seq", models.BigIntegerField()),
                ("first_leaf", models.BigIntegerField(null=True)),
            ],
            options={
                "indexes": [models.Index(condition=Q(first_leaf=None), fields=["id"], name="run_waiting")],
                "constraints": [
                    models.UniqueConstraint(fields=("stream", "first_seq"), name="run_stream_seq"),
                    models.UniqueConstraint(fields=("first_leaf",), name="run_first_leaf"),
                    models.CheckConstraint(condition=Q(last_seq__gte=F("first_seq")), name="run_not_empty"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Head",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("size", models.BigIntegerField(default=0)),
                ("published_size", models.BigIntegerField(default=0)),
                ("indexed_size", models.BigIntegerField(default=0)),
                ("published_root", models.BinaryField()),
                ("published_at", models.DateTimeField(null=True)),
                ("beat_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=Q(id=1), name="head_one_row"),
                    models.CheckConstraint(condition=Q(published_size__lte=F("size")), name="head_signed_has_place"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Block",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stream", models.UUIDField()),
                ("first_seq", models.BigIntegerField()),
                ("last_seq", models.BigIntegerField()),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("stream", "first_seq"), name="block_stream_seq")],
            },
        ),
        migrations.CreateModel(
            name="Density",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stream", models.UUIDField()),
                ("bucket", models.DateTimeField()),
                ("kind", models.TextField()),
                ("events", models.IntegerField()),
                ("refused", models.IntegerField()),
                ("first_seq", models.BigIntegerField()),
                ("last_seq", models.BigIntegerField()),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("stream", "bucket", "kind"), name="density_bucket")],
            },
        ),
        migrations.CreateModel(
            name="Health",
            fields=[
                ("part", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("problem", models.TextField()),
                ("since", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
            ],
        ),
        migrations.SeparateDatabaseAndState(state_operations=EVENT_STATE),
        migrations.RunPython(make),
        migrations.RunPython(restrict),
    ]
