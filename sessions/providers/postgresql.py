"""What may be asked of a PostgreSQL database, in three forms: JSON, plain words, SQL. Nothing here talks to anybody.

An authorization_details object (RFC 9396 section 2) of this type is:

    {"type": "postgresql",
     "locations": ["postgresql://warehouse/public.orders"],     one target; schema.table
     "actions": ["read", "write", "delete"],
     "limits": {"connections": 4}}                              may be left out
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sessions.providers.contract import CredentialError, Details
from sessions.providers.wording import listed, shown

TYPE = "postgresql"
FIELDS = {"type", "locations", "actions", "limits"}
# Exactly these and nothing implied: an UPDATE with a WHERE clause needs "read" as well.
PRIVILEGES = {"read": ("SELECT",), "write": ("INSERT", "UPDATE"), "delete": ("DELETE",)}
VERBS = {"read": "Read", "write": "Add and change", "delete": "Delete"}
MOST_LOCATIONS = 50
MOST_CONNECTIONS = 20
DEFAULT_CONNECTIONS = 4

# Lower case only, so that what is shown, what is quoted and what PostgreSQL looks up are one spelling.
IDENTIFIER = r"[a-z_][a-z0-9_]{0,62}"
LOCATION = re.compile(rf"postgresql://([a-z][a-z0-9_-]{{0,50}})/({IDENTIFIER})\.({IDENTIFIER})", re.ASCII)
RESERVED_SCHEMAS = {"information_schema", "drawbridge"}


@dataclass(frozen=True, order=True)
class Table:
    schema: str
    name: str

    def __str__(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        return f'"{self.schema}"."{self.name}"'


@dataclass(frozen=True)
class Access:
    """One object, checked."""

    target: str
    tables: tuple[Table, ...]
    actions: tuple[str, ...]
    connections: int

    @classmethod
    def of(cls, details: Details, targets: Collection[str]) -> "Access":
        """Raises CredentialError(permanent=True, untouched=True) where the object has problems."""
        for problem in problems(details, targets):
            raise CredentialError(problem, permanent=True, untouched=True)
        places = [_split(location) for location in details["locations"]]
        return cls(
            target=places[0][0],
            tables=tuple(table for _, table in places),
            actions=tuple(action for action in PRIVILEGES if action in details["actions"]),
            connections=details.get("limits", {}).get("connections", DEFAULT_CONNECTIONS),
        )


def target_of(details: Details) -> str:
    """The target of an object that was sound when it was granted."""
    return _split(details["locations"][0])[0]


def problems(details: Details, targets: Collection[str]) -> Iterator[str]:
    """What is wrong with an untrusted object, in sentences; nothing if it can be granted."""
    for name in sorted(set(details) - FIELDS, key=str):
        yield f"A {TYPE} object has no field {shown(name)}."
    yield from _location_problems(details.get("locations"), targets)
    yield from _action_problems(details.get("actions"))
    yield from _limit_problems(details.get("limits", {}))


def _location_problems(locations: object, targets: Collection[str]) -> Iterator[str]:
    if not isinstance(locations, list) or not 1 <= len(locations) <= MOST_LOCATIONS:
        yield f"locations must be a list of 1 to {MOST_LOCATIONS} tables."
        return
    sound = [location for location in locations if _is_location(location)]
    for location in locations:
        if location not in sound:
            yield f"{shown(location)} is not a table: write postgresql://target/schema.table in lower case."
    if len(set(sound)) < len(sound):
        yield "locations names a table twice."
    named = sorted({_split(location)[0] for location in sound})
    for target in named:
        if target not in targets:
            yield f"There is no database {shown(target)} here."
    if len(named) > 1:
        yield f"One object speaks of one database, not of {' and '.join(named)}: write one object for each."
    for table in sorted({_split(location)[1] for location in sound}):
        if table.schema in RESERVED_SCHEMAS or table.schema.startswith("pg_"):
            yield f"The schema {table.schema} belongs to the database itself and is never granted."


def _action_problems(actions: object) -> Iterator[str]:
    if not isinstance(actions, list) or not actions:
        yield f"actions must be a list of one or more of {', '.join(PRIVILEGES)}."
        return
    for action in actions:
        if not isinstance(action, str) or action not in PRIVILEGES:
            yield f"{shown(action)} is not an action: use {', '.join(PRIVILEGES)}."
    if any(actions.count(action) > 1 for action in PRIVILEGES):
        yield "actions names an action twice."


def _limit_problems(limits: object) -> Iterator[str]:
    if not isinstance(limits, dict):
        yield 'limits must be an object such as {"connections": 4}.'
        return
    for name in sorted(set(limits) - {"connections"}, key=str):
        yield f"There is no limit {shown(name)}."
    connections = limits.get("connections", DEFAULT_CONNECTIONS)
    if type(connections) is not int or not 1 <= connections <= MOST_CONNECTIONS:
        yield f"limits.connections must be a whole number from 1 to {MOST_CONNECTIONS}."


def sentences(access: Access) -> Iterator[str]:
    """What the object allows, in plain words for the one who decides."""
    tables = listed([str(table) for table in access.tables])
    for action in access.actions:
        yield f"{VERBS[action]} rows of {tables} in the database {access.target}."
    plural = "connection" if access.connections == 1 else "connections"
    yield f"At most {access.connections} {plural} at once."


def creation_statements(accesses: Sequence[Access], dbname: str) -> list[str]:
    """SQL for OpenBao's database engine, which fills in {{name}}, {{password}} and {{expiration}}.

    One role has the union of the objects' tables and the smallest of their connection limits.
    """
    connections = min(access.connections for access in accesses)
    granted = _granted(accesses)
    schemas = sorted({table.schema for table in granted})
    return [
        'CREATE ROLE "{{name}}" LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS '
        f"CONNECTION LIMIT {connections} PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}'",
        "ALTER ROLE \"{{name}}\" SET idle_in_transaction_session_timeout = '60s'",
        f'GRANT CONNECT ON DATABASE "{dbname}" TO "{{{{name}}}}"',
        f'GRANT USAGE ON SCHEMA {", ".join(_quoted(schema) for schema in schemas)} TO "{{{{name}}}}"',
        *_table_grants(granted),
    ]


def _granted(accesses: Sequence[Access]) -> Mapping[Table, frozenset[str]]:
    granted: dict[Table, frozenset[str]] = {}
    for access in accesses:
        privileges = {privilege for action in access.actions for privilege in PRIVILEGES[action]}
        for table in access.tables:
            granted[table] = granted.get(table, frozenset()) | privileges
    return granted


def _table_grants(granted: Mapping[Table, frozenset[str]]) -> Iterator[str]:
    """One statement for all tables that have the same privileges."""
    for privileges in sorted({tuple(sorted(each)) for each in granted.values()}):
        tables = sorted(table for table, each in granted.items() if each == set(privileges))
        yield f'GRANT {", ".join(privileges)} ON {", ".join(table.sql for table in tables)} TO "{{{{name}}}}"'


# A role that owns something (a large object, default privileges of its own) cannot be dropped, and OpenBao would fail
# for ever on a role that is gone already. A session that will not end keeps its role, so the failure stays visible.
REVOCATION_STATEMENTS = [
    """DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{{name}}') THEN
        ALTER ROLE "{{name}}" NOLOGIN;
        PERFORM pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = '{{name}}';
        PERFORM pg_stat_clear_snapshot();
        IF EXISTS (SELECT FROM pg_stat_activity WHERE usename = '{{name}}') THEN
            RAISE EXCEPTION 'a session of this role does not end';
        END IF;
        DROP OWNED BY "{{name}}";
        DROP ROLE "{{name}}";
    END IF;
END $$""",
]


def _is_location(location: object) -> bool:
    return isinstance(location, str) and LOCATION.fullmatch(location) is not None


def _split(location: str) -> tuple[str, Table]:
    match = LOCATION.fullmatch(location)
    if match is None:
        raise ValueError("not a location")
    return match[1], Table(match[2], match[3])


def _quoted(identifier: str) -> str:
    return f'"{identifier}"'
