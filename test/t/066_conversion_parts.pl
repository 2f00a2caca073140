# The same as 065 for a partitioned table: protect, rotate_tokens and unprotect
# part after part, while rows are read, written, and move between partitions.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 1200;
my $dir = directory();
my $node = new_server('main');
$node->append_conf('postgresql.conf', "deadlock_timeout = 100ms\nmax_locks_per_transaction = 128\n");
$node->start;
create_keystore($node);
$node->safe_psql('postgres', <<"SQL");
CREATE ROLE app LOGIN;
CREATE TABLE account (id int, region text, email text, name text, n int DEFAULT 0, PRIMARY KEY (id, region), UNIQUE (email, region))
	PARTITION BY LIST (region);
CREATE TABLE account_north PARTITION OF account FOR VALUES IN ('north') WITH (fillfactor = 10);
CREATE TABLE account_south (n int DEFAULT 0, gone text, name text, email text, region text NOT NULL, id int NOT NULL) WITH (fillfactor = 10);
ALTER TABLE account_south DROP gone;
ALTER TABLE account ATTACH PARTITION account_south FOR VALUES IN ('south');
CREATE TABLE account_rest PARTITION OF account DEFAULT PARTITION BY HASH (region);
CREATE TABLE account_rest_0 PARTITION OF account_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0) WITH (fillfactor = 10);
CREATE TABLE account_rest_1 PARTITION OF account_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1) WITH (fillfactor = 10);
CREATE FUNCTION region(int) RETURNS text LANGUAGE sql IMMUTABLE AS \$\$ SELECT ('{north,south,east,west}'::text[])[1 + abs(\$1) % 4] \$\$;
INSERT INTO account SELECT i, region(i), 'u' || i, 'of u' || i FROM generate_series(1, $rows) i;
CREATE SEQUENCE new_id START 1000000;
GRANT ALL ON account TO app;
GRANT ALL ON SEQUENCE new_id TO app;
SELECT gdpr.declare_subject('account');
SELECT gdpr.declare_column('account', 'email', 'contact', searchable => true);
SELECT gdpr.declare_column('account', 'name', 'contact');
SELECT gdpr.create_purpose('sales', 'contract', ARRAY['contact']);
SELECT gdpr.grant_purpose('sales', 'app');
SQL
my $schema = dump_of('--schema-only', '-t', 'account*');
my $data = dump_of('--data-only', '-t', 'account*');

sub dump_of
{
	my ($out, $err) = run_command([ 'pg_dump', '-d', $node->connstr('postgres'), @_ ]);
	$out =~ s/^\\(?:un)?restrict .*$//mg;
	return $out;
}

# Rows 1 ... $rows: name is 'of ' and email, those of even ids never change;
# all of them move.  Emails s1 ... s10 come and go in every region.
my %scripts = (
	change => <<"SQL",
\\set id random(1, $rows / 2) * 2 - 1
\\set k random(1, 1000000)
UPDATE account SET email = 'u' || :id || '.' || :k, name = 'of u' || :id || '.' || :k WHERE id = :id;
SQL
	move => <<"SQL",
\\set id random(1, $rows)
\\set k random(1, 4)
UPDATE account SET region = region(:k), n = n + 1 WHERE id = :id;
SQL
	move_hidden => <<"SQL",
\\set id random(1, $rows)
\\set k random(1, 4)
BEGIN;
SET LOCAL gdpr.purpose = '';
UPDATE account SET region = region(:k), n = n + 1 WHERE id = :id;
COMMIT;
SQL
	find => <<"SQL",
\\set id random(1, $rows / 2) * 2
SELECT 1 / count(*) FROM account WHERE email = 'u' || :id AND name = 'of u' || :id;
SQL
	come_and_go => <<"SQL",
\\set k random(1, 10)
\\set r random(1, 4)
INSERT INTO account VALUES (nextval('new_id'), region(:r), 's' || :k, 'of s' || :k) ON CONFLICT (email, region) DO UPDATE SET n = account.n + 1;
\\set k random(1, 10)
DELETE FROM account WHERE email = 's' || :k;
SQL
	check => <<"SQL");
SELECT 1 / (count(*) = 0)::int FROM account WHERE name IS DISTINCT FROM 'of ' || email;
SELECT 1 / (count(*) = count(DISTINCT (email, region)) AND count(*) FILTER (WHERE id <= $rows) = $rows)::int FROM account;
SQL
append_to_file("$dir/$_.sql", $scripts{$_}) for keys %scripts;

