-- Who may do what in the rehearsal's target database. Run as superuser inside it, on every start.
REVOKE ALL ON DATABASE warehouse FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE warehouse TO openbao_admin WITH GRANT OPTION;
GRANT USAGE ON SCHEMA public TO openbao_admin WITH GRANT OPTION;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO openbao_admin WITH GRANT OPTION;
GRANT pg_signal_backend TO openbao_admin;
-- The admin may use and drop what the roles it makes were granted: without this DROP OWNED is refused.
ALTER ROLE openbao_admin SET createrole_self_grant = 'set, inherit';

CREATE SCHEMA IF NOT EXISTS drawbridge AUTHORIZATION openbao_admin;
REVOKE ALL ON SCHEMA drawbridge FROM PUBLIC;
GRANT CONNECT ON DATABASE warehouse TO drawbridge_cutter;
GRANT USAGE ON SCHEMA drawbridge TO drawbridge_cutter;
GRANT pg_read_all_stats TO drawbridge_cutter;

-- Cuts one minted role off without OpenBao: no new login, and the open sessions told to end.
-- A login that was being checked at that very moment can slip through, so callers cut twice, in two transactions.
CREATE OR REPLACE FUNCTION drawbridge.cut(role_name text, OUT role_existed boolean, OUT sessions_ended integer)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF role_name IS NULL OR role_name !~ '\Adbr_[0-9a-f]{32}\Z' THEN
        RAISE EXCEPTION 'cut() refuses the role name %: only dbr_ and 32 hexadecimal digits', quote_nullable(role_name)
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    role_existed := true;
    -- A revocation by OpenBao that commits at this moment is told as "tuple concurrently updated": look again.
    FOR attempt IN 1..5 LOOP
        BEGIN
            EXECUTE format('ALTER ROLE %I NOLOGIN', role_name);
            EXIT;
        EXCEPTION
            WHEN undefined_object THEN
                role_existed := false;
                EXIT;
            WHEN internal_error THEN
                IF attempt = 5 THEN
                    RAISE;
                END IF;
        END;
    END LOOP;
    SELECT count(*) INTO sessions_ended
    FROM (SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity WHERE usename = role_name) AS told
    WHERE told.ended;
END
$$;
ALTER FUNCTION drawbridge.cut(text) OWNER TO openbao_admin;
REVOKE ALL ON FUNCTION drawbridge.cut(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drawbridge.cut(text) TO drawbridge_cutter;
