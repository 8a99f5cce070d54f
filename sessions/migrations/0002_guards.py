"""What must hold whatever the code does: nobody approves for their own agent, and what was decided on never changes."""

from django.conf import settings
from django.db import migrations

# The CHECK on agent_sessions_approval compares two columns; this makes the second one true.
OWN = """
CREATE FUNCTION agent_sessions_approval_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    truly uuid;
BEGIN
    SELECT person_id INTO STRICT truly FROM agent_sessions_agentsession WHERE id = NEW.agent_session_id;
    IF NEW.on_behalf_of_id <> truly THEN
        RAISE EXCEPTION 'the approval names another person than its session' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER agent_sessions_approval_own BEFORE INSERT ON agent_sessions_approval
    FOR EACH ROW EXECUTE FUNCTION agent_sessions_approval_guard();
"""

UNOWN = """
DROP TRIGGER agent_sessions_approval_own ON agent_sessions_approval;
DROP FUNCTION agent_sessions_approval_guard();
"""

# A session keeps its person, agent and version, and its tombstone, for good.
TOMBSTONE = """
CREATE FUNCTION agent_sessions_run_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.killed_at IS NOT NULL AND (NEW.killed_at IS DISTINCT FROM OLD.killed_at OR NEW.state <> 'ended') THEN
        RAISE EXCEPTION 'a killed session stays killed' USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.person_id, NEW.agent_id, NEW.team_id, NEW.profile_version_id)
        IS DISTINCT FROM (OLD.person_id, OLD.agent_id, OLD.team_id, OLD.profile_version_id)
    THEN
        RAISE EXCEPTION 'whose session it is never changes' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER agent_sessions_run_tombstone BEFORE UPDATE ON agent_sessions_agentsession
    FOR EACH ROW EXECUTE FUNCTION agent_sessions_run_guard();
"""

UNTOMBSTONE = """
DROP TRIGGER agent_sessions_run_tombstone ON agent_sessions_agentsession;
DROP FUNCTION agent_sessions_run_guard();
"""

WRITTEN_ONCE = ("agent_sessions_grant", "agent_sessions_approval", "agent_sessions_transition")
NEVER_DELETED = (
    "agent_sessions_agentsession",
    "agent_sessions_credential",
    "agent_sessions_revocation",
    "agent_sessions_revocationstep",
    "agent_sessions_profileversion",
    "agent_sessions_agentkey",
    "agent_sessions_membership",
)


def restrict(apps, schema_editor):
    role = schema_editor.quote_name(settings.DATABASE_APP_ROLE)
    for table in WRITTEN_ONCE:
        schema_editor.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {role}")
    for table in NEVER_DELETED:
        schema_editor.execute(f"REVOKE DELETE, TRUNCATE ON {table} FROM {role}")


class Migration(migrations.Migration):
    dependencies = [("agent_sessions", "0001_initial")]

    operations = [
        migrations.RunSQL(OWN, UNOWN),
        migrations.RunSQL(TOMBSTONE, UNTOMBSTONE),
        migrations.RunPython(restrict, migrations.RunPython.noop),
    ]
