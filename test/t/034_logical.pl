# Logical replication and decoding: sealed rows travel as they are stored.  A
# subscriber with the extension reads them with a copy of the keystore and
# destroys in it what the publisher forgets; without a keystore it stores and
# shows nothing; without the extension it gets tokens, placeholders and
# envelopes as text.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $persons = 12;
my $gone = 7;
my $plaintext = qr/xample\.test|Zwart|-zeilen|-0612|-Straat|-deur|-tekst|-groet|-dank|NL00BANK|1950-01-\d\d|in-clear/;
my $dumps = directory();
my $tables = join(', ', map { "crm.$_" } @TABLES);

my $publisher = new_server('publisher', allows_streaming => 'logical');
$publisher->start;
crm_database($publisher, 'crm', $persons);
my $revealed = revealed($publisher, 'crm');
my $stored = stored($publisher, 'crm');

# Decoding, by a role that may see everything

$publisher->safe_psql('crm', "SELECT gdpr.grant_purpose('sales', current_user)");
$publisher->safe_psql('crm', 'ALTER TABLE crm.comment REPLICA IDENTITY FULL');
$publisher->safe_psql('crm', "CREATE PUBLICATION crm FOR TABLE $tables, gdpr.tombstone, gdpr.erasure, gdpr.subject_alias");
$publisher->safe_psql('crm', q{SELECT pg_create_logical_replication_slot('test', 'test_decoding'), pg_create_logical_replication_slot('out', 'pgoutput')});

$publisher->safe_psql('postgres', 'SELECT 1');
my $schema = "$dumps/schema";
my $map = "$dumps/map";
$publisher->command_ok([ 'pg_dump', '-s', '--no-publications', '-d', $publisher->connstr('crm'), '-f', $schema ], 'schema for a subscriber');
$publisher->command_ok([ 'pg_dump', '-a', '-n', 'gdpr', '-T', 'gdpr.tombstone', '-T', 'gdpr.erasure', '-T', 'gdpr.subject_alias', '-d', $publisher->connstr('crm'), '-f', $map ],
	'and the tables of schema gdpr, without those that are published');

# A subscriber of a kind: which keystore directory, which purpose
sub subscriber
{
	my ($name, $keys) = @_;
	my $node = new_server($name, allows_streaming => 'logical');

	put_keys($node, $keys) if $keys;
	$node->start;
	$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE nobody LOGIN; CREATE DATABASE crm');
	$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('crm'), '-o', '/dev/null', '-f', $schema, '-f', $map ],
		"$name: schema and map");
	$node->safe_psql('crm', "CREATE SUBSCRIPTION $name CONNECTION '" . $publisher->connstr . " dbname=crm' PUBLICATION crm");
	$node->wait_for_subscription_sync($publisher, $name, 'crm');
	return $node;
}

my $keyed = subscriber('keyed', copy_keys($publisher));
my $keyless = subscriber('keyless');
same_rows(stored($_, 'crm'), $stored, undef, $_->name . ': the initial copy is as it was stored') foreach $keyed, $keyless;
same_rows(revealed($keyed, 'crm'), $revealed, undef, 'keyed: and is read');
like(app_fails($keyless, 'crm', 'SELECT email FROM crm.person'), qr/keystore "[^"]+" does not exist/, 'keyless: is not');

# Without the extension: the same columns, the envelope as text
my $plain = PostgreSQL::Test::Cluster->new('plain');
$plain->init(allows_streaming => 'logical');
$plain->start;
$plain->safe_psql('postgres', <<'SQL');
CREATE SCHEMA crm;
CREATE TABLE crm.person (
	id int PRIMARY KEY, email varchar(60), name text NOT NULL, born date,
	born_at timestamptz, profile jsonb, photo bytea, phones text[], salary numeric, active boolean, bio text, city text,
	gdpr_sealed text);
CREATE TABLE crm.comment (id int PRIMARY KEY, person_id int, body text NOT NULL, gdpr_sealed text);
SQL
$publisher->safe_psql('crm', 'CREATE PUBLICATION plain FOR TABLE crm.person, crm.comment; CREATE PUBLICATION columns FOR TABLE crm.invoice (id, person_id)');
$plain->safe_psql('postgres', "CREATE SUBSCRIPTION plain CONNECTION '" . $publisher->connstr . " dbname=crm' PUBLICATION plain");
$plain->wait_for_subscription_sync($publisher, 'plain', 'postgres');
sub plain_rows { return $plain->safe_psql('postgres', 'SELECT * FROM crm.person ORDER BY id; SELECT * FROM crm.comment ORDER BY id'); }
is(scalar(() = plain_rows() =~ /^\d+\|/mg), 2 * $persons, 'plain: every row arrived');
unlike(plain_rows(), $plaintext, 'plain: without a value');
is($plain->safe_psql('postgres', 'SELECT string_agg(gdpr_sealed, $$,$$ ORDER BY id) FROM crm.person'),
	$publisher->safe_psql('crm', 'SELECT string_agg(gdpr_sealed::text, $$,$$ ORDER BY id) FROM crm.person'), 'plain: envelopes as text');

# Columns only
$plain->safe_psql('postgres', 'CREATE TABLE crm.invoice (id int PRIMARY KEY, person_id int)');
$plain->safe_psql('postgres', "CREATE SUBSCRIPTION columns CONNECTION '" . $publisher->connstr . " dbname=crm' PUBLICATION columns");
$plain->wait_for_subscription_sync($publisher, 'columns', 'postgres');
is($plain->safe_psql('postgres', 'SELECT count(*), sum(person_id) FROM crm.invoice'), $persons . '|' . $persons * ($persons + 1) / 2, 'plain: a publication of columns');

