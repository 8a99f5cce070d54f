"""Keys of personal fields, legal holds, and the one way by which entries leave the database.

Only `audit_prune` moves the minimum index, and a trigger lets a row go only below it, only where no hold covers it and
never from the log's own stream: that binds every role, the owner's included.
"""

from django.conf import settings
from django.db import migrations, models
from django.db.models import Q

import audit.uuid7

HOLDS = """
-- What a stream belongs to, for holds. Whoever opens streams says more (agent_sessions, migration 0004).
CREATE FUNCTION audit_belongs(stream uuid) RETURNS SETOF uuid LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$ SELECT $1 $$;
REVOKE ALL ON FUNCTION audit_belongs(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_belongs(uuid) TO %(app)s, %(integrator)s;

-- Whether a hold covers an event: it names what is held, or its stream belongs to that.
CREATE FUNCTION audit_held(stream uuid, body bytea) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM public.audit_hold AS hold WHERE hold.released_at IS NULL
            AND (position(convert_to(hold.value::text, 'UTF8') IN $2) > 0
                OR hold.value IN (SELECT public.audit_belongs($1)))
    )
$$;

-- The events at leaves [first, past) that are still there.
CREATE FUNCTION audit_at(first bigint, past bigint)
RETURNS TABLE (leaf bigint, id uuid, stream uuid, seq bigint, recorded_at timestamptz, body bytea) LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT run.first_leaf + event.seq - run.first_seq, event.id, event.stream, event.seq, event.recorded_at, event.body
    FROM audit_run AS run JOIN audit_event AS event
        ON event.stream = run.stream AND event.seq BETWEEN run.first_seq AND run.last_seq
    WHERE run.first_leaf >= coalesce((SELECT max(first_leaf) FROM audit_run WHERE first_leaf <= $1), 0)
        AND run.first_leaf < $2 AND run.first_leaf + event.seq - run.first_seq BETWEEN $1 AND $2 - 1
$$;
"""

PRUNING = """
INSERT INTO audit_pruned (id, minimum) VALUES (1, 0);

CREATE FUNCTION audit_event_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    leaf bigint;
BEGIN
    IF TG_OP = 'DELETE' AND OLD.stream <> '%(log)s' THEN
        SELECT run.first_leaf + OLD.seq - run.first_seq INTO leaf FROM audit_run AS run
            WHERE run.stream = OLD.stream AND run.first_seq <= OLD.seq ORDER BY run.first_seq DESC LIMIT 1;
        IF leaf < (SELECT minimum FROM audit_pruned) AND NOT audit_held(OLD.stream, OLD.body) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the log is append-only: %% of %% is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
DROP TRIGGER event_immutable ON audit_event;
CREATE TRIGGER event_immutable BEFORE UPDATE OR DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_event_guard();

CREATE FUNCTION audit_refuse(why text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'pruning is refused: %%', why USING ERRCODE = 'insufficient_privilege';
END $$;

-- Takes the entries [first, past) out of the database, but for those that a hold covers and the log's own. The minimum
-- index moves up to `past`. Whole bundles only, no gap, nothing unsigned, nothing younger than thirty days.
CREATE FUNCTION audit_prune(first bigint, past bigint)
RETURNS TABLE (pruned bigint, held bigint, own bigint, holds uuid[]) LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    lowest bigint;
    gone record;
BEGIN
    LOCK TABLE audit_hold IN SHARE MODE;  -- a hold that is being placed is waited for, and none comes between
    SELECT minimum INTO STRICT lowest FROM audit_pruned FOR UPDATE;
    IF first < 0 OR past <= first OR first %% 256 <> 0 OR past %% 256 <> 0 OR past - first > 65536 THEN
        PERFORM audit_refuse('[' || first || ', ' || past || ') is not one of up to 256 whole bundles');
    END IF;
    IF first > lowest THEN
        PERFORM audit_refuse('entries from ' || lowest || ' on would be left out');
    END IF;
    IF past > (SELECT published_size FROM audit_head) THEN
        PERFORM audit_refuse('the log is not signed for up to entry ' || past);
    END IF;
    CREATE TEMPORARY TABLE audit_going ON COMMIT DROP AS
        WITH entry AS MATERIALIZED (SELECT * FROM audit_at(first, past)),
        hold AS MATERIALIZED (
            SELECT id, value, convert_to(value::text, 'UTF8') AS name FROM audit_hold WHERE released_at IS NULL
        ),
        stream_hold AS MATERIALIZED (
            SELECT one.stream, array_agg(hold.id) AS ids
            FROM (SELECT DISTINCT stream FROM entry) AS one, LATERAL audit_belongs(one.stream) AS owner
            JOIN hold ON hold.value = owner GROUP BY one.stream
        )
        SELECT entry.leaf, entry.id, entry.stream, entry.seq, entry.recorded_at, entry.stream = '%(log)s' AS own,
            coalesce(stream_hold.ids, '{}') || ARRAY(
                SELECT hold.id FROM hold WHERE position(hold.name IN entry.body) > 0
            ) AS held_by
        FROM entry LEFT JOIN stream_hold ON stream_hold.stream = entry.stream;
    IF past > lowest AND (SELECT count(*) FROM audit_going WHERE leaf >= lowest) <> past - lowest THEN
        PERFORM audit_refuse('entries between ' || lowest || ' and ' || past || ' are missing already');
    END IF;
    IF EXISTS (SELECT FROM audit_going WHERE recorded_at > now() - interval '30 days') THEN
        PERFORM audit_refuse('some of the entries are younger than thirty days');
    END IF;
    INSERT INTO audit_leftbundle (index) SELECT generate_series(lowest / 256, past / 256 - 1) ON CONFLICT DO NOTHING;
    UPDATE audit_pruned SET minimum = greatest(lowest, past);

    DELETE FROM audit_event AS event USING audit_going AS going
        WHERE event.id = going.id AND NOT going.own AND going.held_by = '{}';
    GET DIAGNOSTICS pruned = ROW_COUNT;
    SELECT count(*) FILTER (WHERE going.held_by <> '{}' AND NOT going.own), count(*) FILTER (WHERE going.own),
        coalesce((SELECT array_agg(DISTINCT one) FROM audit_going, unnest(held_by) AS one WHERE NOT audit_going.own), '{}')
        INTO held, own, holds FROM audit_going AS going;
    -- What pages search and count by goes with the last event that it tells of.
    FOR gone IN SELECT going.stream, min(going.seq) AS low, max(going.seq) AS high
        FROM audit_going AS going WHERE NOT going.own AND going.held_by = '{}' GROUP BY going.stream
    LOOP
        DELETE FROM audit_block AS block WHERE block.stream = gone.stream AND block.first_seq <= gone.high
            AND block.last_seq >= gone.low AND NOT EXISTS (SELECT FROM audit_event AS event
                WHERE event.stream = block.stream AND event.seq BETWEEN block.first_seq AND block.last_seq);
        DELETE FROM audit_density AS d WHERE d.stream = gone.stream AND d.first_seq <= gone.high
            AND d.last_seq >= gone.low AND NOT EXISTS (SELECT FROM audit_event AS event
                WHERE event.stream = d.stream AND event.seq BETWEEN d.first_seq AND d.last_seq);
    END LOOP;
    DROP TABLE audit_going;
    RETURN NEXT;
END $$;

-- Drops a month's partition that has nothing left in it. Answers whether there was one.
CREATE FUNCTION audit_drop_month(month date) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    part text := 'audit_event_' || to_char(month, 'YYYYMM');
    any_left boolean;
BEGIN
    IF month + interval '1 month' > now() - interval '30 days' THEN
        PERFORM audit_refuse('the month is younger than thirty days');
    END IF;
    IF to_regclass('public.' || part) IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM public.%%I)', part) INTO any_left;
    IF any_left THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE public.%%I IN ACCESS EXCLUSIVE MODE', part);
    EXECUTE format('SELECT EXISTS (SELECT FROM public.%%I)', part) INTO any_left;
    IF NOT any_left THEN
        EXECUTE format('DROP TABLE public.%%I', part);
    END IF;
    RETURN NOT any_left;
END $$;

REVOKE ALL ON FUNCTION audit_prune(bigint, bigint), audit_drop_month(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_prune(bigint, bigint), audit_drop_month(date) TO %(integrator)s;
"""

