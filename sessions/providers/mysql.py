"""MariaDB through OpenBao's database engine: a user for each credential.

{"type": "mysql", "locations": ["mysql://shop/shop.orders"], "actions": ["read", "write", "delete"]}
"""

import re
from collections.abc import Iterator

import pymysql

from sessions.providers.contract import CredentialError, Details, Intent, Json
from sessions.providers.database import Database
from sessions.providers.places import Place
from sessions.providers.wording import listed

PRIVILEGES = {"read": ("SELECT",), "write": ("INSERT", "UPDATE"), "delete": ("DELETE",)}
CONNECTIONS = 4
# OpenBao's connection must have username_template {{.RoleName | truncate 32}}: MySQL allows no longer name.
TIMEOUT_S = 5
# Access denied, and an account that is locked (MySQL, MariaDB).
REFUSED = {1045, 3118, 4151}
# Dropping a user ends no connection of theirs. KILL USER is MariaDB's.
REVOCATION = [
    "ALTER USER IF EXISTS '{{name}}'@'%' ACCOUNT LOCK",
    "KILL USER '{{name}}'",
    "DROP USER IF EXISTS '{{name}}'@'%'",
]


class MySql(Database):
    kind = engine = "mysql"
    who = "the database"
    location = re.compile(
        r"mysql://(?P<place>[a-z][a-z0-9_-]{0,50})/(?P<what>[a-z0-9_]{1,60}\.[a-z0-9_]{1,60})", re.ASCII
    )
    example = "mysql://place/database.table"
    actions = {"read": "Read", "write": "Add and change", "delete": "Delete"}

    def sentences(self, details: Details) -> Iterator[str]:
        tables = listed(self.wanted([details]))
        for action in (action for action in self.actions if action in details["actions"]):
            yield f"{self.actions[action]} rows of {tables} in {self._name([details])} (MariaDB)."
        yield f"At most {CONNECTIONS} connections at once."

    def role(self, intent: Intent, place: Place) -> Json:
        create = (
            f"CREATE USER '{{{{name}}}}'@'%' IDENTIFIED BY '{{{{password}}}}' WITH MAX_USER_CONNECTIONS {CONNECTIONS}"
        )
        granted: dict[str, set[str]] = {}
        for each in intent.details:
            privileges = {one for action in each["actions"] for one in PRIVILEGES[action]}
            for table in self.wanted([each]):
                granted.setdefault(table, set()).update(privileges)
        grants = [
            f"GRANT {', '.join(sorted(privileges))} ON `{table.replace('.', '`.`')}` TO '{{{{name}}}}'@'%'"
            for table, privileges in sorted(granted.items())
        ]
        return self.leased(intent, place, [create, *grants], revocation_statements=REVOCATION)

    def refusal(self, place: Place, user: str, password: str) -> str:
        try:
            pymysql.connect(
                host=place.host,
                port=place.port,
                user=user,
                password=password,
                connect_timeout=TIMEOUT_S,
                read_timeout=TIMEOUT_S,
            ).close()
        except pymysql.err.MySQLError as error:
            code = error.args[0] if error.args else 0
            if code in REFUSED:
                return f"error {code}"
            raise CredentialError(f"The database did not judge the log-in (error {code}).", silent=True) from None
        return ""