sub is_right
{
	my ($name) = @_;

	is(app($node, 'postgres', "SELECT count(*) FILTER (WHERE name IS DISTINCT FROM 'of ' || email),
		count(*) - count(DISTINCT (email, region)), count(*) FILTER (WHERE id <= $rows) FROM account"), "0|0|$rows", "$name: every row is right");
	is(app($node, 'postgres', "SELECT count(*) FROM generate_series(2, $rows, 2) i WHERE 'u' || i =
		(SELECT a.email FROM account a WHERE a.email = 'u' || i)"), $rows / 2, "$name: and is found");
	return;
}

my ($out, $err) = ('', '');
my $load;
{
	local $ENV{PGOPTIONS} = '-c gdpr.purpose=sales';
	$load = IPC::Run::start(
		[ 'pgbench', '-n', '-T', 6, '-c', 4, '-j', 4, '-M', 'prepared', '--max-tries=100', '-U', 'app',
			(map { ('-f', "$dir/$_.sql\@" . ($_ eq 'check' ? 1 : 10)) } sort keys %scripts), $node->connstr('postgres') ],
		'>', \$out, '2>', \$err, IPC::Run::timeout(120));
}
$node->safe_psql('postgres', "CALL gdpr.protect('account', 50)");
is($node->safe_psql('postgres', 'SET gdpr.physical = on; SELECT count(*) FROM account WHERE gdpr_sealed IS NULL'), 0, 'protect sealed every row');
$node->safe_psql('postgres', 'CALL gdpr.rotate_tokens(50)');
$node->safe_psql('postgres', "CALL gdpr.unprotect('account', 50)");
is($node->safe_psql('postgres', "SELECT count(*) FROM account WHERE id % 2 = 0 AND email = 'u' || id"), $rows / 2, 'unprotect gave values back');
$node->safe_psql('postgres', "CALL gdpr.protect('account', 50)");
ok($load->finish, 'no client saw anything wrong') or diag($err);
like($out, qr/number of failed transactions: 0 /, 'nor did any fail');
my ($done) = $out =~ /transactions actually processed: (\d+)/;
cmp_ok($done // 0, '>', 100, 'they did something');
is_right('afterwards');
is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT gdpr_sealed::text) FROM account'), 0,
	'every row has an envelope of its own');
is($node->safe_psql('postgres', "SELECT count(*) - count(DISTINCT gdpr.subject_number(gdpr_sealed)) FROM account"), 0, 'and a number of its own');

# ---------- kill -9 between the parts ----------

for my $what ([ 'unprotect', "CALL gdpr.unprotect('account', 1)" ], [ 'protect', "CALL gdpr.protect('account', 1)" ],
	[ 'rotate_tokens', 'CALL gdpr.rotate_tokens(1)' ])
{
	my ($name, $call) = @$what;

	for my $part (0, 2)
	{
		my $condition = "rows_done > 0 AND part IN
			(SELECT relation::oid FROM gdpr.mapped_relation WHERE has_rows ORDER BY 1 OFFSET $part)";
		my $hold = hold_conversion($node, 'postgres', $condition);
		my $session = open_session($node, 'postgres');

		say_to($session, $call);
		ok(comes_true($node, 'postgres', "EXISTS (SELECT FROM gdpr.conversion WHERE $condition)"), "$name killed in part $part: is that far");
		$node->stop('immediate');
		$node->start;
		eval { $session->{run}->finish; };
		let_conversion_go($node, 'postgres', $hold);
		is_right("$name killed in part $part");
	}
	$node->safe_psql('postgres', $call);
	is_right("$name, repeated");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM gdpr.conversions'), 0, "$name, repeated: is at its end");
}

# ---------- back to what it was ----------

app($node, 'postgres', "DELETE FROM account WHERE id > $rows; UPDATE account SET region = region(id), email = 'u' || id, name = 'of u' || id, n = 0");
$node->safe_psql('postgres', "CALL gdpr.unprotect('account')");
is(dump_of('--schema-only', '-t', 'account*'), $schema, 'unprotect gives the schema back');
my $sorted = sub { join("\n", sort split(/\n/, $_[0])) };
is($sorted->(dump_of('--data-only', '-t', 'account*')), $sorted->($data), 'and the data');

$node->stop;
done_testing();
