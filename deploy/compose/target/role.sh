#!/bin/sh
# crossfade's role on the new shop, with no more than docs/roles.md names. Runs once, when the volume is empty.
set -e
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv password CROSSFADE_PASSWORD
CREATE ROLE crossfade_target LOGIN PASSWORD :'password';
GRANT USAGE ON SCHEMA app TO crossfade_target;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA app TO crossfade_target;
CREATE SCHEMA crossfade AUTHORIZATION crossfade_target;
GRANT SET ON PARAMETER session_replication_role TO crossfade_target;
SQL
