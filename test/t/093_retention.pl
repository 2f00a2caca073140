# Retention: runs that are out of time, interrupted, or meet others; what has
# changed since rows were listed; dumps from before and after; pg_cron.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $orders = 600;
my $dumps = directory();
my $node = new_server('main');
$node->start;

# Orders of odd ids are due.
sub retention_database
{
	my ($where, $database) = @_;

	$where->safe_psql('postgres', "CREATE DATABASE $database");
	create_keystore($where, $database);
	$where->safe_psql($database, <<"SQL");
DO \$\$ BEGIN IF to_regrole('app') IS NULL THEN CREATE ROLE app LOGIN; END IF; END \$\$;
CREATE TABLE person (id int PRIMARY KEY, name text);
CREATE TABLE orders (id int PRIMARY KEY, person_id int REFERENCES person, day date, note text);
CREATE TABLE invoice (id int PRIMARY KEY, person_id int REFERENCES person ON DELETE SET NULL, until date, addressee text);
CREATE INDEX ON orders (day);
INSERT INTO person SELECT i, 'Name-' || i || '-Zwart' FROM generate_series(1, $orders / 10) i;
INSERT INTO orders SELECT i, (i - 1) % ($orders / 10) + 1, CASE WHEN i % 2 = 1 THEN date '2001-01-01' + i % 7 ELSE current_date END, 'Note-' || i FROM generate_series(1, $orders) i;
GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
SELECT gdpr.declare_subject('person'), gdpr.declare_column('person', 'name', 'contact'),
	gdpr.declare_table('orders', via => 'person_id'), gdpr.declare_column('orders', 'note', 'content'),
	gdpr.declare_table('invoice', via => 'person_id', on_forget => 'keep', ground => 'tax law', keep_until => 'until'), gdpr.declare_column('invoice', 'addressee', 'contact');
SELECT gdpr.create_purpose('sales', 'contract', '{contact,content}'), gdpr.grant_purpose('sales', 'app');
SELECT gdpr.protect_now('person'), gdpr.protect_now('orders'), gdpr.protect_now('invoice');
CREATE TABLE number AS SELECT id, gdpr.subject('person', id::text) AS subject FROM person;
SELECT gdpr.set_retention('orders', '7 years', 'day', ground => 'the law');
SQL
	return;
}

sub due { return $node->safe_psql('shop', 'SELECT count(*) FILTER (WHERE id % 2 = 1), count(*) FILTER (WHERE id % 2 = 0) FROM orders'); }
sub run_retention
{
	my ($arguments, $database) = @_;
	my ($rc, $out, $err) = $node->psql($database || 'shop', 'CALL gdpr.run_retention(' . ($arguments || '') . ')');
	return $rc == 0 ? $err : "failed: $err";
}

# ---------- out of time ----------

retention_database($node, 'shop');
# how slow a deletion is
sub slow
{
	my ($seconds) = @_;
	$node->safe_psql('shop', "CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep($seconds); RETURN OLD; END'");
	return;
}

slow(0.05);
$node->safe_psql('shop', 'CREATE TRIGGER slow BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION slow()');
like(run_retention("budget => '3 s', batch => 5"), qr/time was up/, 'a budget ends a run, which says so');
my ($left, $others) = split /\|/, due();
cmp_ok($left, '<', $orders / 2, 'out of time: something is done');
cmp_ok($left, '>', 0, 'out of time: something is left');
is($node->safe_psql('shop', 'SELECT bool_or(complete), count(*) FROM gdpr.retention_run'), 'f|1', 'out of time: it is known');
is($node->safe_psql('shop', 'SELECT sum(rows_deleted) FROM gdpr.retention_result'), $orders / 2 - $left, 'out of time: progress is known');
cmp_ok($node->safe_psql('shop', q{SELECT count(*) FROM gdpr.retention_queue WHERE kind = 'rows'}), '>', 0, 'out of time: the rest is listed');

