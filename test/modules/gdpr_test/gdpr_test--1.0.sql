\echo Use "CREATE EXTENSION gdpr_test" to load this file. \quit

CREATE FUNCTION gdpr_test.derive(number bigint, category integer DEFAULT 0, month integer DEFAULT 0)
    RETURNS bytea LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'test_derive';
CREATE FUNCTION gdpr_test.derive_many(first bigint, step bigint, times bigint, category integer DEFAULT 0)
    RETURNS double precision LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'test_derive_many';
CREATE FUNCTION gdpr_test.token_key(epoch integer, domain integer)
    RETURNS bytea LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'test_token_key';
CREATE FUNCTION gdpr_test.token_epoch()
    RETURNS integer LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'test_token_epoch';
CREATE FUNCTION gdpr_test.generation()
    RETURNS bigint LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'test_generation';
CREATE FUNCTION gdpr_test.next_number()
    RETURNS bigint LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'test_next_number';
CREATE FUNCTION gdpr_test.life(number bigint)
    RETURNS text LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'test_life';
CREATE FUNCTION gdpr_test.caches_filled()
    RETURNS boolean LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'test_caches_filled';
CREATE FUNCTION gdpr_test.wake_worker()
    RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'test_wake_worker';

-- In this session: at the point-th write, fsync, rename or unlink of the
-- keystore from now on, die or fail.  Returns how many there were so far.
CREATE FUNCTION gdpr_test.fault(point integer, kind text DEFAULT 'die_before', sticky boolean DEFAULT false)
    RETURNS integer LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'test_fault';

-- A trigger function: notes what it is shown of the column that is its argument.
CREATE FUNCTION gdpr_test.show_rows()
    RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'test_show_rows';
