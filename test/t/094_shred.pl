# Retention that reaches backups: what is over by the end of a month is unreadable
# in dumps and base backups from before, of everybody, by one destroyed key, and
# nothing that has to stay is lost.  The servers' clocks are set.
use strict;
use warnings;

use Config;
use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local 'timegm';

my $clock = directory() . '/clock.so';
system_or_bail($Config{cc}, '-shared', '-fPIC', '-O', '-o', $clock, "$FindBin::RealBin/../modules/clock.c");

# Starts a server at a time of its own, which goes on from there.
sub set_clock
{
	my ($time) = @_;
	my ($y, $m, $d, $h, $min, $s) = split /\D/, $time;

	$ENV{LD_PRELOAD} = $clock;
	$ENV{GDPR_TEST_CLOCK} = timegm($s, $min, $h, $d, $m - 1, $y) - time;
	return;
}

sub start_at
{
	my ($server, $time) = @_;
	local %ENV = %ENV;

	$server->stop if $server->{started};
	set_clock($time);
	$server->start;
	$server->{started} = 1;
	is($server->safe_psql('postgres', 'SELECT now()::date'), substr($time, 0, 10), "it is $time");
	return;
}

my $node = new_server('main', allows_streaming => 1);
$node->append_conf('postgresql.conf', "timezone = 'UTC'\nlog_timezone = 'UTC'\n");
my $dumps = directory();

sub run_retention
{
	my ($rc, $out, $err) = $node->psql('postgres', 'CALL gdpr.run_retention(' . ($_[0] || '') . ')');
	return $rc == 0 ? $err : "failed: $err";
}

