#!/bin/sh
# crossfade's role on the legacy shop, with no more than docs/roles.md names. The publication is made by the tables' owner, so the role
# owns nothing. Runs once, when the volume is empty.
set -e
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv password CROSSFADE_PASSWORD
CREATE ROLE crossfade_source LOGIN REPLICATION PASSWORD :'password';
GRANT USAGE ON SCHEMA public TO crossfade_source;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO crossfade_source;
SQL
