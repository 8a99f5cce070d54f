"""What was approved is frozen in each credential, versions are frozen once written, and nothing is ever deleted."""

from django.conf import settings
from django.db import migrations

FREEZE = """
CREATE FUNCTION agent_sessions_credential_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.agent_session_id, NEW.provider, NEW.slot, NEW.generation, NEW.details, NEW.grant_hash, NEW.ttl_s)
        IS DISTINCT FROM
        (OLD.agent_session_id, OLD.provider, OLD.slot, OLD.generation, OLD.details, OLD.grant_hash, OLD.ttl_s)
    THEN
        RAISE EXCEPTION 'what a credential may open never changes' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER agent_sessions_credential_frozen BEFORE UPDATE ON agent_sessions_credential
    FOR EACH ROW EXECUTE FUNCTION agent_sessions_credential_guard();

CREATE FUNCTION agent_sessions_version_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.profile_id, NEW.number, NEW.body, NEW.proposed_by_id)
        IS DISTINCT FROM (OLD.profile_id, OLD.number, OLD.body, OLD.proposed_by_id) OR OLD.published_at IS NOT NULL
    THEN
        RAISE EXCEPTION 'a profile version never changes' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER agent_sessions_version_frozen BEFORE UPDATE ON agent_sessions_profileversion
    FOR EACH ROW EXECUTE FUNCTION agent_sessions_version_guard();
"""

UNFREEZE = """
DROP TRIGGER agent_sessions_version_frozen ON agent_sessions_profileversion;
DROP FUNCTION agent_sessions_version_guard();
DROP TRIGGER agent_sessions_credential_frozen ON agent_sessions_credential;
DROP FUNCTION agent_sessions_credential_guard();
"""

NEVER_DELETED = (
    "agent_sessions_agent",
    "agent_sessions_person",
    "agent_sessions_profile",
    "agent_sessions_team",
    "audit_stream",
)


def restrict(apps, schema_editor):
    role = schema_editor.quote_name(settings.DATABASE_APP_ROLE)
    for table in NEVER_DELETED:
        schema_editor.execute(f"REVOKE DELETE, TRUNCATE ON {table} FROM {role}")
    # Evidence is written once; only whether a step still counts may change, when a credential came late.
    schema_editor.execute(f"REVOKE UPDATE ON agent_sessions_revocationstep FROM {role}")
    schema_editor.execute(f"GRANT UPDATE (done) ON agent_sessions_revocationstep TO {role}")


class Migration(migrations.Migration):
    dependencies = [("agent_sessions", "0002_guards"), ("audit", "0002_append_only")]

    operations = [
        migrations.RunSQL(FREEZE, UNFREEZE),
        migrations.RunPython(restrict, migrations.RunPython.noop),
    ]
