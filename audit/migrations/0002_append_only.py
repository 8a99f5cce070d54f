"""Events are only ever added: the application's role may not change them, and a trigger refuses it to everybody else.

A superuser can switch a trigger off; what catches that is the signed checkpoint outside the database.
"""

from django.conf import settings
from django.db import migrations

GUARD = """
CREATE FUNCTION audit_event_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.leaf_index IS NULL AND NEW.leaf_index IS NOT NULL
        AND (OLD.id, OLD.stream, OLD.seq, OLD.kind, OLD.outcome, OLD.occurred_at, OLD.recorded_at, OLD.body)
            = (NEW.id, NEW.stream, NEW.seq, NEW.kind, NEW.outcome, NEW.occurred_at, NEW.recorded_at, NEW.body)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the log is append-only: % of audit_event is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_event_immutable BEFORE UPDATE OR DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_event_guard();
CREATE TRIGGER audit_event_no_truncate BEFORE TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_event_guard();
"""

UNGUARD = """
DROP TRIGGER audit_event_immutable ON audit_event;
DROP TRIGGER audit_event_no_truncate ON audit_event;
DROP FUNCTION audit_event_guard();
"""


def restrict(apps, schema_editor):
    role = schema_editor.quote_name(settings.DATABASE_APP_ROLE)
    schema_editor.execute(f"REVOKE ALL ON audit_event FROM {role}")
    schema_editor.execute(f"GRANT SELECT, INSERT ON audit_event TO {role}")


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.RunSQL(GUARD, UNGUARD),
        migrations.RunPython(restrict, migrations.RunPython.noop),
    ]
