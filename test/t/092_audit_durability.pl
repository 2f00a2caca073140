# gdpr.audit_durability = on: what a client has received is in the trail, whenever
# the server is killed.  And records that cannot be stored: they are kept, then
# nothing is read any more, and nothing is lost.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $PERSONS = 3000;
my $node = new_server('main', allows_streaming => 1); # wal_level = replica: a slot
# nobody but us writes the log to disk
$node->append_conf('postgresql.conf', "wal_writer_delay = '10s'\nwal_writer_flush_after = 0\nautovacuum = off\ncheckpoint_timeout = '1h'\nmax_connections = 30");
$node->start;
crm_database($node, 'crm', $PERSONS);
$node->safe_psql('crm', q{CREATE TABLE number AS SELECT id, gdpr.subject('crm.person', id::text) AS number FROM crm.person; CREATE UNIQUE INDEX ON number (number); ANALYZE number});
$node->safe_psql('postgres', 'ALTER ROLE app SET gdpr.audit_durability = on');
$node->safe_psql('postgres', q{ALTER ROLE app SET gdpr.purpose = 'sales'});

# ---------- what clients have received, and what the trail has ----------

# Does the server's log say it, before long?
sub find_in_log
{
	my ($server, $pattern) = @_;

	for (1 .. 100)
	{
		return 1 if slurp_file($server->logfile) =~ $pattern;
		select(undef, undef, undef, 0.1);
	}
	return 0;
}

# Clients that ask without end, each in its way: statements by actor.
my %clients = (
	key => join('', map { "SELECT id FROM crm.person WHERE id = $_ AND name IS NOT NULL;\n" } 1 .. $PERSONS) x 3,
	block => "BEGIN;\n" . join('', map { "SELECT id FROM crm.person WHERE id = $_ AND name IS NOT NULL;\n" } 1 .. $PERSONS) x 3,
	scan => "SELECT id FROM crm.person WHERE name IS NOT NULL;\n" x 1000,
	copy => "COPY (SELECT id FROM crm.person WHERE email LIKE 'mail%') TO STDOUT;\n" x 1000,
	cursor => "BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id FROM crm.person WHERE name IS NOT NULL;\n" . "FETCH 7 FROM c;\n" x 2000,
	notice => "DO \$\$ DECLARE r record; BEGIN FOR r IN SELECT id, name FROM crm.person LOOP RAISE INFO '%', r.id; PERFORM pg_sleep(0.001); END LOOP; END \$\$;\n" x 100,
	error => "SELECT (id || substr(name, 1, 0) || '!')::int FROM crm.person WHERE id = 7;\n" x 3000,
	write => join('', map { "UPDATE crm.person SET city = 'c$_' WHERE id = $_ RETURNING left(id || ' ' || name, length(id::text));\n" } 1 .. 1000) x 3,
	lower => "SET synchronous_commit = off;\n" . join('', map { "SELECT id FROM crm.person WHERE id = $_ AND name IS NOT NULL;\n" } 1 .. $PERSONS));

my $dir = $node->basedir;
for my $name (keys %clients)
{
	append_to_file("$dir/$name.sql", $clients{$name});
}

sub start_client
{
	my ($name, $actor) = @_;
	my $out = "$dir/$actor.out";

	local $ENV{PGOPTIONS} = "-c gdpr.actor=$actor";
	return IPC::Run::start([ 'psql', '-XAtq', '-f', "$dir/$name.sql", $node->connstr('crm') . ' user=app' ], '<', \undef, '>', $out, '2>', "$out.err");
}

