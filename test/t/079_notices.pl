# Notices to recipients: heard of by NOTIFY, at least once, and dark in every
# copy once they are dealt with.  A dump carries the register and the ledger.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dumps = directory();
my $node = new_server('main', allows_streaming => 1);
$node->start;
crm_database($node, 'crm', 12);
$node->safe_psql('crm', <<'SQL');
CREATE ROLE worker LOGIN;
GRANT SELECT, DELETE, UPDATE (attempts, available_at) ON gdpr.outbox TO worker;
GRANT EXECUTE ON FUNCTION gdpr.outbox_payload, gdpr.defer_outbox, gdpr.acknowledge_outbox TO worker;
CREATE TABLE number AS SELECT id, gdpr.subject('crm.person', id::text) AS subject FROM crm.person;
SELECT gdpr.set_country('IN', 'adequate', note => 'a new decision');
SELECT gdpr.add_recipient('Mailer', 'IN', purposes => '{sales}', contact => 'api'), gdpr.add_recipient('Gone', 'NL', purposes => '{sales}');
SELECT gdpr.disclose(subject, 'Mailer', '{contact}', reference => 'Zwart-ref-' || id) FROM number;
SELECT gdpr.disclose(subject, 'Gone', '{contact}') FROM number WHERE id = 1;
SELECT gdpr.drop_recipient('Gone');
SELECT gdpr.suppress('zwart@x.test', 'sales');
SQL
my $first = $node->safe_psql('crm', 'SELECT subject FROM number WHERE id = 1');

# Listening: the kind and nothing else, when it commits
my $worker = open_session($node, 'crm');
ask($worker, 'SET ROLE worker; LISTEN gdpr_outbox');
my $writer = open_session($node, 'crm');
ask($writer, "SET ROLE app; SET gdpr.purpose = 'sales'; BEGIN; UPDATE crm.person SET email = 'b' || id || '\@x.test', phones = '{1}' WHERE id IN (1, 2)");
unlike(ask($worker, 'SELECT 1'), qr/notification/, 'nothing is heard before the commit');
is($node->safe_psql('crm', 'SELECT count(*) FROM gdpr.outbox'), '0', 'nothing is there');
ask($writer, 'COMMIT');
my $heard = ask($worker, 'SELECT 1');
like($heard, qr/"gdpr_outbox" with payload "rectification"/, 'it is heard of');
is(scalar(() = $heard =~ /gdpr_outbox/g), 1, 'once for all messages of a kind');
is($node->safe_psql('crm', q{SELECT count(*), count(DISTINCT message), string_agg(DISTINCT gdpr.outbox_payload(id) ->> 'recipient', ' ') FROM gdpr.outbox}),
	'3|3|Gone Mailer', 'a message for each person and recipient, also one that was dropped');

# At least once: a worker that dies after it sent, before it committed
my $take = q{SELECT message FROM gdpr.outbox WHERE available_at <= now() ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED};
my ($sent) = ask($worker, "BEGIN; $take") =~ /([0-9a-f-]{36})/;
ask($worker, "DELETE FROM gdpr.outbox WHERE message = '$sent'");
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DELETE FROM gdpr.outbox%' OR usename = 'worker'});
close_session($worker);
ok(comes_true($node, 'crm', "EXISTS ($take)"), 'it is there again');
is($node->safe_psql('crm', $take), $sent, 'the same message, by which a recipient can tell');
is($node->safe_psql('crm', 'SELECT count(*) FROM gdpr.notices WHERE acknowledged_at IS NOT NULL'), '0', 'nothing is acknowledged');
is($node->safe_psql('crm', "SET ROLE worker; SELECT bool_and(gdpr.acknowledge_outbox(id)) FROM gdpr.outbox"), 't', 'acknowledged');
is($node->safe_psql('crm', 'SELECT count(*), count(acknowledged_at) FROM gdpr.notices'), '3|3', 'the register knows');

# Erasure: backups of all kinds, taken while the messages wait
$node->safe_psql('crm', 'SELECT gdpr.forget(subject) FROM number WHERE id IN (1, 3)');
is($node->safe_psql('crm', q{SELECT kind, gdpr.outbox_payload(id) -> 'references' FROM gdpr.outbox WHERE gdpr.outbox_payload(id) ->> 'recipient' = 'Mailer' ORDER BY id}),
	"erasure|[\"Zwart-ref-1\"]\nerasure|[\"Zwart-ref-3\"]", 'the recipient is told whom to erase');
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('crm'), '-f', "$dumps/custom" ], 'pg_dump, custom');
$node->command_ok([ 'pg_dump', '-Fd', '-j2', '-d', $node->connstr('crm'), '-f', "$dumps/directory" ], 'pg_dump, directory');
$node->command_ok([ 'pg_dump', '-Fp', '-d', $node->connstr('crm'), '-f', "$dumps/plain" ], 'pg_dump, plain');
unlike(slurp_file("$dumps/plain"), qr/Zwart-ref/, 'the dump holds no reference in the clear');
my $keys = copy_keys($node);
my $waiting = $node->safe_psql('crm', q{SELECT id FROM gdpr.outbox WHERE gdpr.outbox_payload(id) -> 'references' @> '["Zwart-ref-3"]'});
$node->safe_psql('crm', "SET ROLE worker; DELETE FROM gdpr.outbox WHERE id <> $waiting");

