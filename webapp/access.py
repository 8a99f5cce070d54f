"""Who may use each route. A route that has no row here is closed to everybody.

PUBLIC   anybody
PERSON   a signed-in person; what they may see and do there is decided by sessions/policy.py, team by team
AGENT    the API: an agent's key or a session's token, checked by the endpoint's own authentication
GATEWAY  the API: a gateway's own token, checked likewise
"""

from enum import StrEnum


class Who(StrEnum):
    PUBLIC = "public"
    PERSON = "person"
    AGENT = "agent"
    GATEWAY = "gateway"


ACCESS: dict[str, Who] = {
    "healthz": Who.PUBLIC,
    "account_login": Who.PUBLIC,
    "account_logout": Who.PERSON,
    "account_reauthenticate": Who.PERSON,
    "account_change_password": Who.PERSON,
    "mfa_index": Who.PERSON,
    "mfa_authenticate": Who.PUBLIC,
    "mfa_reauthenticate": Who.PERSON,
    "mfa_activate_totp": Who.PERSON,
    "mfa_deactivate_totp": Who.PERSON,
    "mfa_view_recovery_codes": Who.PERSON,
    "mfa_generate_recovery_codes": Who.PERSON,
    "mfa_download_recovery_codes": Who.PERSON,
    "account_inactive": Who.PUBLIC,
    "inbox": Who.PERSON,
    "inbox-stream": Who.PERSON,
    "device": Who.PERSON,
    "fleet": Who.PERSON,
    "fleet-stream": Who.PERSON,
    "fleet-kill": Who.PERSON,
    "gateway-list": Who.PERSON,
    "gateway-retire": Who.PERSON,
    "session-list": Who.PERSON,
    "session-list-stream": Who.PERSON,
    "session": Who.PERSON,
    "session-stream": Who.PERSON,
    "event": Who.PERSON,
    "event-proof": Who.PERSON,
    "event-leaf": Who.PERSON,
    "log": Who.PERSON,
    "log-checkpoint": Who.PERSON,
    "session-approve": Who.PERSON,
    "session-approve-less": Who.PERSON,
    "session-deny": Who.PERSON,
    "session-withdraw": Who.PERSON,
    "session-kill": Who.PERSON,
    "session-more": Who.PERSON,
    "addition-approve": Who.PERSON,
    "addition-deny": Who.PERSON,
    "agent-list": Who.PERSON,
    "agent-verification": Who.PERSON,
    "agent-register": Who.PERSON,
    "agent": Who.PERSON,
    "agent-key-issue": Who.PERSON,
    "agent-key-revoke": Who.PERSON,
    "profile-list": Who.PERSON,
    "profile-create": Who.PERSON,
    "profile": Who.PERSON,
    "profile-propose": Who.PERSON,
    "profile-publish": Who.PERSON,
    "profile-denied": Who.PERSON,
    "profile-new-rule": Who.PERSON,
    "export-create": Who.PERSON,
    "export": Who.PERSON,
    "export-status": Who.PERSON,
    "export-download": Who.PERSON,
    "people": Who.PERSON,
    "people-add": Who.PERSON,
    "people-grant": Who.PERSON,
    "people-end": Who.PERSON,
    "people-erase": Who.PERSON,
    "hold-list": Who.PERSON,
    "hold-place": Who.PERSON,
    "hold-release": Who.PERSON,
    "api-v1:openapi-json": Who.PUBLIC,
    "api-v1:token": Who.PUBLIC,
    "api-v1:agent": Who.AGENT,
    "api-v1:sessions": Who.AGENT,
    "api-v1:session": Who.AGENT,
    "api-v1:withdraw": Who.AGENT,
    "api-v1:end": Who.AGENT,
    "api-v1:credentials": Who.AGENT,
    "api-v1:replace": Who.AGENT,
    "api-v1:events": Who.AGENT,
    "api-v1:additions": Who.AGENT,
    "api-v1:addition": Who.AGENT,
    "api-v1:verifications": Who.AGENT,
    "api-v1:gateway-lease": Who.GATEWAY,
    "api-v1:gateway-stream": Who.GATEWAY,
    "api-v1:gateway-session": Who.GATEWAY,
    "api-v1:gateway-events": Who.GATEWAY,
    "api-v1:gateway-acks": Who.GATEWAY,
    "otlp-logs": Who.AGENT,
    "api_not_found": Who.PUBLIC,
}
