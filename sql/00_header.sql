-- gdpr: privacy enforced at the database layer
\echo Use "CREATE EXTENSION gdpr" to load this file. \quit
