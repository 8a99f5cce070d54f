# What the control plane may do, and nothing else: make and remove roles of its own prefix, make session policies and
# orphan session tokens, end tokens and leases, look up whether they have ended, and read the teams' own secrets.

path "database/roles/dbr_*" {
  capabilities = ["create", "update", "read", "delete"]
}

path "database/roles" {
  capabilities = ["list"]
}

path "sys/policies/acl/drawbridge-session-*" {
  capabilities = ["create", "update", "read", "delete"]
}

path "sys/policies/acl" {
  capabilities = ["list"]
}

path "auth/token/create/drawbridge-session" {
  capabilities = ["create", "update"]
}

path "auth/token/lookup-accessor" {
  capabilities = ["update"]
}

path "auth/token/revoke-accessor" {
  capabilities = ["update"]
}

path "auth/token/accessors" {
  capabilities = ["list", "sudo"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

path "sys/leases/lookup" {
  capabilities = ["update"]
}

path "sys/leases/lookup/database/creds/*" {
  capabilities = ["list", "sudo"]
}

path "sys/leases/revoke" {
  capabilities = ["update"]
}

path "sys/leases/revoke-prefix/database/creds/dbr_*" {
  capabilities = ["update", "sudo"]
}

path "sys/audit-hash/file" {
  capabilities = ["update"]
}

path "agent-secrets/data/*" {
  capabilities = ["read"]
}

path "agent-secrets/metadata/*" {
  capabilities = ["read"]
}
