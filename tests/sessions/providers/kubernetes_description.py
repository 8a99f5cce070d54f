"""What the official client of Kubernetes declares, which is made from Kubernetes' own OpenAPI description."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kubernetes.client.api.apps_v1_api import AppsV1Api
from kubernetes.client.api.authentication_v1_api import AuthenticationV1Api
from kubernetes.client.api.core_v1_api import CoreV1Api
from kubernetes.client.api.rbac_authorization_v1_api import RbacAuthorizationV1Api
from pydantic import BaseModel

# In the official client's words; the verb is RBAC's (its "replace" is RBAC's update, "read" is get).
VERBS = {"create": "create", "delete": "delete", "list": "list", "read": "get", "replace": "update", "patch": "patch"}
KNOWN: Mapping[type, tuple[str, ...]] = {
    CoreV1Api: (
        *("create_namespaced_service_account", "create_namespaced_service_account_token"),
        *("delete_namespaced_service_account", "list_namespaced_pod", "read_namespaced_pod", "delete_namespaced_pod"),
        *("read_namespaced_pod_log", "list_namespaced_secret", "create_namespaced_config_map"),
    ),
    RbacAuthorizationV1Api: (
        *("create_namespaced_role", "create_namespaced_role_binding"),
        *("delete_namespaced_role", "delete_namespaced_role_binding"),
    ),
    AppsV1Api: ("list_namespaced_deployment", "replace_namespaced_deployment"),
    AuthenticationV1Api: ("create_self_subject_review",),
}


@dataclass(frozen=True)
class Operation:
    """One operation of the API, as the official client declares it."""

    name: str
    method: str
    path: re.Pattern[str]
    resource: tuple[str, str]
    body: type[BaseModel] | None

    @classmethod
    def of(cls, api: type, name: str) -> "Operation":
        source = inspect.getsource(getattr(api, f"_{name}_serialize"))
        method, path = (re.findall(rf"{part}='([^']+)'", source)[0] for part in ("method", "resource_path"))
        declared = inspect.signature(getattr(api, name)).parameters.get("body")
        body = declared.annotation if declared is not None and isinstance(declared.annotation, type) else None
        group = path.split("/")[2] if path.startswith("/apis/") else ""
        parts = [part for part in path.split("/{namespace}/")[-1].split("/") if not part.startswith("{")]
        pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))
        return cls(name, method, pattern, (group, "/".join(parts)), body)

    @property
    def verb(self) -> str:
        return VERBS[self.name.partition("_")[0]]


OPERATIONS = [Operation.of(api, name) for api, names in KNOWN.items() for name in names]
