"""What may be asked of a Kubernetes cluster, in three forms: JSON, plain words, rules of a Role (RBAC).

    {"type": "kubernetes",
     "locations": ["kubernetes:prod/shop/pods", "kubernetes:prod/shop/deployments.apps"],
     "actions": ["get", "list"]}

A location is a place, a namespace, and a resource as kubectl writes it, with its group: `pods/log`, `jobs.batch`.
Actions are Kubernetes' own verbs. Nothing is a wildcard, and what makes keys that outlive this one cannot be granted.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sessions.providers.contract import Details, Json
from sessions.providers.wording import listed, shown

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
LOCATION = re.compile(
    rf"kubernetes:(?P<place>[a-z][a-z0-9_-]{{0,50}})/(?P<what>{_LABEL})"
    rf"/(?P<resource>[a-z][a-z0-9]{{0,62}})(?:\.(?P<group>{_LABEL}(?:\.{_LABEL}){{0,9}}))?(?:/(?P<part>[a-z]{{1,40}}))?",
    re.ASCII,
)
ACTIONS = {
    "get": "Read",
    "list": "List, with all that is in them,",
    "watch": "Follow, with all that is in them,",
    "create": "Make new",
    "update": "Replace",
    "patch": "Change",
    "delete": "Delete",
}
READING = frozenset({"get", "list", "watch"})
WRITING = frozenset({"create", "update", "patch"})
RBAC = "rbac.authorization.k8s.io"
# What starts programs where it is written.
WORKLOADS = frozenset(
    {
        *("pods", "pods/ephemeralcontainers", "replicationcontrollers", "daemonsets.apps", "deployments.apps"),
        *("replicasets.apps", "statefulsets.apps", "cronjobs.batch", "jobs.batch"),
    }
)
# What is a way into pods, whatever the verb.
INSIDE = frozenset({"pods/attach", "pods/exec"})
PORTS = frozenset({"pods/portforward", "pods/proxy", "services/proxy"})
# What the API server lets flow on once it was let in.
STREAMS = INSIDE | PORTS | {"pods/log"}
# Groups of Kubernetes itself that have resources in namespaces.
OWN_GROUPS = frozenset(
    {
        *("", "apps", "authorization.k8s.io", "autoscaling", "batch", "coordination.k8s.io", "discovery.k8s.io"),
        *("events.k8s.io", "networking.k8s.io", "policy", RBAC, "resource.k8s.io", "storage.k8s.io"),
    }
)


class Resource(NamedTuple):
    """`name` has the part after the slash, as rules write it; `text` the group too, as people do."""

    group: str
    name: str
    text: str


def resource(location: str) -> Resource:
    match = _match(location)
    group, part = match["group"] or "", f"/{match['part']}" if match["part"] else ""
    return Resource(group, match["resource"] + part, match["resource"] + (f".{group}" if group else "") + part)


def resources(details: Details) -> list[Resource]:
    return sorted({resource(location) for location in details["locations"]})


def namespace(location: str) -> tuple[str, str]:
    """The place and the namespace."""
    match = _match(location)
    return match["place"], match["what"]


def lasting_problems(details: Details) -> Iterator[str]:
    """Of an object that is sound otherwise: what would make keys or rights that a kill does not end."""
    if len({namespace(location) for location in details["locations"]}) > 1:
        yield "One object speaks of one namespace: write one object for each."
    actions = set(details["actions"])
    for each in resources(details):
        if each.name == "serviceaccounts/token":
            yield f"{each.text} cannot be granted: it makes tokens of other accounts."
        elif each.group == RBAC and actions - READING:
            yield f"{each.text} can only be read: changing it gives rights that a kill does not end."
        elif each == Resource("", "secrets", "secrets") and actions & WRITING:
            yield "secrets can be read and deleted, not written: Kubernetes makes lasting tokens out of them."


def sentences(details: Details) -> Iterator[str]:
    place, where = namespace(details["locations"][0])
    names = listed([each.text for each in resources(details)])
    for action in (action for action in ACTIONS if action in details["actions"]):
        yield f"{ACTIONS[action]} {names} in the namespace {where} of {place} (Kubernetes)."
    yield from _warnings(details)


def _warnings(details: Details) -> Iterator[str]:
    actions = set(details["actions"])
    found = {each.text for each in resources(details)}
    if found & INSIDE or (found & WORKLOADS and actions & WRITING):
        yield "This runs programs there, as any account of the namespace; a kill does not end them."
    if found & PORTS:
        yield "This reaches what listens in pods, past the gateways' rules."
    if "secrets" in found and actions & READING:
        yield "Keys that are read there stay known after a kill."
    foreign = sorted(each.text for each in resources(details) if each.group not in OWN_GROUPS)
    if foreign and actions - READING:
        yield f"What a change of {shown(listed(foreign))} sets off is not known here: Kubernetes itself has none."


def streams(details: Sequence[Details]) -> bool:
    """Whether something that is open may go on after the token is dead."""
    return any("watch" in each["actions"] or {one.text for one in resources(each)} & STREAMS for each in details)


def rules(details: Sequence[Details]) -> list[Json]:
    """One for each group of each object: what two objects allow is never mixed."""
    found: list[Json] = []
    for each in details:
        verbs = [action for action in ACTIONS if action in each["actions"]]
        for group in sorted({one.group for one in resources(each)}):
            names = [one.name for one in resources(each) if one.group == group]
            found.append({"apiGroups": [group], "resources": names, "verbs": verbs})
    return found


def _match(location: str) -> re.Match[str]:
    match = LOCATION.fullmatch(location)
    assert match is not None, "it was sound when it was granted"
    return match
