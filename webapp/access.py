"""Who may use each route. A route that has no row here is closed to everybody.

PUBLIC   anybody
PERSON   a signed-in person; what they may see and do there is decided by sessions/policy.py, team by team
AGENT    the API: an agent's key or a session's token, checked by the endpoint's own authentication
"""

from enum import StrEnum


class Who(StrEnum):
    PUBLIC = "public"
    PERSON = "person"
    AGENT = "agent"


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
}
