# protect, rotate_tokens and unprotect while others read and write: what they
# see stays right, no value is there twice, a crash at any point is made good
# by the same call, and an older dump holds no token that can still be made.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 2000;
my $dir = directory();
my $node = new_server('main', allows_streaming => 1);
$node->append_conf('postgresql.conf', "deadlock_timeout = 100ms\nmax_locks_per_transaction = 128\n");
$node->start;
my $id = create_keystore($node);
$node->safe_psql('postgres', <<"SQL");
CREATE ROLE app LOGIN;
CREATE TABLE account (id int PRIMARY KEY, email text UNIQUE, name text, n int DEFAULT 0, phone text);
CREATE INDEX ON account (phone);
INSERT INTO account SELECT i, 'u' || i, 'of u' || i, 0, 't' || i % 100 FROM generate_series(1, $rows) i;
CREATE SEQUENCE new_id START 1000000;
GRANT ALL ON account TO app;
GRANT ALL ON SEQUENCE new_id TO app;
SELECT gdpr.declare_subject('account');
SELECT gdpr.declare_column('account', 'email', 'contact', searchable => true);
SELECT gdpr.declare_column('account', 'phone', 'contact', searchable => true);
SELECT gdpr.declare_column('account', 'name', 'contact');
SELECT gdpr.create_purpose('sales', 'contract', ARRAY['contact']);
SELECT gdpr.grant_purpose('sales', 'app');
SQL
my $schema = dump_of('--schema-only', '-t', 'account');
my $data = dump_of('--data-only', '-t', 'account');

sub dump_of
{
	my ($out, $err) = run_command([ 'pg_dump', '-d', $node->connstr('postgres'), @_ ]);
	$out =~ s/^\\(?:un)?restrict .*$//mg;
	return $out;
}

# ---------- load ----------

# Rows 1 ... $rows: name is 'of ' and email, those of even ids never change.
# Emails s1 ... s10 come and go.
my %scripts = (
	change => <<"SQL",
\\set id random(1, $rows / 2) * 2 - 1
\\set k random(1, 1000000)
UPDATE account SET email = 'u' || :id || '.' || :k, name = 'of u' || :id || '.' || :k WHERE id = :id;
UPDATE account SET n = n + 1 WHERE id = :id;
SQL
	find => <<"SQL",
\\set id random(1, $rows / 2) * 2
SELECT 1 / count(*) FROM account WHERE email = 'u' || :id AND name = 'of u' || :id;
SELECT 1 / (count(*) >= 10)::int FROM account WHERE phone = 't' || (:id % 100);
SQL
	duplicate => <<"SQL",
\\set id random(1, $rows / 2) * 2
INSERT INTO account SELECT nextval('new_id'), 'u' || :id, 'duplicate' ON CONFLICT (email) DO NOTHING;
INSERT INTO account VALUES (nextval('new_id'), 'u' || :id, 'duplicate') ON CONFLICT (email) DO UPDATE SET n = account.n + 1;
SQL
	come_and_go => <<"SQL",
\\set k random(1, 10)
INSERT INTO account VALUES (nextval('new_id'), 's' || :k, 'of s' || :k) ON CONFLICT (email) DO UPDATE SET n = account.n + 1;
\\set k random(1, 10)
DELETE FROM account WHERE email = 's' || :k;
SQL
	check => <<"SQL");
SELECT 1 / (count(*) = 0)::int FROM account WHERE name IS DISTINCT FROM 'of ' || email;
SELECT 1 / (count(*) = count(DISTINCT email) AND count(*) FILTER (WHERE id <= $rows) = $rows)::int FROM account;
SQL
append_to_file("$dir/$_.sql", $scripts{$_}) for keys %scripts;

sub start_load
{
	my ($seconds) = @_;
	my $load = { out => '', err => '' };

	local $ENV{PGOPTIONS} = '-c gdpr.purpose=sales';
	$load->{run} = IPC::Run::start(
		[ 'pgbench', '-n', '-T', $seconds, '-c', 4, '-j', 4, '-M', 'prepared', '--max-tries=20', '-U', 'app',
			(map { ('-f', "$dir/$_.sql\@" . ($_ eq 'check' ? 1 : 10)) } sort keys %scripts), $node->connstr('postgres') ],
		'>', \$load->{out}, '2>', \$load->{err}, IPC::Run::timeout(120));
	return $load;
}

