# The audit trail through crashes, restarts, load, and on a standby: no record
# twice, none lost of what was on disk.
use strict;
use warnings;

use File::Path;
use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('main', allows_streaming => 1);
$node->start;
crm_database($node, 'crm', 50);

# How many records with this actor there are, when at least so many have come.
sub records
{
	my ($server, $actor, $expected) = @_;
	my $query = "SELECT count(*) FROM gdpr.audit_log WHERE actor = '$actor' AND kind = 'access'";

	$server->poll_query_until('crm', "SELECT ($query) >= $expected");
	return $server->safe_psql('crm', $query);
}

sub read_as
{
	my ($server, $actor, $id) = @_;
	return app($server, 'crm', "SET gdpr.actor = '$actor'; SELECT name FROM crm.person WHERE id = $id");
}

is(read_as($node, 'one', 1), 'Name-1-Zwart', 'a person is read');
is(records($node, 'one', 1), 1, 'and it is recorded');

# ---------- crashes ----------

read_as($node, 'crash', 2);
$node->safe_psql('crm', 'CREATE TABLE flushed ()'); # what comes before is on disk
$node->stop('immediate');
$node->start;
is(records($node, 'crash', 1), 1, 'kill -9 after a read: the record is there, once');
is($node->safe_psql('crm', 'SELECT count(*) FROM gdpr.verify_audit()'), 0, 'and the chain holds');

# In a transaction that is never finished
my $session = open_session($node, 'crm');
ask($session, "SET ROLE app; SET gdpr.purpose = 'sales'; SET gdpr.actor = 'open'; BEGIN; SELECT name FROM crm.person WHERE id = 3");
$node->safe_psql('crm', 'CREATE TABLE flushed_again ()');
$node->stop('immediate');
eval { $session->{run}->finish; };
$node->start;
is(records($node, 'open', 1), 1, 'kill -9 in a transaction: the record is there');
is($node->safe_psql('crm', "SELECT outcome IS NULL FROM gdpr.audit_log WHERE actor = 'open'"), 't', 'and nobody says how it ended');

# A session that is ended from outside
$session = open_session($node, 'crm');
ask($session, "SET ROLE app; SET gdpr.purpose = 'sales'; SET gdpr.actor = 'ended'");
say_to($session, 'SELECT name, pg_sleep(60) FROM crm.person WHERE id = 4');
$node->poll_query_until('crm', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')});
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'});
is(records($node, 'ended', 1), 1, 'a session that was ended from outside: the record is there');
eval { $session->{run}->finish; };

# ---------- load, while workers are ended and the server is killed ----------

my $script = $node->basedir . '/read.sql';
append_to_file($script, <<'SQL');
\set id random(1, 49)
SELECT name FROM crm.person WHERE id = :id;
SQL

sub load
{
	my ($actor, $transactions) = @_;

	local $ENV{PGOPTIONS} = "-c role=app -c gdpr.purpose=sales -c gdpr.actor=$actor";
	return IPC::Run::start([ 'pgbench', '-n', '-c', 4, '-t', $transactions, '-f', $script, $node->connstr('crm') ], '>', \my $out, '2>', \my $err);
}

my $run = load('load', 2000);
for (1 .. 10)
{
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'gdpr worker'});
	select(undef, undef, undef, 0.1);
}
ok($run->finish, 'load while workers are ended');
is(records($node, 'load', 8000), 8000, 'every read has its record, once');
is($node->safe_psql('crm', "SELECT count(DISTINCT transaction) FROM gdpr.audit_log WHERE actor = 'load'"), 8000, 'of a transaction of its own');

for my $time (1 .. 3)
{
	$run = load("killed$time", 1000000);
	sleep 1;
	$node->stop('immediate');
	eval { $run->finish; };
	$node->start;
	read_as($node, "alive$time", 5);
	is(records($node, "alive$time", 1), 1, "killed under load, $time: the trail goes on");
	is($node->safe_psql('crm', "SELECT count(*) - count(DISTINCT transaction) FROM gdpr.audit_log WHERE actor = 'killed$time'"), 0, 'no record is twice');
	cmp_ok($node->safe_psql('crm', "SELECT count(*) FROM gdpr.audit_log WHERE actor = 'killed$time'"), '>', 100, 'and there are some');
}
is($node->safe_psql('crm', 'SELECT count(*) FROM gdpr.verify_audit()'), 0, 'the chain holds');
is($node->safe_psql('crm', "SELECT count(*) FROM gdpr.audit_log WHERE kind = 'gap'"), 0, 'there is no gap');

# Workers leave: nobody is in the way of whoever copies the database.
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE crm');
ok(1, 'the database can be copied');

# ---------- the log is gone ----------

$node->safe_psql('crm', q{UPDATE gdpr.audit_progress SET lsn = '0/1000028'});
$node->safe_psql('postgres', 'CHECKPOINT');
$node->stop;
unlink glob($node->data_dir . '/pg_wal/000000010000000000000001');
File::Path::remove_tree($node->data_dir . '/pg_replslot/gdpr_audit'); # it says that all before is stored
$node->start;
read_as($node, 'after', 6);
is(records($node, 'after', 1), 1, 'the log is gone: the trail goes on');
is($node->safe_psql('crm', "SELECT count(*) FROM gdpr.audit_log WHERE kind = 'gap'"), 1, 'and says that there is a gap');

# ---------- a standby ----------

$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->{keys} = copy_keys($node);
$standby->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$standby->{keys}'");
$standby->start;
read_as($node, 'primary', 7);
is(records($node, 'primary', 1), 1, 'read on the primary');
$node->wait_for_catchup($standby);
like(app_fails($standby, 'crm', 'SELECT name FROM crm.person WHERE id = 1'), qr/personal data is not revealed on a standby.*audit trail.*gdpr\.standby_audit/s, 'a standby reveals nothing');
is(app($standby, 'crm', 'SELECT count(*) FROM crm.person'), app($node, 'crm', 'SELECT count(*) FROM crm.person'), 'what is not personal is read');
is($standby->safe_psql('crm', "SET gdpr.standby_audit = 'off'; SELECT count(*) FROM gdpr.audit_log WHERE actor = 'primary'"), 1, 'the trail is there, too');
isnt($standby->psql('crm', 'SELECT count(*) FROM gdpr.audit_log'), 0, 'reading it cannot be recorded, either');
like(app_fails($standby, 'crm', "SET gdpr.standby_audit = 'off'"), qr/permission denied/, 'not everybody may turn that off');
is($standby->safe_psql('crm', "SET gdpr.standby_audit = 'off'; SET gdpr.purpose = 'sales'; SET ROLE app; SELECT name FROM crm.person WHERE id = 1"), 'Name-1-Zwart', 'a superuser may');
$node->stop('immediate');
$standby->promote;
is(read_as($standby, 'promoted', 8), 'Name-8-Zwart', 'promoted: it reveals');
is(records($standby, 'promoted', 1), 1, 'and records');
is($standby->safe_psql('crm', 'SELECT count(*) FROM gdpr.verify_audit()'), 0, 'the chain holds');

$standby->stop;

# ---------- the first keystore of a server ----------

my $new = new_server('new', allows_streaming => 1);
$new->adjust_conf('postgresql.conf', 'gdpr.worker_naptime', '1h');
$new->start;
create_keystore($new);
ok(wait_for($new, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'gdpr_audit'", '1'), 'the log is kept from the start');
$new->stop;
done_testing();