# The persons that a client got, by id, from rows, messages and errors
sub received
{
	my ($actor) = @_;
	my $text = slurp_file("$dir/$actor.out") . slurp_file("$dir/$actor.out.err");
	my %ids;

	$text =~ s/\n[^\n]*\z/\n/;    # whole lines
	$ids{$1}++ while $text =~ /^(?:psql:\S+ )?(?:INFO:  |ERROR:  invalid input syntax for type integer: ")?(\d+)!?"?$/mg;
	return %ids;
}

my %lost;
my %got;
for my $round (1 .. 4)
{
	my %runs = map { $_ => start_client($_, "$_$round") } keys %clients;
	select(undef, undef, undef, 0.4 + 0.3 * $round);
	$node->stop('immediate');
	for my $run (values %runs)
	{
		eval { $run->finish; };
	}
	$node->start;
	$node->safe_psql('crm', "SET ROLE app; SET gdpr.purpose = 'sales'; SET gdpr.actor = 'after$round'; SELECT name FROM crm.person WHERE id = 1");
	$node->poll_query_until('crm', "SELECT EXISTS (SELECT FROM gdpr.audit_log WHERE actor = 'after$round')");
	for my $name (keys %clients)
	{
		my %ids = received("$name$round");
		my %times = map { split /\|/ } split /\n/, $node->safe_psql('crm', <<"SQL");
SELECT n.id, count(*) FROM gdpr.audit_log l, unnest(l.subjects) r, number n
WHERE l.actor = '$name$round' AND l.kind = 'access' AND n.number >= lower(r) AND n.number < upper(r) GROUP BY n.id
SQL
		$got{$name} += keys %ids;
		$lost{$name} += grep { !$times{$_} } keys %ids;
		# of reads by key every single one
		$lost{$name} += grep { $ids{$_} > $times{$_} } keys %ids if $name =~ /key|block|error|write/;
	}
}
for my $name (sort keys %clients)
{
	cmp_ok($got{$name}, '>', 0, "$name: a client has received something ($got{$name})");
	is($lost{$name}, 0, "$name: nothing of it is missing in the trail");
}
is($node->safe_psql('crm', "SELECT DISTINCT failed FROM gdpr.audit_log WHERE actor ~ '^error[0-9]' AND kind = 'access'"), 't', 'what failed is said to have failed');
is($node->safe_psql('crm', 'SELECT count(*) FROM gdpr.verify_audit()'), 0, 'the chain holds');
is($node->safe_psql('crm', "SELECT count(*) FROM gdpr.audit_log WHERE kind = 'gap'"), 0, 'no gap');


# ---------- a worker that cannot store ----------

sub read_as
{
	my ($actor, $id) = @_;
	return app($node, 'crm', "SET gdpr.actor = '$actor'; SELECT name FROM crm.person WHERE id = $id");
}

sub records
{
	my ($actor, $expected) = @_;
	my $query = "SELECT count(*) FROM gdpr.audit_log WHERE actor = '$actor' AND kind = 'access'";

	$node->poll_query_until('crm', "SELECT ($query) >= $expected");
	return $node->safe_psql('crm', $query);
}

# More log than would be kept
sub write_log
{
	for (1 .. 6)
	{
		$node->safe_psql('postgres', 'SELECT pg_logical_emit_message(false, $$x$$, repeat($$x$$, 500000)); SELECT pg_switch_wal(); CHECKPOINT');
	}
	return;
}

ok(comes_true($node, 'crm', q{EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'gdpr_audit' AND slot_type = 'physical' AND restart_lsn IS NOT NULL)}), 'there is a replication slot');
$node->safe_psql('postgres', q{ALTER SYSTEM SET gdpr.audit_durability = on; ALTER SYSTEM SET max_wal_size = '64MB'; ALTER SYSTEM SET min_wal_size = '32MB'; SELECT pg_reload_conf()});
my $lock = open_session($node, 'crm');
ask($lock, 'BEGIN; LOCK TABLE gdpr.audit_progress IN EXCLUSIVE MODE');
read_as('late', $_) for 1 .. 20;
write_log();
is($node->safe_psql('crm', q{SELECT count(*) FROM gdpr.audit_log WHERE actor = 'late'}), 0, 'the worker waits for a lock: no records');
is(read_as('late', 21), 'Name-21-Zwart', 'reading goes on');
ask($lock, 'ROLLBACK');
is(records('late', 21), 21, 'the lock is gone: all records are there');

