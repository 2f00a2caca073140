-- gdpr: privacy enforced at the database layer
\echo Use "CREATE EXTENSION gdpr" to load this file. \quit
GRANT USAGE ON SCHEMA gdpr TO PUBLIC; -- what discloses or changes anything is revoked function by function
