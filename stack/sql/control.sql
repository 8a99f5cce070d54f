-- The control plane's database, run as superuser inside it: the owner makes the tables, the app may only use them.
GRANT CONNECT ON DATABASE {database} TO drawbridge_app, drawbridge_integrator;
REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO drawbridge_app, drawbridge_integrator;
GRANT USAGE, CREATE ON SCHEMA public TO drawbridge_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE drawbridge_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO drawbridge_app;
ALTER DEFAULT PRIVILEGES FOR ROLE drawbridge_owner GRANT USAGE, SELECT ON SEQUENCES TO drawbridge_app;