# what was listed is asked once more: one row is not due any more, one person is restricted, one row is another's now
my ($young, $restricted) = split /\n/, $node->safe_psql('shop', q{SELECT id FROM orders WHERE id % 2 = 1 AND id % 60 NOT IN (1, 3) ORDER BY id DESC LIMIT 2});
$node->safe_psql('shop', "UPDATE orders SET day = current_date WHERE id = $young; SELECT gdpr.restrict(subject) FROM number n JOIN orders o ON o.person_id = n.id WHERE o.id = $restricted");
my $stay = $node->safe_psql('shop', "SELECT count(*) FROM orders WHERE id % 2 = 1 AND (id = $young OR person_id = (SELECT person_id FROM orders WHERE id = $restricted))");

# ---------- two at once, a crash ----------

slow(0.03);
my $first = open_session($node, 'shop');
say_to($first, 'CALL gdpr.run_retention(batch => 5)');
ok(comes_true($node, 'shop', "(SELECT count(*) > 1 AND bool_or(ended_at IS NULL) FROM gdpr.retention_run)"), 'a second run goes on');
fails_with($node, 'CALL gdpr.run_retention()', qr/running in another session/, qr/retention_run/, 'two at once', 'shop');
ok(comes_true($node, 'shop', "(SELECT sum(r.rows_deleted) > 4 FROM gdpr.retention_result r WHERE r.run = (SELECT id FROM gdpr.retention_run ORDER BY started_at DESC LIMIT 1))"), 'it has done something');
$node->stop('immediate');
close_session($first);
$node->start;
($left) = split /\|/, due();
cmp_ok($left, '>', $stay, 'after a crash: something is left');
slow(0.001);
# one row is locked by somebody
my $locker = open_session($node, 'shop');
my $locked = $node->safe_psql('shop', "SELECT max(id) FROM orders WHERE id % 2 = 1 AND id <> $young AND person_id <> (SELECT person_id FROM orders WHERE id = $restricted)");
ask($locker, "BEGIN; SELECT 1 FROM orders WHERE id = $locked FOR UPDATE");
unlike(run_retention(), qr/failed|WARNING|time was up/, 'after a crash: the next run goes to the end, past what is locked');
is(due(), $stay + 1 . '|' . $orders / 2, 'what was due is gone, but what changed or is locked');
is($node->safe_psql('shop', "SELECT count(*) FROM orders WHERE id IN ($young, $restricted, $locked)"), 3, 'these are there');
is($node->safe_psql('shop', q{SELECT string_agg(complete::text, ',' ORDER BY started_at), count(*) FILTER (WHERE ended_at IS NULL) FROM gdpr.retention_run}), 'false,false,true|0', 'the interrupted run is known as one');
ask($locker, 'COMMIT');
run_retention();
is(due(), $stay . '|' . $orders / 2, 'what was locked is gone with the next run');

# somebody locks a row below one that goes: it is waited for only so long
$node->safe_psql('shop', q{CREATE TABLE part (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE CASCADE); INSERT INTO orders VALUES (9001, 1, '2001-01-01', 'x'), (9003, 1, '2001-01-01', 'y'); INSERT INTO part VALUES (1, 9001), (2, 9003)});
ask($locker, 'BEGIN; SELECT 1 FROM part WHERE id = 1 FOR UPDATE');
like(run_retention(), qr/1 rows could not/, 'a lock below a row: the run goes on');
is($node->safe_psql('shop', 'SELECT error, rows FROM gdpr.retention_errors'), '55P03|1', 'a lock below a row: it is known');
is($node->safe_psql('shop', 'SELECT id FROM orders WHERE id > 9000'), '9001', 'a lock below a row: the others are gone');
ask($locker, 'COMMIT');
run_retention();
is($node->safe_psql('shop', 'SELECT count(*) FROM orders WHERE id > 9000'), '0', 'a lock below a row: gone with the next run');
close_session($locker);

# ---------- backups ----------

