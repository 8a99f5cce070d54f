"""Grants for PostgreSQL: what is accepted, how it reads, which SQL it becomes. Pure tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.providers.contract import CredentialError
from sessions.providers.postgresql import Access, Table, creation_statements, problems, sentences

TARGETS = {"warehouse", "archive"}
ORDERS = "postgresql://warehouse/public.orders"
NOT_A_TABLE = "is not a table: write postgresql://target/schema.table in lower case."
SOUND = {"type": "postgresql", "locations": [ORDERS], "actions": ["read"]}
HOSTILE = [
    'orders"; DROP ROLE admin; --',
    "orders TO PUBLIC",
    "orders;",
    "orders\x00",
    "orders\n",
    "orders\r\nGRANT",
    "{{name}}",
    "orders'",
    "Orders",
    "1orders",
    "ordérs",
    "оrders",
    "orders\u202e",
    "orders\u200b",
    "o" * 64,
    "",
    "*",
    "orders.id",
    "$$",
    "/*",
]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"limits": {}},
        {"limits": {"connections": 1}},
        {"limits": {"connections": 20}},
        {"actions": ["delete", "read", "write"]},
        {"locations": [ORDERS, "postgresql://warehouse/sales.orders_2026"]},
        {"locations": ["postgresql://warehouse/_s." + "t" * 63]},
    ],
)
def test_sound_objects_have_no_problems(changed):
    assert list(problems({**SOUND, **changed}, TARGETS)) == []


@pytest.mark.parametrize("table", HOSTILE)
@pytest.mark.parametrize("place", ["postgresql://warehouse/public.{}", "postgresql://warehouse/{}.orders"])
def test_hostile_identifiers_are_refused_and_shown_harmlessly(table, place):
    (problem,) = problems({**SOUND, "locations": [place.replace("{}", table)]}, TARGETS)
    assert problem.endswith(NOT_A_TABLE)
    assert problem.isascii()
    assert problem.isprintable()
    assert len(problem) < 220


@pytest.mark.parametrize(
    "location",
    [
        "postgresql://warehouse",
        "postgresql://warehouse/orders",
        "postgresql://user:password@warehouse/public.orders",
        "postgresql://warehouse:5432/public.orders",
        "postgresql://warehouse/public.orders?sslmode=disable",
        "postgres://warehouse/public.orders",
        " postgresql://warehouse/public.orders",
        "postgresql://ware house/public.orders",
        7,
        None,
        ["postgresql://warehouse/public.orders"],
        {"postgresql": "warehouse"},
    ],
)
def test_other_locations_are_refused(location):
    (problem,) = problems({**SOUND, "locations": [location]}, TARGETS)
    assert problem.endswith(NOT_A_TABLE)


LOCATIONS = "locations must be a list of 1 to 50 tables."
ACTIONS = "actions must be a list of one or more of read, write, delete."
CONNECTIONS = "limits.connections must be a whole number from 1 to 20."


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"locations": []}, [LOCATIONS]),
        ({"locations": ORDERS}, [LOCATIONS]),
        ({"locations": None}, [LOCATIONS]),
        ({"locations": [ORDERS] * 51}, [LOCATIONS]),
        ({"locations": [ORDERS, ORDERS]}, ["locations names a table twice."]),
        ({"locations": ["postgresql://nowhere/public.orders"]}, ["There is no database 'nowhere' here."]),
        (
            {"locations": [ORDERS, "postgresql://archive/public.orders"]},
            ["One object speaks of one database, not of archive and warehouse: write one object for each."],
        ),
        (
            {"locations": ["postgresql://warehouse/pg_catalog.pg_authid"]},
            ["The schema pg_catalog belongs to the database itself and is never granted."],
        ),
        (
            {"locations": ["postgresql://warehouse/information_schema.tables"]},
            ["The schema information_schema belongs to the database itself and is never granted."],
        ),
        (
            {"locations": ["postgresql://warehouse/drawbridge.cuts"]},
            ["The schema drawbridge belongs to the database itself and is never granted."],
        ),
        ({"actions": []}, [ACTIONS]),
        ({"actions": "read"}, [ACTIONS]),
        ({"actions": None}, [ACTIONS]),
        ({"actions": ["admin"]}, ["'admin' is not an action: use read, write, delete."]),
        ({"actions": ["READ"]}, ["'READ' is not an action: use read, write, delete."]),
        ({"actions": [["read"]]}, ["['read'] is not an action: use read, write, delete."]),
        ({"actions": ["read", "read"]}, ["actions names an action twice."]),
        ({"limits": []}, ['limits must be an object such as {"connections": 4}.']),
        ({"limits": None}, ['limits must be an object such as {"connections": 4}.']),
        ({"limits": {"rows": 5}}, ["There is no limit 'rows'."]),
        ({"limits": {"connections": 0}}, [CONNECTIONS]),
        ({"limits": {"connections": 21}}, [CONNECTIONS]),
        ({"limits": {"connections": -1}}, [CONNECTIONS]),
        ({"limits": {"connections": True}}, [CONNECTIONS]),
        ({"limits": {"connections": 4.0}}, [CONNECTIONS]),
        ({"limits": {"connections": "4"}}, [CONNECTIONS]),
        ({"limits": {"connections": None}}, [CONNECTIONS]),
        ({"privileges": ["SUPERUSER"]}, ["A postgresql object has no field 'privileges'."]),
    ],
)
def test_problems_are_named(changed, found):
    assert list(problems({**SOUND, **changed}, TARGETS)) == found


@given(st.dictionaries(st.sampled_from(["locations", "actions", "limits", "x"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([ORDERS, "read", "", "x", "\x00"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["connections", "y"]), inner),
)))  # fmt: skip
def test_any_json_gets_an_answer_and_only_sound_json_an_access(fields):
    details = {"type": "postgresql", **fields}
    if list(problems(details, TARGETS)):
        with pytest.raises(CredentialError):
            Access.of(details, TARGETS)
    else:
        assert Access.of(details, TARGETS).target == "warehouse"


def access(**changed):
    return Access.of({**SOUND, **changed}, TARGETS)


@pytest.mark.parametrize(
    ("changed", "read"),
    [
        ({}, ["Read rows of orders in the database warehouse.", "At most 4 connections at once."]),
        (
            {"actions": ["delete", "write"], "limits": {"connections": 1}},
            [
                "Add and change rows of orders in the database warehouse.",
                "Delete rows of orders in the database warehouse.",
                "At most 1 connection at once.",
            ],
        ),
        (
            {"locations": [ORDERS, "postgresql://warehouse/public.items", "postgresql://warehouse/sales.orders"]},
            [
                "Read rows of orders, items and sales.orders in the database warehouse.",
                "At most 4 connections at once.",
            ],
        ),
    ],
)
def test_sentences_say_what_is_granted(changed, read):
    assert list(sentences(access(**changed))) == read


def grants(*accesses):
    return [line for line in creation_statements(accesses, "shop") if ' ON "' in line]


@pytest.mark.parametrize(
    ("actions", "privileges"),
    [
        (["read"], "SELECT"),
        (["write"], "INSERT, UPDATE"),
        (["delete"], "DELETE"),
        (["read", "write", "delete"], "DELETE, INSERT, SELECT, UPDATE"),
    ],
)
def test_actions_become_exactly_their_privileges(actions, privileges):
    assert grants(access(actions=actions)) == [f'GRANT {privileges} ON "public"."orders" TO "{{{{name}}}}"']


def test_objects_are_united_table_by_table():
    items = "postgresql://warehouse/sales.items"
    assert grants(access(locations=[ORDERS, items]), access(locations=[ORDERS], actions=["write"])) == [
        'GRANT INSERT, SELECT, UPDATE ON "public"."orders" TO "{{name}}"',
        'GRANT SELECT ON "sales"."items" TO "{{name}}"',
    ]


def test_role_has_the_smallest_limit_and_nothing_by_inheritance():
    statements = creation_statements([access(limits={"connections": 7}), access(limits={"connections": 3})], "shop")
    assert statements[0] == (
        'CREATE ROLE "{{name}}" LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS '
        "CONNECTION LIMIT 3 PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
    )
    assert 'GRANT CONNECT ON DATABASE "shop" TO "{{name}}"' in statements
    assert 'GRANT USAGE ON SCHEMA "public" TO "{{name}}"' in statements


def test_no_statement_can_be_split_in_two():
    assert not [statement for statement in creation_statements([access()], "shop") if ";" in statement]


def test_tables_read_short_in_public_and_long_elsewhere():
    assert (str(Table("public", "orders")), str(Table("sales", "orders"))) == ("orders", "sales.orders")