# A table of the subscriber alone, below replicated ones
$keyed->safe_psql('crm', <<'SQL');
CREATE TABLE crm.note (id int PRIMARY KEY, order_id int REFERENCES crm.orders, body text);
INSERT INTO crm.note VALUES (1, 5, 'note');
SELECT gdpr.declare_table('crm.note', via => 'order_id');
SELECT gdpr.declare_column('crm.note', 'body', category => 'content');
CALL gdpr.protect('crm.note');
GRANT SELECT ON crm.note TO app;
SQL
my $whose = q{SELECT (SELECT gdpr.subject_number(gdpr_sealed) FROM crm.note) = gdpr.subject('crm.person', '%s')};
is($keyed->safe_psql('crm', sprintf($whose, 5)), 't', 'keyed: a table of its own belongs to a replicated row');

# Changes

my $origins = $keyed->safe_psql('crm', 'SELECT count(*) FROM gdpr.provenance');
sub caught_up
{
	$publisher->wait_for_catchup($_) foreach qw(keyed keyless plain);
	return;
}

app($publisher, 'crm', <<'SQL');
INSERT INTO crm.person (id, email, name, born) VALUES (101, 'new@xample.test', 'in-clear', '1999-01-01');
INSERT INTO crm.orders VALUES (101, 101, 'in-clear', 1);
INSERT INTO crm.order_line VALUES (101, 101, 'in-clear');
UPDATE crm.person SET city = 'elsewhere' WHERE id = 1;
UPDATE crm.person SET name = 'in-clear', email = 'changed@xample.test' WHERE id = 2;
UPDATE crm.comment SET body = 'in-clear' WHERE id = 3;
UPDATE crm.orders SET person_id = 4 WHERE id = 5;
UPDATE crm.person SET id = 111 WHERE id = 101 AND false;
DELETE FROM crm.comment WHERE id = 4;
UPDATE crm.message SET reply = 'in-clear' WHERE id = 5;
COPY crm.person (id, name) FROM STDIN;
102	in-clear
\.
SQL
caught_up();
for my $node ($keyed, $keyless)
{
	same_rows(stored($node, 'crm'), stored($publisher, 'crm'), undef, $node->name . ': changes arrive as they are stored');
}
same_rows(revealed($keyed, 'crm'), revealed($publisher, 'crm'), undef, 'keyed: and are read');
is(app($keyed, 'crm', q{SELECT id FROM crm.person WHERE lower(email) = 'changed@xample.test'}), 2, 'keyed: and found');
is($keyed->safe_psql('crm', sprintf($whose, 4)), 't', 'keyed: what the publisher relinks, its own table below follows');
is(app($keyed, 'crm', 'SELECT body FROM crm.note'), 'note', 'keyed: and is read');
is($keyed->safe_psql('crm', 'SELECT count(*) FROM gdpr.provenance'), $origins, 'keyed: who arrives was not entered here');
unlike(plain_rows(), $plaintext, 'plain: no value in changes either');
is($plain->safe_psql('postgres', 'SELECT city FROM crm.person WHERE id = 1'), 'elsewhere', 'plain: changes arrive');

# Forgetting

my $number = number_of($publisher, 'crm', $gone);
$publisher->safe_psql('crm', "SELECT gdpr.forget($number); SELECT gdpr.forget(" . number_of($publisher, 'crm', 9) . ", category => 'private')");
caught_up();
for my $node ($keyed, $keyless)
{
	same_rows(stored($node, 'crm'), stored($publisher, 'crm'), undef, $node->name . ': rows go, as on the publisher');
	is($node->safe_psql('crm', "SELECT count(*) FROM gdpr.tombstone"), 2, $node->name . ': tombstones arrive');
}
ok(wait_for($keyed, "SELECT gdpr_test.life($number)", 'forgotten', 'crm'), 'keyed: and destroy the keys');
same_rows(revealed($keyed, 'crm'), revealed($publisher, 'crm'), undef, 'keyed: the others are read');

# Writing on a subscriber: numbers of its own
app($keyed, 'crm', q{INSERT INTO crm.person (id, name) SELECT i, 'local' FROM generate_series(501, 510) i});
app($publisher, 'crm', q{INSERT INTO crm.person (id, name) SELECT i, 'remote' FROM generate_series(601, 610) i});
caught_up();
is($keyed->safe_psql('crm', 'SELECT count(DISTINCT gdpr.subject_number(gdpr_sealed)) = count(*) FROM crm.person'), 't', 'keyed: own rows get numbers of their own');

# Streams
my $stream = $publisher->safe_psql('crm', q{SELECT data FROM pg_logical_slot_get_changes('test', NULL, NULL)});
like($stream, qr/table crm\.person: INSERT: id\[integer\]:101 .*gdpr_sealed\[gdpr\.sealed\]:'[\w+\/=]+'/, 'test_decoding: there are changes');
unlike($stream, $plaintext, 'test_decoding: and no value');
my $binary = $publisher->safe_psql('crm', q{SELECT string_agg(encode(data, 'escape'), '') FROM pg_logical_slot_get_binary_changes('out', NULL, NULL, 'proto_version', '1', 'publication_names', 'crm')});
like($binary, qr/person/, 'pgoutput: there are changes');
unlike($binary, $plaintext, 'pgoutput: and no value');

done_testing();