# Person 5 has an invoice whose time is over, and is forgotten; 6 has one that is kept on; 7 loses all rows.
$node->safe_psql('shop', q{INSERT INTO invoice SELECT i, i, CASE i WHEN 5 THEN date '2020-01-01' ELSE 'infinity' END, 'Addressee-' || i FROM generate_series(5, 6) i});
$node->safe_psql('shop', q{INSERT INTO person VALUES (77, 'Name-77'); INSERT INTO number VALUES (77, gdpr.subject('person', '77'))});
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('shop'), '-f', "$dumps/before" ], 'a dump from before');
$node->safe_psql('shop', q{SELECT gdpr.forget(subject) FROM number WHERE id IN (5, 6); DELETE FROM person WHERE id = 77});
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('shop'), '-f', "$dumps/forgotten" ], 'a dump from after the persons were forgotten');
$node->safe_psql('shop', "CALL gdpr.run_retention(orphans_after => '1 day'); UPDATE gdpr.orphan SET since = since - interval '2 days'");
is($node->safe_psql('shop', 'SELECT n.id FROM gdpr.orphan o JOIN number n USING (subject)'), '77', 'the person without rows is noticed');
is($node->safe_psql('shop', 'SELECT id FROM invoice'), '6', 'the invoice is gone when its time is over, though the person was forgotten before');
like(run_retention("orphans_after => '1 day'"), qr/1 persons without rows forgotten/, 'the person without rows is forgotten');
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('shop'), '-f', "$dumps/after" ], 'a dump from after');
my $policies = $node->safe_psql('shop', 'SELECT * FROM gdpr.retention');
my $runs = $node->safe_psql('shop', 'SELECT count(*) FROM gdpr.retention_run');
$node->safe_psql('postgres', 'DROP DATABASE shop');

sub restored
{
	my ($name) = @_;

	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS shop');
	$node->safe_psql('postgres', 'CREATE DATABASE shop');
	$node->command_ok([ 'pg_restore', '-e', '-j2', '-d', $node->connstr('shop'), "$dumps/$name" ], "$name: restored");
	is($node->safe_psql('shop', 'SELECT problem IS NULL FROM gdpr.keystore_status()'), 't', "$name: with its keystore");
	return;
}

restored('before');
is(app($node, 'shop', q{SELECT i.id, i.addressee FROM invoice i ORDER BY 1}), "5|\n6|Addressee-6", 'before: what was kept of the forgotten is dark, as its time is over; the other is not');
is(app($node, 'shop', q{SELECT id, name FROM person WHERE id IN (5, 6, 7, 77) ORDER BY 1}), "5|\n6|\n7|Name-7-Zwart\n77|", 'before: so is who had no rows');
restored('forgotten');
is(app($node, 'shop', q{SELECT i.id, i.addressee FROM invoice i ORDER BY 1}), "5|\n6|Addressee-6", 'forgotten: dark too');
unlike(run_retention(), qr/failed|WARNING/, 'forgotten: a run');
is($node->safe_psql('shop', 'SELECT id FROM invoice'), '6', 'forgotten: the run removes it again');
restored('after');
is($node->safe_psql('shop', 'SELECT * FROM gdpr.retention'), $policies, 'after: the policies are in the dump');
is($node->safe_psql('shop', 'SELECT count(*) FROM gdpr.retention_run'), $runs, 'after: so are the runs');
is($node->safe_psql('shop', q{SELECT gdpr.set_retention('person', '1 year', 'last activity') > max(policy) FROM gdpr.retention}), 't', 'after: ids of policies go on');
unlike(run_retention(), qr/failed|WARNING/, 'after: a run');
$node->stop;

# ---------- pg_cron ----------