# It is behind by more than is permitted.
$node->safe_psql('postgres', q{ALTER SYSTEM SET gdpr.audit_max_lag = '1MB'; ALTER SYSTEM SET gdpr.audit_lag_timeout = '200ms'; SELECT pg_reload_conf()});
ask($lock, 'BEGIN; LOCK TABLE gdpr.audit_progress IN EXCLUSIVE MODE');
$node->safe_psql('postgres', 'SELECT pg_logical_emit_message(false, $$x$$, repeat($$x$$, 2000000))');
is(read_as('behind', 1), 'Name-1-Zwart', 'before the first record waits, nobody knows');
my $error = app_fails($node, 'crm', 'SELECT name FROM crm.person WHERE id = 2');
like($error, qr/the audit trail is \d+ MB behind.*gdpr\.audit_max_lag = 1 MB.*server's log/s, 'behind: nothing is revealed');
unlike($error, qr/Zwart/, 'and nothing is told');
like(app_fails($node, 'crm', "UPDATE crm.person SET name = 'x' WHERE id = 2"), qr/the audit trail is \d+ MB behind/, 'nor written');
is(app($node, 'crm', 'SELECT city FROM crm.person WHERE id = 1500'), 'city 0', 'what is not personal can be read');
# who waits goes on when it is stored
$node->safe_psql('postgres', q{ALTER SYSTEM SET gdpr.audit_lag_timeout = '60s'; SELECT pg_reload_conf()});
my $waiting = open_session($node, 'crm');
ask($waiting, "SET ROLE app; SET gdpr.purpose = 'sales'; SET gdpr.actor = 'behind'");
say_to($waiting, 'SELECT name FROM crm.person WHERE id = 3');
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE '%id = 3%')});
# a cancel is heard
my $cancelled = open_session($node, 'crm');
like(ask($cancelled, "SET ROLE app; SET gdpr.purpose = 'sales'; SET statement_timeout = '100ms'; SELECT name FROM crm.person WHERE id = 4"), qr/statement timeout/, 'who waits can be cancelled');
close_session($cancelled);
ask($lock, 'ROLLBACK');
is(ask($waiting), 'Name-3-Zwart', 'who waited is served when the records are stored');
close_session($waiting);
is(records('behind', 2), 2, 'and recorded');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET gdpr.audit_max_lag; ALTER SYSTEM RESET gdpr.audit_lag_timeout; SELECT pg_reload_conf()});

# It fails: what it has taken is not lost, nor is what comes.  Also by a crash.
$node->safe_psql('crm', q{CREATE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$;
	CREATE TRIGGER is_full BEFORE INSERT ON gdpr.audit_chain FOR EACH ROW EXECUTE FUNCTION is_full()});
read_as('full', $_) for 1 .. 10;
write_log();
read_as('full', $_) for 11 .. 20;
$node->stop('immediate');
$node->start;
write_log();
read_as('full', $_) for 21 .. 30;
$node->restart;
write_log();
$node->safe_psql('crm', 'DROP TRIGGER is_full ON gdpr.audit_chain');
is(records('full', 30), 30, 'the worker failed, the server was killed and restarted: every record is there');

# No worker at all
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
is(read_as('none', 1), 'Name-1-Zwart', 'no worker can be started: reading goes on');
write_log();
ok(find_in_log($node, qr/could not start a worker/), 'the log says so');
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->restart;
is(records('none', 1), 1, 'later it is stored');

# Long idle, and the log goes on
$node->stop;
$node->start;
write_log();
write_log();
$node->restart;
is(read_as('idle', 1), 'Name-1-Zwart', 'after a long time');
is(records('idle', 1), 1, 'reads are recorded');
ok(comes_true($node, 'crm', q{(SELECT pg_current_wal_lsn() - restart_lsn < 40000000 FROM pg_replication_slots WHERE slot_name = 'gdpr_audit')}), 'and the slot does not keep the log for nothing');
is($node->safe_psql('crm', "SELECT count(*) FROM gdpr.audit_log WHERE kind = 'gap'"), 0, 'in all this, no gap');
is($node->safe_psql('crm', 'SELECT count(*) FROM gdpr.verify_audit()'), 0, 'and the chain holds');

# ---------- digests, to another place ----------

my $vault = $node->basedir . '/vault';
my $digests = "$vault/digests";
mkdir $vault;
$node->safe_psql('postgres', qq{ALTER SYSTEM SET gdpr.digest_command = 'cat >>$digests'; ALTER SYSTEM SET gdpr.digest_interval = 1; SELECT pg_reload_conf()});

sub digests
{
	my ($expected) = @_;

	for (1 .. 200)
	{
		my @lines = -e $digests ? split(/\n/, slurp_file($digests)) : ();
		return @lines if @lines >= $expected;
		select(undef, undef, undef, 0.1);
	}
	return;
}