sub messages
{
	my ($database) = @_;
	return $node->safe_psql($database, q{SELECT string_agg(coalesce(gdpr.outbox_payload(id) ->> 'references', 'dark'), ' ' ORDER BY id) FROM gdpr.outbox});
}

my $questions = <<'SQL';
SELECT 'recipient', r.* FROM gdpr.recipients r ORDER BY r.name;
SELECT 'country', c.* FROM gdpr.country c ORDER BY c.code, c.as_of;
SELECT 'disclosure', n.id, d.* FROM number n, gdpr.disclosures_of(n.subject) d ORDER BY n.id, d.id;
SELECT 'suppressed', gdpr.is_suppressed('Zwart@x.test', 'sales'), gdpr.is_suppressed('rood@x.test', 'sales');
SQL
my $answers = $node->safe_psql('crm', $questions);
like($answers, qr/^disclosure\|2\|Mailer\|\{contact\}\|sales\|contract\|IN\|adequacy\|.*\|Zwart-ref-2\|/m, 'there is something to compare');
like($answers, qr/^suppressed\|t\|f/m, 'a suppression list');
like($answers, qr/^country\|IN\|.*a new decision/m, 'a state of a country too');

sub check
{
	my ($name, $database) = @_;

	$node->safe_psql($database, 'SELECT gdpr.fork_keystore()');
	is($node->safe_psql($database, $questions), $answers, "$name: register and ledger are the same");
	is(messages($database), 'dark dark ["Zwart-ref-3"]', "$name: what was acknowledged since is dark, what waits is not");
	is($node->safe_psql($database, 'SET ROLE worker; SELECT count(*) FROM (SELECT gdpr.acknowledge_outbox(id) FROM gdpr.outbox) a; RESET ROLE; SELECT count(*) FILTER (WHERE acknowledged_at IS NULL AND ended_at IS NULL) FROM gdpr.notices'),
		"3\n0", "$name: its worker deals with them");
	like(($node->psql($database, 'DELETE FROM gdpr.disclosure'))[2], qr/is only ever added to/, "$name: the ledger stays");
	is($node->safe_psql($database, q{SELECT gdpr.add_recipient('Next', 'NL', purposes => '{sales}'); SELECT count(DISTINCT id) = count(*), max(id) FROM gdpr.recipient}),
		"\nt|3", "$name: ids go on");
	is($node->safe_psql($database, q{UPDATE crm.person SET email = 'restored@x.test' WHERE false; SET ROLE app; SET gdpr.purpose = 'sales'; UPDATE crm.person SET email = 'restored@x.test' WHERE id = 2; RESET ROLE; SELECT gdpr.outbox_payload(id) -> 'references' FROM gdpr.outbox}),
		'["Zwart-ref-2"]', "$name: recipients are told of what is changed there");
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE custom; CREATE DATABASE plain; CREATE DATABASE parts');
$node->command_ok([ 'pg_restore', '-e', '-j2', '-d', $node->connstr('custom'), "$dumps/custom" ], 'custom: restored by two');
check('custom', 'custom');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr('plain'), '-f', "$dumps/plain" ], 'plain: restored');
check('plain', 'plain');
$node->command_ok([ 'pg_restore', '-e', '-s', '-d', $node->connstr('parts'), "$dumps/directory" ], 'in parts: the schema');
$node->command_ok([ 'pg_restore', '-e', '-a', '-j2', '--disable-triggers', '-d', $node->connstr('parts'), "$dumps/directory" ], 'in parts: the data');
check('in parts', 'parts');

# An older copy of the keystore does not bring a message back; nor does a crash
# right after the acknowledgement
$node->safe_psql('crm', 'CREATE TABLE copy AS TABLE gdpr.outbox');
is($node->safe_psql('crm', "SET ROLE worker; SELECT gdpr.acknowledge_outbox($waiting)"), 't', 'acknowledged');
$node->stop('immediate');
put_keys($node, $keys);
$node->start;
is($node->safe_psql('crm', q{SELECT count(*), count(gdpr.open_note('outbox', message, payload)) FROM copy}), '1|0', 'the old keystore has it no more');
is($node->safe_psql('crm', q{SELECT kind, count(*), count(acknowledged_at) FROM gdpr.notices GROUP BY kind ORDER BY kind}), "erasure|3|3\nrectification|3|3", 'all are acknowledged');
close_session($writer);
$node->stop;

done_testing();