SKIP:
{
	my ($library) = run_command([ 'pg_config', '--pkglibdir' ]);

	skip 'pg_cron is not installed: package postgresql-N-cron', 1 unless -e "$library/pg_cron.so";
	for my $workers ('on', 'off')
	{
		$node = new_server("cron_$workers");
		$node->start;
		retention_database($node, 'shop');
		retention_database($node, 'other');
		fails_with($node, 'SELECT gdpr.schedule_retention()', qr/pg_cron is not installed/, qr/psql -X -d shop -c "CALL gdpr\.run_retention\(\)"/, 'without pg_cron', 'shop');
		$node->append_conf('postgresql.conf', "shared_preload_libraries = 'gdpr, pg_cron'\ncron.database_name = 'shop'\ncron.use_background_workers = $workers\ncron.host = '" . $node->host . "'\n");
		$node->restart;
		fails_with($node, 'SELECT gdpr.schedule_retention()', qr/pg_cron is not installed/, qr/CREATE EXTENSION pg_cron/, 'not created', 'shop');
		my (undef, undef, $error) = $node->psql('other', q{SELECT gdpr.schedule_retention('* * * * *', budget => '10 minutes', batch => 7)});
		like($error, qr/keeps its jobs in database "shop"/, 'pg_cron in another database');
		my ($statement) = $error =~ /(SELECT cron\.schedule_in_database\(.*\);)/;
		$node->safe_psql('shop', 'CREATE EXTENSION pg_cron');
		$node->safe_psql('shop', q{CREATE ROLE officer LOGIN; GRANT USAGE ON SCHEMA cron TO officer});
		fails_with($node, 'SET ROLE officer; SELECT gdpr.schedule_retention()', qr/permission denied/, undef, 'a role without the right', 'shop');
		$node->safe_psql('shop', q{GRANT EXECUTE ON FUNCTION gdpr.schedule_retention, gdpr.unschedule_retention TO officer});
		fails_with($node, 'SET ROLE officer; SELECT gdpr.schedule_retention()', qr/permission denied for procedure run_retention/, qr/GRANT EXECUTE ON PROCEDURE .* TO officer/, 'a role that may schedule, not run', 'shop');
		$node->safe_psql('shop', q{GRANT EXECUTE ON PROCEDURE gdpr.run_retention TO officer; GRANT EXECUTE ON FUNCTION gdpr.retention_step TO officer});
		fails_with($node, q{SELECT gdpr.schedule_retention('now and then')}, qr/invalid schedule/, undef, 'a schedule that is none', 'shop');
		is($node->safe_psql('shop', q{SET SESSION AUTHORIZATION officer; SELECT gdpr.schedule_retention() = gdpr.schedule_retention('* * * * *', batch => 9)}), 't', 'the job is made, and then replaced');
		# as the hint said
		$node->safe_psql('shop', $statement);
		is($node->safe_psql('shop', 'SELECT username, database FROM cron.job ORDER BY 1'), "officer|shop\n" . $node->safe_psql('shop', 'SELECT current_user') . '|other', 'whose jobs, and where');
		for my $database ('shop', 'other')
		{
			$node->poll_query_until($database, 'SELECT EXISTS (SELECT FROM gdpr.retention_run WHERE complete)') or die 'no run of pg_cron';
			is($node->safe_psql($database, 'SELECT count(*) FILTER (WHERE id % 2 = 1), count(*) FILTER (WHERE id % 2 = 0) FROM orders'), '0|' . $orders / 2, "$database: pg_cron ran it, workers $workers");
		}
		is($node->safe_psql('shop', 'SELECT DISTINCT role FROM gdpr.retention_run'), 'officer', 'as the role that scheduled it');
		$node->safe_psql('shop', 'SET SESSION AUTHORIZATION officer; SELECT gdpr.unschedule_retention()');
		fails_with($node, 'SET SESSION AUTHORIZATION officer; SELECT gdpr.unschedule_retention()', qr/has no job for retention/, undef, 'no job any more', 'shop');
		is($node->safe_psql('shop', 'SELECT database FROM cron.job'), 'other', 'the other is there');
		fails_with($node, 'SELECT gdpr.unschedule_retention()', qr/keeps its jobs in database "shop"/, qr/SELECT cron\.unschedule\('gdpr retention of other'\)/, 'from the other database', 'other');
		$node->stop;
	}
}

done_testing();