read_as('digest', 1);
like((digests(1))[0], qr/^\{"database" : "crm", "system" : "\d+", "at" : "[^"]+", "record" : \d+, "hash" : "[0-9a-f]{64}"\}$/, 'a digest leaves the server');
read_as('digest', 2);
my @lines = digests(2);
cmp_ok(scalar(@lines), '>=', 2, 'and the next');
my @verified = map { $node->safe_psql('crm', "SELECT count(*) FROM gdpr.verify_audit(('$_'::json->>'record')::bigint, decode('$_'::json->>'hash', 'hex'))") } @lines[0, 1];
is("@verified", '0 0', 'the trail agrees with them');
# somebody writes the whole trail anew, with right hashes
is($node->safe_psql('crm', q{
	BEGIN;
	UPDATE gdpr.audit_block SET content = overlay(content PLACING '\x00'::bytea FROM 5) WHERE first_record = 1;
	DO $$ DECLARE c record; h bytea := decode(repeat('00', 32), 'hex'); BEGIN
		FOR c IN SELECT b.first_record, b.content FROM gdpr.audit_block b ORDER BY 1 LOOP
			h := gdpr.audit_hash(h, c.content);
			UPDATE gdpr.audit_chain SET hash = h WHERE first_record = c.first_record;
		END LOOP;
	END $$;
	SELECT count(*) FROM gdpr.verify_audit();} . "SELECT problem FROM gdpr.verify_audit(('$lines[0]'::json->>'record')::bigint, decode('$lines[0]'::json->>'hash', 'hex')); ROLLBACK"),
	"0\nthe digest is another", 'a trail that was written anew is consistent, but for the digest');
$node->safe_psql('postgres', q{ALTER SYSTEM SET gdpr.digest_command = 'echo complaint >&2; exit 3'; SELECT pg_reload_conf()});
read_as('digest', 3);
ok(find_in_log($node, qr/digest command failed: child process exited with exit code 3/), 'a command that fails is a warning');
$node->safe_psql('postgres', qq{ALTER SYSTEM SET gdpr.digest_command = 'sleep 1000'; SELECT pg_reload_conf()});
is(read_as('digest', 4), 'Name-4-Zwart', 'one that hangs holds nobody up');
is(records('digest', 4), 4, 'nor the trail');
$node->safe_psql('postgres', qq{ALTER SYSTEM SET gdpr.digest_command = 'cat >>$digests'; SELECT pg_reload_conf()});
digests(@lines + 1);
is($node->safe_psql('crm', "SELECT count(*) FROM gdpr.verify_audit(('$_'::json->>'record')::bigint, decode('$_'::json->>'hash', 'hex'))"), 0, 'later it is made up for') for (digests(@lines + 1))[-1];
$node->safe_psql('postgres', q{ALTER SYSTEM RESET gdpr.digest_command; SELECT pg_reload_conf()});

# ---------- a new month, while somebody reads ----------

my $reader = open_session($node, 'crm');
ask($reader, 'BEGIN; SELECT count(*) FROM gdpr.audit_log');
is($node->psql('crm', q{SET lock_timeout = '2s'; SELECT gdpr.audit_month('2031-02-01')}), 0, 'the month of a new record does not wait for those who read the trail');
close_session($reader);
is($node->safe_psql('crm', q{SELECT count(*) FROM pg_inherits WHERE inhparent = 'gdpr.audit_block'::regclass}), 2, 'and is a part of it');

# A database that is dropped with what waits of it
$node->safe_psql('postgres', 'CREATE DATABASE gone TEMPLATE crm');
my $gone = open_session($node, 'gone');
ask($gone, 'BEGIN; LOCK TABLE gdpr.audit_progress IN EXCLUSIVE MODE');
like($node->safe_psql('gone', q{SET gdpr.physical = on; SELECT count(*) FROM crm.person}), qr/^\d+$/, 'a copy');
close_session($lock);
close_session($gone);
$node->safe_psql('postgres', 'DROP DATABASE gone WITH (FORCE)');
write_log();
read_as('rest', 1);
is(records('rest', 1), 1, 'the others go on');

# Nobody has a trail any more
$node->safe_psql('crm', "CALL gdpr.unprotect('crm.$_')") for reverse @TABLES;
$node->safe_psql('crm', 'DROP EXTENSION gdpr CASCADE; DROP EXTENSION IF EXISTS gdpr_test');
$node->restart;
ok(comes_true($node, 'postgres', q{NOT EXISTS (SELECT FROM pg_replication_slots)}), 'without the extension, no log is kept');

done_testing();
