# Provenance where one session cannot show it: loads side by side, prepared
# transactions, crashes, dumps, connections from elsewhere.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use IPC::Run;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('main');
$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE crm');
create_keystore($node, 'crm');
sub sql { return $node->safe_psql('crm', $_[0]); }

# Where a row comes from is in origin, and in gdpr.source
sql(<<'SQL');
CREATE TABLE person (id int PRIMARY KEY, name text, origin text);
SELECT gdpr.declare_subject('person');
SELECT gdpr.declare_column('person', 'name', category => 'contact');
CALL gdpr.protect('person');
CREATE FUNCTION records(source text) RETURNS bigint LANGUAGE sql AS
	'SELECT count(*) FROM gdpr.provenance p WHERE p.source = $1';
-- rows whose person has another origin, or none, or two
CREATE VIEW wrong AS SELECT p.id FROM person p
	LEFT JOIN LATERAL (SELECT * FROM gdpr.provenance r WHERE r.first_subject <= gdpr.subject_number(p.gdpr_sealed)
		ORDER BY r.first_subject DESC LIMIT 1) o ON o.last_subject >= gdpr.subject_number(p.gdpr_sealed)
	WHERE o.source IS DISTINCT FROM p.origin;
CREATE VIEW twice AS SELECT first_subject FROM (SELECT first_subject, max(last_subject) OVER (ORDER BY first_subject, last_subject
	ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM gdpr.provenance) r WHERE first_subject <= before;
SQL
sub all_right
{
	my ($name) = @_;
	is(sql('SELECT (SELECT count(*) FROM wrong), (SELECT count(*) FROM twice)'), '0|0', $name);
	return;
}

# COPY of many rows

my $dir = directory();
sub load
{
	my ($origin, $first, $rows) = @_;
	my $file = "$dir/$origin";

	open my $out, '>', $file or die "$file: $!";
	print $out join("\t", $_, "Name-$_", $origin), "\n" for $first .. $first + $rows - 1;
	close $out;
	append_to_file("$file.sql", "SET gdpr.source = '$origin';\n\\copy person FROM '$file'\n");
	return [ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('crm'), '-f', "$file.sql" ];
}
$node->command_ok(load('alone', 1, 100_000), 'COPY of 100,000 rows');
is(sql(q{SELECT records('alone'), (SELECT last_subject - first_subject + 1 FROM gdpr.provenance WHERE source = 'alone')}), '1|100000',
	'is one record');
all_right('and every person is in it');

# Several at a time, with single rows between theirs

my @loads = map { IPC::Run::start(load("load$_", 200_000 * $_, 30_000), '>', \my $out, '2>', \my $err, IPC::Run::timeout(180)) } 1 .. 2;
append_to_file("$dir/one.sql", "\\set id random(1000000, 2000000000)\nINSERT INTO person VALUES (:id, 'Name', 'one') ON CONFLICT DO NOTHING;\n");
{
	local $ENV{PGOPTIONS} = '-c gdpr.source=one';
	$node->command_ok([ 'pgbench', '-n', '-c', 2, '-t', 400, '-f', "$dir/one.sql", 'crm' ], 'single rows meanwhile');
}
ok(IPC::Run::finish($_), 'a load beside others') foreach @loads;
all_right('every person has its own origin');
is(sql(q{SELECT count(*) FROM person WHERE origin LIKE 'load%'}), 60_000, 'the loads are complete');
for my $load (qw(load1 load2))
{
	my $records = sql("SELECT records('$load')");
	cmp_ok($records, '<', 300, "$load: numbers come in ranges, $records of them");
}

# Prepared transactions

sql(q{SET gdpr.source = 'prepared'; BEGIN; INSERT INTO person VALUES (-1, 'Name', 'prepared'); PREPARE TRANSACTION 'kept'});
sql(q{SET gdpr.source = 'gone'; BEGIN; INSERT INTO person VALUES (-2, 'Name', 'gone'); PREPARE TRANSACTION 'gone'});
is(sql(q{SELECT records('prepared'), records('gone')}), '0|0', 'prepared: nothing yet');

# Crashes: nothing of what was not committed, all of what was

my $session = open_session($node, 'crm');
ask($session, q{SET gdpr.source = 'lost'; BEGIN; INSERT INTO person VALUES (-3, 'Name', 'lost')});
sql(q{SET gdpr.source = 'safe'; INSERT INTO person VALUES (-4, 'Name', 'safe')});
$node->stop('immediate');
$node->start;
close_session($session);
is(sql(q{SELECT records('lost'), records('safe')}), '0|1', 'a crash: what was committed is there');
sql(q{COMMIT PREPARED 'kept'});
sql(q{ROLLBACK PREPARED 'gone'});
is(sql(q{SELECT records('prepared'), records('gone')}), '1|0', 'prepared: with COMMIT PREPARED, not with ROLLBACK PREPARED');
all_right('every person has its own origin, after the crash');

# Connections

is($node->safe_psql('crm', q{SET gdpr.source = 'tcp'; SET application_name = 'shop'; INSERT INTO person VALUES (-5, 'Name', 'tcp');
	SELECT client, application FROM gdpr.provenance WHERE source = 'tcp'}, connstr => $node->connstr('crm') =~ s/host=\S+/host=127.0.0.1/r),
	'127.0.0.1|shop', 'the address of a client');
{
	local $ENV{PGOPTIONS} = "-c gdpr.source=\xff";
	fails_with($node, q{INSERT INTO person VALUES (-6, 'Name', 'bytes')}, qr/the value of gdpr\.source is not valid in encoding "UTF8"/,
		qr/SET gdpr\.source again/, 'a source that is no text', 'crm');
}

# Dump and restore

my $recorded = sql('SELECT * FROM gdpr.provenance ORDER BY first_subject');
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('crm'), '-f', "$dir/dump" ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '-j', 2, '-d', $node->connstr('copy'), "$dir/dump" ], 'restore');
is($node->safe_psql('copy', 'SELECT * FROM gdpr.provenance ORDER BY first_subject'), $recorded, 'the restored rows have the origins they had, and no others');
is($node->safe_psql('copy', q{SELECT gdpr.fork_keystore() IS NOT NULL; SET gdpr.source = 'after'; INSERT INTO person VALUES (-7, 'Name', 'after');
	SELECT (SELECT count(*) FROM wrong), (SELECT count(*) FROM twice), records('after')}), "t\n0|0|1", 'and go on from there');

done_testing();
