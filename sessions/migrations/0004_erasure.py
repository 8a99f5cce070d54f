"""What belongs to a session, for legal holds; and the one way by which rows that never change forget a person."""

from django.conf import settings
from django.db import migrations, models

BELONGS = """
CREATE OR REPLACE FUNCTION audit_belongs(stream uuid) RETURNS SETOF uuid LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT $1
    UNION ALL SELECT team_id FROM agent_sessions_agentsession WHERE id = $1
    UNION ALL SELECT person_id FROM agent_sessions_agentsession WHERE id = $1
$$;
"""

ALONE = """
CREATE OR REPLACE FUNCTION audit_belongs(stream uuid) RETURNS SETOF uuid LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$ SELECT $1 $$;
"""

# A grant's hash stays: it is in the log, and what was approved stands there with its personal fields sealed.
ERASE = """
CREATE FUNCTION agent_sessions_erase(erased uuid) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM agent_sessions_person WHERE id = erased AND erased_at IS NOT NULL AND NOT is_active) THEN
        RAISE EXCEPTION 'this person is not erased' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE agent_sessions_agentsession SET purpose = 'erased' WHERE person_id = erased;
    UPDATE agent_sessions_grant AS made SET body = convert_to(jsonb_set(jsonb_set(
        convert_from(made.body, 'UTF8')::jsonb, '{purpose}', '"erased"'), '{person,name}', '"erased"')::text, 'UTF8')
    FROM agent_sessions_agentsession AS run WHERE run.id = made.agent_session_id AND run.person_id = erased;
    UPDATE agent_sessions_approval SET reason = '' WHERE erased IN (person_id, on_behalf_of_id);
END $$;
REVOKE ALL ON FUNCTION agent_sessions_erase(uuid) FROM PUBLIC;
"""

# A request that was on its way while its person was erased must not bring them back.
GONE = """
CREATE FUNCTION agent_sessions_erased_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM agent_sessions_person WHERE id = NEW.person_id AND erased_at IS NULL FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the person was erased' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER agent_sessions_run_erased BEFORE INSERT ON agent_sessions_agentsession
    FOR EACH ROW EXECUTE FUNCTION agent_sessions_erased_guard();
"""

UNGONE = """
DROP TRIGGER agent_sessions_run_erased ON agent_sessions_agentsession;
DROP FUNCTION agent_sessions_erased_guard();
"""

UNERASE = "DROP FUNCTION agent_sessions_erase(uuid)"


def allow(apps, schema_editor):
    role = schema_editor.quote_name(settings.DATABASE_APP_ROLE)
    schema_editor.execute(f"GRANT EXECUTE ON FUNCTION agent_sessions_erase(uuid) TO {role}")


class Migration(migrations.Migration):
    dependencies = [("agent_sessions", "0003_frozen"), ("audit", "0005_personal")]

    operations = [
        migrations.AddField("person", "erased_at", models.DateTimeField(null=True)),
        migrations.RunSQL(BELONGS, ALONE),
        migrations.RunSQL(ERASE, UNERASE),
        migrations.RunSQL(GONE, UNGONE),
        migrations.RunPython(allow, migrations.RunPython.noop),
    ]
