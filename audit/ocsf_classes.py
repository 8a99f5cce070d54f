"""Which class and activity of OCSF each kind of event is. Imports no Django.

The numbers are those of https://schema.ocsf.io/1.6.0, and mean the same in later versions of 1.x.
"""

from dataclasses import dataclass

INFORMATIONAL, LOW, MEDIUM, HIGH, CRITICAL = 1, 2, 3, 4, 5
OTHER = 99


@dataclass(frozen=True)
class Class:
    """An event class: its category is the number before its last three digits. `activities` are those used here.

    Who did it belongs to some classes only by the profile "host".
    """

    uid: int
    name: str
    category: str
    activities: dict[int, str]
    actor_by_profile: bool = False

    @property
    def category_uid(self) -> int:
        return self.uid // 1000


@dataclass(frozen=True)
class Mapped:
    """`severity` is of a success; what failed or was denied has its own. `activity` 99 is named after the kind."""

    of: Class
    activity: int = OTHER
    severity: int = INFORMATIONAL


IAM, SYSTEM = "Identity & Access Management", "System Activity"
NETWORK, APPLICATION = "Network Activity", "Application Activity"
CRUD = {1: "Create", 2: "Read", 3: "Update", 4: "Delete"}
FILE = Class(1001, "File System Activity", SYSTEM, {**CRUD, 5: "Rename"})
PROCESS = Class(1007, "Process Activity", SYSTEM, {1: "Launch", 2: "Terminate"})
FINDING = Class(2004, "Detection Finding", "Findings", {1: "Create", 2: "Update", 3: "Close"}, True)
ACCOUNT = Class(3001, "Account Change", IAM, {1: "Create", 2: "Enable", 5: "Disable", 6: "Delete"})
AUTHENTICATION = Class(3002, "Authentication", IAM, {1: "Logon", 2: "Logoff", 3: "Authentication Ticket"})
ACCESS = Class(3005, "User Access Management", IAM, {1: "Assign Privileges", 2: "Revoke Privileges"})
GROUP = Class(3006, "Group Management", IAM, {3: "Add User", 4: "Remove User", 6: "Create"})
CONNECTION = Class(
    4001, "Network Activity", NETWORK, {1: "Open", 2: "Close", 4: "Fail", 5: "Refuse", 6: "Traffic"}, True
)
HTTP = Class(
    4002,
    "HTTP Activity",
    NETWORK,
    {1: "Connect", 2: "Delete", 3: "Get", 4: "Head", 5: "Options", 6: "Post", 7: "Put", 8: "Trace", 9: "Patch"},
    True,
)
API = Class(6003, "API Activity", APPLICATION, CRUD)
DATASTORE = Class(6005, "Datastore Activity", APPLICATION, {3: "Connect", 4: "Query"})

KINDS = {
    "session.requested": Mapped(API, 1),
    "session.approved": Mapped(ACCESS, 1),
    "session.resumed": Mapped(ACCESS, 1),
    "session.active": Mapped(AUTHENTICATION, 1),
    "session.token_issued": Mapped(AUTHENTICATION, 3),
    "session.suspended": Mapped(ACCESS, 2, MEDIUM),
    "session.completed": Mapped(ACCESS, 2),
    "session.expired": Mapped(ACCESS, 2),
    "session.failed": Mapped(ACCESS, 2, LOW),
    "session.killed": Mapped(ACCESS, 2, HIGH),
    "session.finding": Mapped(FINDING, 1, HIGH),
    "credential.issued": Mapped(ACCOUNT, 1),
    "credential.delivered": Mapped(AUTHENTICATION, 3),
    "credential.revoked": Mapped(ACCOUNT, 5),
    "credential.unprovable": Mapped(ACCOUNT, 5),
    "credential.proven": Mapped(ACCOUNT, 6),
    "credential.late": Mapped(ACCOUNT, severity=MEDIUM),
    "credential.expired_unrevoked": Mapped(ACCOUNT, severity=HIGH),
    "agent.registered": Mapped(ACCOUNT, 1),
    "person.added": Mapped(ACCOUNT, 1),
    "person.erased": Mapped(ACCOUNT, 6),
    "person.role_granted": Mapped(ACCESS, 1),
    "person.role_ended": Mapped(ACCESS, 2),
    "person.signed_in": Mapped(AUTHENTICATION, 1),
    "person.signed_out": Mapped(AUTHENTICATION, 2),
    "team.created": Mapped(GROUP, 6),
    "profile.created": Mapped(API, 1),
    "profile.version_proposed": Mapped(API, 1),
    "profile.version_published": Mapped(API, 3),
    "log.read": Mapped(API, 2),
    "log.exported": Mapped(API, 2, LOW),
    "log.export_downloaded": Mapped(API, 2, LOW),
    "log.pruned": Mapped(API, 4),
    "log.archived": Mapped(API, 1),
    "log.archive_drifted": Mapped(FINDING, 1, CRITICAL),
    "process.started": Mapped(PROCESS, 1),
    "process.ended": Mapped(PROCESS, 2),
    "file.created": Mapped(FILE, 1),
    "file.read": Mapped(FILE, 2),
    "file.changed": Mapped(FILE, 3),
    "file.deleted": Mapped(FILE, 4),
    "file.renamed": Mapped(FILE, 5),
    "gateway.holds": Mapped(AUTHENTICATION, 3),
    "gateway.cut": Mapped(CONNECTION, 2),
    "gateway.retired": Mapped(ACCOUNT, 5),
    "gateway.added": Mapped(ACCOUNT, 1),
    "egress.opened": Mapped(CONNECTION, 1),
    "egress.closed": Mapped(CONNECTION, 2),
    "egress.denied": Mapped(CONNECTION, 5, MEDIUM),
    "db.connected": Mapped(AUTHENTICATION, 1),
    "db.login": Mapped(AUTHENTICATION, 1),
    "db.statement": Mapped(DATASTORE, 4),
}
# By the first word of a kind, for those that are not named above.
FAMILIES = {
    "credential": Mapped(ACCOUNT),
    "db": Mapped(DATASTORE),
    "egress": Mapped(CONNECTION),
    "file": Mapped(FILE),
    "finding": Mapped(FINDING, 1, HIGH),
    "http": Mapped(HTTP),
    "network": Mapped(CONNECTION),
    "person": Mapped(ACCOUNT),
    "process": Mapped(PROCESS),
}
REST = Mapped(API)


def mapped(kind: str) -> Mapped:
    return KINDS.get(kind) or FAMILIES.get(kind.partition(".")[0], REST)