sub finish_load
{
	my ($load, $name) = @_;

	ok($load->{run}->finish, "$name: no client saw anything wrong") or diag($load->{err});
	like($load->{out}, qr/number of failed transactions: 0 /, "$name: nor did any fail");
	my ($done) = $load->{out} =~ /transactions actually processed: (\d+)/;
	cmp_ok($done // 0, '>', 100, "$name: they did something");
	note($load->{out} =~ /(tps = .*)/ ? "$name: $done, $1" : '');
	return;
}

sub is_right
{
	my ($name) = @_;

	is(app($node, 'postgres', "SELECT count(*) FILTER (WHERE name IS DISTINCT FROM 'of ' || email),
		count(*) - count(DISTINCT email), count(*) FILTER (WHERE id <= $rows) FROM account"), "0|0|$rows", "$name: every row is right");
	is(app($node, 'postgres', "SELECT count(*) FROM generate_series(2, $rows, 2) i WHERE 'u' || i =
		(SELECT a.email FROM account a WHERE a.email = 'u' || i)"), $rows / 2, "$name: and is found");
	return;
}

my $load = start_load(6);
$node->safe_psql('postgres', "CALL gdpr.protect('account', 50)");
is($node->safe_psql('postgres', 'SET gdpr.physical = on; SELECT count(*) FROM account WHERE gdpr_sealed IS NULL OR email LIKE $$u%.%$$'),
	0, 'protect sealed every row');
my $old = $node->safe_psql('postgres', 'SET gdpr.physical = on; SELECT string_agg(email, $$ $$) FROM account WHERE id % 2 = 0 AND id <= 2000');
$node->safe_psql('postgres', 'CALL gdpr.rotate_tokens(50)');
my $new = $node->safe_psql('postgres', 'SET gdpr.physical = on; SELECT string_agg(email, $$ $$) FROM account');
my %old = map { $_ => 1 } split / /, $old;
is(scalar(grep { $old{$_} } split / /, $new), 0, 'rotate_tokens left no old token');
$node->safe_psql('postgres', "CALL gdpr.unprotect('account', 50)");
is($node->safe_psql('postgres', "SELECT count(*) FROM account WHERE id % 2 = 0 AND email = 'u' || id"), $rows / 2, 'unprotect gave values back');
$node->safe_psql('postgres', "CALL gdpr.protect('account', 50)");
finish_load($load, 'load');
is_right('afterwards');
is($node->safe_psql('postgres', 'SELECT count(*) FROM gdpr.former_number'), 0, 'no number is left over');

# ---------- a standby ----------

$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->{keys} = copy_keys($node);
$standby->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$standby->{keys}'");
$standby->append_conf('postgresql.conf', "gdpr.standby_audit = 'off'");
$standby->start;

my $reader = open_session($standby, 'postgres');
ask($reader, "SET ROLE app; SET gdpr.purpose = 'sales'; SET plan_cache_mode = force_generic_plan;
	PREPARE find AS SELECT count(*) FROM generate_series(2, $rows, 200) i JOIN account a ON a.email = 'u' || i AND a.name = 'of u' || i AND \$1");
sub standby_finds
{
	my ($name) = @_;

	$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
	is(ask($reader, 'EXECUTE find(true)'), $rows / 200, "the standby finds $name");
	return;
}
standby_finds('before');
my $holder = open_session($node, 'postgres');
my $worker = open_session($node, 'postgres');
ask($_, 'SELECT 1') for $holder, $worker;
my $hold = hold_conversion($node, 'postgres', 'rows_done = 0');
say_to($worker, 'CALL gdpr.rotate_tokens(5)');
wait_for($node, 'SELECT count(*) FROM gdpr.conversions', '1');
# the first batch has some rows
ask($holder, "BEGIN; SELECT count(*) FROM (SELECT FROM account WHERE id % 20 = 0 FOR UPDATE SKIP LOCKED) a");
let_conversion_go($node, 'postgres', $hold);
ok(wait_for($node, 'SELECT phase FROM gdpr.conversions', 'last rows'), 'batches do not wait for a lock on rows');
my ($done, $estimated, $pid) = split /\|/, $node->safe_psql('postgres', 'SELECT rows_done, rows_estimated, pid IS NOT NULL FROM gdpr.conversions');
cmp_ok($done, '>', $rows / 2, 'another session sees how many rows are done');
is($pid, 't', 'and that somebody is at it');
standby_finds('rows of both kinds');
ask($holder, 'COMMIT');
is(ask($worker), '', 'the rotation came to its end');
standby_finds('after the rotation');
is($standby->safe_psql('postgres', 'SELECT gdpr.token_epoch_lives(1), gdpr.token_epoch_lives(3)'), 'f|t', 'the old keys are gone there, too');
close_session($_) for $reader, $holder, $worker;
$standby->stop;

# ---------- kill -9 ----------

# Runs a call until a condition holds, and kills the server.
sub crash_when
{
	my ($call, $condition, $name) = @_;
	my $hold = hold_conversion($node, 'postgres', $condition);
	my $session = open_session($node, 'postgres');

	say_to($session, $call);
	ok(comes_true($node, 'postgres', "EXISTS (SELECT FROM gdpr.conversion WHERE $condition)"), "$name: is that far");
	$node->stop('immediate');
	$node->start;
	eval { $session->{run}->finish; };
	let_conversion_go($node, 'postgres', $hold);
	is_right($name);
	is($node->safe_psql('postgres', 'SELECT pid IS NULL FROM gdpr.conversions'), 't', "$name: its state says so");
	return;
}

for my $what ([ 'unprotect', "CALL gdpr.unprotect('account', 1)" ], [ 'protect', "CALL gdpr.protect('account', 1)" ],
	[ 'rotate_tokens', 'CALL gdpr.rotate_tokens(1)' ])
{
	my ($name, $call) = @$what;

	crash_when($call, 'rows_done > 0', "$name killed at the beginning");
	crash_when($call, 'rows_done > 700', "$name killed on its way");
	(my $fast = $call) =~ s/1\)/1000)/;
	crash_when($fast, "phase = 'last rows'", "$name killed at the end");
	crash_when($fast, "phase = 'old snapshots'", "$name killed at the very end") if $name eq 'rotate_tokens';
	$node->safe_psql('postgres', $call);
	is_right("$name, repeated");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM gdpr.conversions'), 0, "$name, repeated: is at its end");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM account a WHERE gdpr.subject_number(gdpr_sealed) IS NULL'), 0, 'all rows have their numbers');

# It does not wait for ever, if told so.
my $blocker = open_session($node, 'postgres');
ask($blocker, 'BEGIN; SELECT FROM account LIMIT 1');
fails_with($node, "SET lock_timeout = '200ms'; CALL gdpr.unprotect('account')", qr/lock timeout/, undef, 'unprotect with lock_timeout');
close_session($blocker);
is($node->safe_psql('postgres', 'SELECT count(*) FROM gdpr.conversions'), 0, 'and nothing was begun');

# ---------- an older dump ----------

sub tokens_in
{
	my ($file) = @_;
	my %tokens = map { $_ => 1 } slurp_file($file) =~ /\b([a-z2-7]{20})\b/g;
	return keys %tokens;
}

$node->safe_psql('postgres', 'VACUUM account');
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$dir/older" ], 'a dump');
cmp_ok(scalar(tokens_in("$dir/older")), '>=', $rows, 'it holds tokens');
$node->safe_psql('postgres', 'CALL gdpr.rotate_tokens()');
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$dir/newer" ], 'a dump after rotate_tokens');
my %dead = map { $_ => 1 } tokens_in("$dir/older");
is(scalar(grep { $dead{$_} } tokens_in("$dir/newer")), 0, 'of the same values it holds none of these tokens');
is($node->safe_psql('postgres', 'SELECT string_agg(e::text, $$ $$) FILTER (WHERE gdpr.token_epoch_lives(e)) = gdpr.token_epoch()::text
	FROM generate_series(1, gdpr.token_epoch()) e'), 't', 'the keystore can make tokens of the newest epoch only');

# Restored, it reads; what needs tokens says what heals it.
$node->safe_psql('template1', 'DROP DATABASE postgres WITH (FORCE)');
$node->safe_psql('template1', 'CREATE DATABASE postgres');
my ($out, $err) = run_command([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', "$dir/older" ]);
is($err, '', 'the older dump is restored');
is(app($node, 'postgres', "SELECT count(*) FROM account WHERE name = 'of ' || email AND id <= $rows"), $rows, 'every row reads');
like(app_fails($node, 'postgres', "SELECT id FROM account WHERE email = 'u2'"), qr/token key of column "email" was destroyed.*rotate_tokens/s,
	'a search says what to do');
like(app_fails($node, 'postgres', "INSERT INTO account VALUES (0, 'u2', 'of u2')"), qr/token key of column "email" was destroyed/,
	'and so does a new row');
$node->safe_psql('postgres', 'CALL gdpr.rotate_tokens()');
is_right('healed');
like(app_fails($node, 'postgres', "INSERT INTO account VALUES (0, 'u2', 'of u2')"), qr/duplicate key/, 'UNIQUE holds again');
is($node->safe_psql('postgres', 'SELECT (SELECT form FROM gdpr.mapped_table) = gdpr.token_epoch()'), 't', 'in the newest epoch');

# ---------- back to what it was ----------

app($node, 'postgres', "DELETE FROM account WHERE id > $rows; UPDATE account SET email = 'u' || id, name = 'of u' || id, n = 0, phone = 't' || id % 100");
$node->safe_psql('postgres', "CALL gdpr.unprotect('account')");
is(dump_of('--schema-only', '-t', 'account'), $schema, 'unprotect gives the schema back');
my $sorted = sub { join("\n", sort split(/\n/, $_[0])) };
is($sorted->(dump_of('--data-only', '-t', 'account')), $sorted->($data), 'and the data');

$node->stop;
done_testing();
