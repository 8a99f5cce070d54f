# What a start of the stack may do: bring OpenBao's settings to what this version wants. It can widen the policy of the
# control plane, so it is as powerful as the root token that it replaces; only the supervisor reads its secret.

path "sys/policies/acl/drawbridge-control" {
  capabilities = ["create", "update", "read"]
}

path "sys/mounts/database/tune" {
  capabilities = ["update", "read"]
}

path "database/config/warehouse" {
  capabilities = ["create", "update", "read"]
}

path "auth/token/roles/drawbridge-session" {
  capabilities = ["create", "update", "read"]
}

path "auth/approle/role/drawbridge" {
  capabilities = ["create", "update", "read"]
}

path "auth/approle/role/drawbridge/*" {
  capabilities = ["create", "update", "read"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

path "sys/mounts/agent-secrets" {
  capabilities = ["create", "update"]
}

path "agent-secrets/data/*" {
  capabilities = ["create", "update"]
}