# Which notes a database shows, of the rows that are there.
sub notes
{
	my ($server, $database) = @_;
	return app($server, $database || 'postgres', 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM visit WHERE note = $$note of $$ || id');
}

sub months
{
	return $node->safe_psql('postgres', 'SET gdpr.physical = on; SELECT string_agg(id || $$:$$ || to_char(x.month, $$YYMM$$), $$ $$ ORDER BY id) FROM visit v, gdpr.expiry(v.gdpr_sealed) x');
}

sub closed { return $node->safe_psql('postgres', 'SELECT string_agg(category || $$ $$ || month, $$, $$ ORDER BY 1) FROM gdpr.closed_months'); }

start_at($node, '2030-01-10 12:00:00');
create_keystore($node);
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN;
CREATE TABLE person (id int PRIMARY KEY, name text);
CREATE TABLE visit (id int PRIMARY KEY, person_id int REFERENCES person, day date, note text, phone text);
CREATE TABLE letter (id int PRIMARY KEY, person_id int REFERENCES person, body text);
CREATE INDEX ON visit (day);
INSERT INTO person SELECT i, 'name of ' || i FROM generate_series(1, 9) i;
GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
SELECT gdpr.declare_subject('person'), gdpr.declare_column('person', 'name', 'contact'),
	gdpr.declare_table('visit', via => 'person_id'), gdpr.declare_column('visit', 'note', 'content'),
	gdpr.declare_column('visit', 'phone', 'contact', searchable => true),
	gdpr.declare_table('letter', via => 'person_id'), gdpr.declare_column('letter', 'body', 'content');
SELECT gdpr.create_purpose('sales', 'contract', '{contact,content}'), gdpr.grant_purpose('sales', 'app');
SELECT gdpr.set_retention('visit', '1 year', 'day', 'shred', category => 'content', time_zone => 'UTC');
SELECT gdpr.protect_now('person'), gdpr.protect_now('visit'), gdpr.protect_now('letter');
INSERT INTO letter SELECT i, i, 'letter ' || i FROM generate_series(1, 9) i;
-- over in January: 1 to 5; at the end of January, to the second: 6; in February: 7; not begun: 8; over since long: 9
INSERT INTO visit SELECT i, i, d, 'note of ' || i, '0' || i FROM (VALUES
	(1, date '2029-01-10'), (2, '2029-01-11'), (3, '2029-01-12'), (4, '2029-01-13'), (5, '2029-01-14'), (6, '2029-01-31'), (7, '2029-02-20'),
	(8, NULL), (9, '2020-01-01')) v(i, d);
CREATE TABLE number AS SELECT id, gdpr.subject('person', id::text) AS subject FROM person;
SQL
is(months(), '1:3002 2:3002 3:3002 4:3002 5:3002 6:3002 7:3003 9:3002', 'values are sealed under the month in which they are over');
is(notes($node), '1 2 3 4 5 6 7 8 9', 'and are read');

# ---------- backups from before ----------

$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$dumps/before" ], 'a dump');
$node->backup('before');

# 2 is held, 3 restricted, 4 is kept for longer by its row, 5 is given back to its table's owner to fail
$node->safe_psql('postgres', <<'SQL');
SELECT gdpr.hold(subject, 'claim', '2031-01-01') FROM number WHERE id = 2;
SELECT gdpr.restrict(subject) FROM number WHERE id = 3;
UPDATE visit SET day = '2029-03-05' WHERE id = 4;
CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF OLD.id = 5 THEN RAISE ''no''; END IF; RETURN NEW; END';
CREATE TRIGGER stays BEFORE UPDATE ON visit FOR EACH ROW EXECUTE FUNCTION stays();
SQL
is(months(), '1:3002 2:3002 3:3002 4:3004 5:3002 6:3002 7:3003 9:3002', 'an UPDATE of the date moves the month');
like(run_retention(), qr/1 rows erased/, 'what is over is erased');
is(notes($node), '1 2 4 5 6 7 8', 'and nothing else (3 is restricted, and hidden)');
is(months(), '1:3002 4:3004 5:3002 6:3002 7:3003', 'what is held or restricted has no limit from then on');
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$dumps/held" ], 'a dump with it');

# ---------- the month is over ----------

start_at($node, '2030-02-01 00:00:30');
is($node->safe_psql('postgres', q{SELECT coalesce(category, '') || action || ' ' || rows FROM gdpr.retention_due ORDER BY 1}), "contentnone 1\ncontentnone 1\ncontentshred 3", 'what is due');
like(run_retention(), qr/2 rows erased/, 'erased on their day');
is(closed(), '', 'no key is destroyed by the first run in the month');
is(notes($node), '2 4 5 7 8', 'what has to stay is there');
run_retention();
is(closed(), '', 'nor by another one of that day');
start_at($node, '2030-02-02 03:00:00');
is(months(), '4:3004 5:3003 7:3003', 'a row that could not be erased is sealed anew');

# transactions that may have sealed something under the month
my $writer = open_session($node, 'postgres');
ask($writer, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM person LIMIT 1");
like(run_retention(), qr/not destroyed yet: a transaction does not end/, 'an old transaction is waited for');
is(months(), '4:3004 5:3003 7:3003', 'under a month to come');
close_session($writer);
# one that has written, and is idle, has no snapshot
$writer = open_session($node, 'postgres');
ask($writer, "BEGIN; INSERT INTO person VALUES (101, 'name')");
like(run_retention(), qr/not destroyed yet: a transaction does not end/, 'one that is idle, too');
close_session($writer);
$node->safe_psql('postgres', "BEGIN; INSERT INTO person VALUES (100, 'name'); PREPARE TRANSACTION 'p'");
like(run_retention(), qr/not destroyed yet: a transaction does not end/, 'a prepared one, too');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'p'");
is(closed(), '', 'no key was destroyed meanwhile');
is($node->safe_psql('postgres', q{SELECT relation, error FROM gdpr.retention_errors WHERE action = 'month'}), 'month|55P03', 'an officer sees that');
my $number = $node->safe_psql('postgres', 'SELECT subject FROM number WHERE id = 8');
my $derive = "SELECT string_agg((gdpr_test.derive($number, c.id, m) IS NOT NULL)::text, ' ' ORDER BY c.name, m) FROM gdpr.category c, unnest('{0,361,362,363}'::int[]) m WHERE c.name IN ('contact', 'content')";
is($node->safe_psql('postgres', $derive), 'true true true true true true true true', 'all keys live');

# ---------- closed ----------

my $standby = PostgreSQL::Test::Cluster->new('standby');
$node->backup('standby');
$standby->init_from_backup($node, 'standby', has_streaming => 1);
$standby->{keys} = copy_keys($node);
$standby->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$standby->{keys}'");
start_at($standby, '2030-02-02 03:00:00');
my $older_keys = copy_keys($node);

unlike(run_retention(), qr/not destroyed/, 'then the keys are destroyed');
is(closed(), 'content 2030-02-01', 'the month is closed');
is($node->safe_psql('postgres', "SELECT count(*) FROM gdpr.tombstone WHERE month IS NOT NULL"), 1, 'by one tombstone for everybody');
is($node->safe_psql('postgres', $derive), 'true true true true true false false true', 'the keys of one category are gone up to the month');
is(notes($node), '2 4 5 7 8', 'nothing is lost that has to stay');
is(app($node, 'postgres', 'SELECT count(*), count(body) FROM letter'), '9|8', 'nor values of the category that are kept without limit');
is(run_retention(), run_retention(), 'once is enough');
is($node->safe_psql('postgres', "SELECT count(*) FROM gdpr.tombstone WHERE month IS NOT NULL"), 1, 'still one tombstone');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
ok(wait_for($standby, $derive, 'true true true true true false false true'), 'they are gone on the standby, too');
$standby->stop;

# an older copy of the keystore
$node->stop;
put_keys($node, $older_keys);
$node->{started} = 0;
start_at($node, '2030-02-03 03:00:00');
is($node->safe_psql('postgres', $derive), 'true true true true true false false true', 'an older copy of the keystore is healed');

# ---------- the backups from before ----------

my $base = PostgreSQL::Test::Cluster->new('base');
$base->init_from_backup($node, 'before');
$base->{keys} = copy_keys($node);
$base->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$base->{keys}'");
start_at($base, '2030-02-04 12:00:00');
is(notes($base), '7 8', 'the base backup from before: what was over is dark, what was not is read');
is(app($base, 'postgres', 'SELECT count(*), count(note), count(phone) FROM visit'), '9|2|9', 'the base backup: of one category only');
is(app($base, 'postgres', 'SELECT count(*), count(body) FROM letter'), '9|9', 'the base backup: what has no limit is read');
is($base->safe_psql('postgres', 'SELECT count(*) FROM gdpr.dark_rows()'), 0, 'the base backup: nobody was forgotten');
is($base->safe_psql('postgres', 'SELECT gdpr.forget_again()'), 0, 'the base backup: nobody is forgotten again');
my ($rc, $out, $err) = $base->psql('postgres', 'CALL gdpr.run_retention()');
like($err, qr/7 rows erased/, 'the base backup: what was over is erased there');
is(app($base, 'postgres', "SELECT string_agg(id::text, ' ' ORDER BY id) FROM visit WHERE phone = '0' || id"), '1 2 3 4 5 6 7 8 9', 'the base backup: the rest is found');
is(app($base, 'postgres', "UPDATE visit SET note = 'note of ' || id WHERE id = 1; SELECT note FROM visit WHERE id = 1"), 'note of 1', 'the base backup: it can be written to');
$base->stop;

sub restore
{
	my ($name) = @_;
	$node->safe_psql('template1', 'DROP DATABASE postgres WITH (FORCE)');
	$node->safe_psql('template1', 'CREATE DATABASE postgres');
	my ($stdout, $stderr) = run_command([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', "$dumps/$name" ]);
	is($stderr, '', "$name: the dump is restored");
	return;
}
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$dumps/february" ], 'a dump from February');
restore('before');
is(notes($node), '7 8', 'the dump from before: what was over is dark, what was not is read');
is(app($node, 'postgres', 'SELECT count(*), count(note), count(phone) FROM visit'), '9|2|9', 'the dump: of one category only');
restore('held');
is(notes($node), '2 4 7 8', 'a dump with what was held has it');
restore('february');
is(notes($node), '2 4 5 7 8', 'a dump from after is whole');
is($node->safe_psql('postgres', "SELECT string_agg(category || ' ' || month, ', ') FROM gdpr.closed_months"), 'content 2030-02-01', 'and knows what is closed');

# ---------- kept for longer ----------

$node->safe_psql('postgres', q{SELECT gdpr.set_retention('visit', '3 years', 'day', 'shred', category => 'content', purpose => 'sales', time_zone => 'UTC')});
is($node->safe_psql('postgres', 'SELECT count(*) FROM gdpr.reseal'), 1, 'a longer policy is noted');
# somebody has a row
my $holder = open_session($node, 'postgres');
ask($holder, 'BEGIN; SELECT FROM visit WHERE id = 7 FOR UPDATE');
run_retention('batch => 2');
is(months(), '4:3204 5:3202 7:3003', 'a run seals all rows under later months, but one that is locked');
close_session($holder);
is($node->safe_psql('postgres', 'SELECT count(*) FROM gdpr.reseal'), 1, 'it is to be done again');
run_retention('batch => 2');
is(months(), '4:3204 5:3202 7:3203', 'then that one, too');
is($node->safe_psql('postgres', 'SELECT count(*) FROM gdpr.reseal'), 0, 'and it is done');
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$dumps/longer" ], 'a dump after the policy was made longer');

# ---------- kill -9 at every step of closing a month ----------

# a month for each attempt
my $month = 3;
my $done = 0;
for my $point (1 .. 30)
{
	start_at($node, sprintf('%d-%02d-01 03:00:00', 2030 + int(($month - 1) / 12), ($month - 1) % 12 + 1));
	run_retention();
	start_at($node, sprintf('%d-%02d-02 03:00:00', 2030 + int(($month - 1) / 12), ($month - 1) % 12 + 1));
	my $number = 360 + $month;
	$done = may_die($node, "SELECT gdpr_test.fault($point); CALL gdpr.run_retention()") == 0;
	my $tombstone = $node->safe_psql('postgres', "SELECT count(*) FROM gdpr.tombstone WHERE month = $number");
	my $lives = $node->safe_psql('postgres', "SELECT count(gdpr_test.derive(65536 * 3 + 5, c.id, $number)) FROM gdpr.category c WHERE c.name = 'content'");
	cmp_ok($tombstone + $lives, '==', 1, "killed at step $point: the keys are " . ($lives ? 'there' : 'gone'));
	is(notes($node), '2 4 5 7 8', "killed at step $point: nothing else is");
	$month++;
	last if $done;
}
ok($done, 'there is a last step');

# ---------- a table that cannot be looked through ----------

sub month_day { return sprintf('%d-%02d-%02d 03:00:00', 2030 + int(($month - 1) / 12), ($month - 1) % 12 + 1, $_[0]); }
$node->safe_psql('postgres', sprintf(<<'SQL', substr(month_day(10), 0, 10)));
CREATE FUNCTION may_fail(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN IF current_setting(''my.fail'', true) = ''on'' THEN RAISE ''no''; END IF; RETURN $1; END';
CREATE TABLE stuck (id int PRIMARY KEY, person_id int REFERENCES person, day date, remark text);
CREATE INDEX ON stuck (may_fail(id));
SELECT gdpr.declare_table('stuck', via => 'person_id'), gdpr.declare_column('stuck', 'remark', 'remarks');
SELECT gdpr.set_retention('stuck', '1 year', 'day', 'shred', time_zone => 'UTC'), gdpr.protect_now('stuck');
INSERT INTO stuck SELECT 1, 2, date '%s' - interval '1 year', 'what is held';
ALTER DATABASE postgres SET my.fail = 'on';
SQL
my $before = closed();
$month++;
start_at($node, month_day(1));
run_retention();
start_at($node, month_day(2));
like(run_retention(), qr/rows of table public\.stuck cannot be sealed anew: SQLSTATE P0001/, 'a table that fails is named');
is($node->safe_psql('postgres', q{SELECT relation, error FROM gdpr.retention_errors WHERE action = 'month'}), 'public.stuck|P0001', 'an officer sees it');
isnt(closed(), $before, 'other categories are closed');
unlike(closed(), qr/remarks/, 'its own is not');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET my.fail');
run_retention();
like(closed(), qr/remarks/, 'later it is');
is($node->safe_psql('postgres', q{SET gdpr.physical = on; SELECT count(*) FROM stuck s, gdpr.expiry(s.gdpr_sealed) x}), 0, 'and what is held is sealed anew');

restore('longer');
is(notes($node), '2 4 5 7 8', 'the dump from after the policy was made longer is whole');

$node->safe_psql('postgres', 'SELECT gdpr.lift_restriction(subject, informed_at => now()) FROM number WHERE id = 3');
is(notes($node), '2 3 4 5 7 8', 'also what was restricted');

# ---------- a clock that is wrong for a moment ----------

start_at($node, '2040-01-01 12:00:00');
like(run_retention(), qr/5 rows erased|4 rows erased/, 'a run years ahead');
like(run_retention(), qr/0 rows erased/, 'and another one');
isnt(closed(), 'content 2040-01-01', 'destroy no keys');

$node->stop;
done_testing();