LOG_STREAM = "00000000-0000-7000-8000-000000000109"
RIGHTS = {
    "audit_subjectkey": ("SELECT, INSERT, UPDATE", "SELECT, INSERT"),
    "audit_hold": ("SELECT, INSERT", "SELECT"),
    "audit_pruned": ("SELECT", "SELECT"),
    "audit_leftbundle": ("SELECT", "SELECT, DELETE"),
}


def make(apps, schema_editor):
    quote = schema_editor.quote_name
    names = {
        "app": quote(settings.DATABASE_APP_ROLE),
        "integrator": quote(settings.DATABASE_INTEGRATOR_ROLE),
        "log": LOG_STREAM,
    }
    schema_editor.execute(HOLDS % names, params=None)
    schema_editor.execute(PRUNING % names, params=None)


def restrict(apps, schema_editor):
    app = schema_editor.quote_name(settings.DATABASE_APP_ROLE)
    integrator = schema_editor.quote_name(settings.DATABASE_INTEGRATOR_ROLE)
    for table, (apps_rights, integrators_rights) in RIGHTS.items():
        schema_editor.execute(f"REVOKE ALL ON {table} FROM {app}, {integrator}")
        schema_editor.execute(f"GRANT {apps_rights} ON {table} TO {app}")
        schema_editor.execute(f"GRANT {integrators_rights} ON {table} TO {integrator}")
    # A hold is placed once, and released once.
    schema_editor.execute(f"GRANT UPDATE (released_by, released_at) ON audit_hold TO {app}")


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_exports")]

    operations = [
        migrations.CreateModel(
            name="SubjectKey",
            fields=[
                ("subject", models.TextField(primary_key=True, serialize=False)),
                ("sealed", models.BinaryField()),
                ("sealed_with", models.CharField(blank=True, max_length=32)),
                ("made_at", models.DateTimeField()),
                ("destroyed_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(destroyed_at=None) | Q(sealed=b"", sealed_with=""), name="subject_key_destroyed"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Hold",
            fields=[
                (
                    "id",
                    models.UUIDField(default=audit.uuid7.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "what",
                    models.CharField(
                        choices=[("session", "Session"), ("person", "Person"), ("team", "Team")], max_length=8
                    ),
                ),
                ("value", models.UUIDField()),
                ("by", models.TextField(help_text="person:<id>")),
                ("since", models.DateTimeField()),
                ("released_by", models.TextField(blank=True)),
                ("released_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(condition=Q(released_at=None), fields=("what", "value"), name="hold_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Pruned",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("minimum", models.BigIntegerField(default=0)),
            ],
            options={"constraints": [models.CheckConstraint(condition=Q(id=1), name="pruned_one_row")]},
        ),
        migrations.CreateModel(
            name="LeftBundle",
            fields=[("index", models.BigIntegerField(primary_key=True, serialize=False))],
        ),
        migrations.RunPython(make),
        migrations.RunPython(restrict),
    ]
