# Dumps beyond those of 030: further formats and options, parts of a database,
# restores in parallel and by section, into a database that is there already,
# and of a whole server into an empty one with each kind of keystore.
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
my $dumps = directory();
my $main = new_server('main');
$main->start;
crm_database($main, 'crm', $persons);
$main->safe_psql('crm', q{ALTER ROLE app IN DATABASE crm SET gdpr.purpose = 'sales'});
my $id = $main->safe_psql('crm', 'SELECT id FROM gdpr.keystore_identity');
my $stale = copy_keys($main);
my $early = number_of($main, 'crm', 11);
$main->safe_psql('crm', "SELECT gdpr.forget($early)");
my $revealed = revealed($main, 'crm');
my $stored = stored($main, 'crm');
my $number = number_of($main, 'crm', $gone);
my $other_number = number_of($main, 'crm', 3);
$main->safe_psql('crm', qq{SELECT gdpr.put_outbox('mail', $other_number, '"Name-3-Zwart"'), gdpr.put_outbox('mail', $number, '"Name-$gone-Zwart"')});

sub dump_as
{
	my ($name, @options) = @_;

	$main->command_ok([ 'pg_dump', '-d', $main->connstr('crm'), @options, '-f', "$dumps/$name" ], "pg_dump ($name)");
	return;
}
dump_as('tar', '-Ft');
dump_as('rows', '-Fc', '--rows-per-insert=7', '--column-inserts', '--on-conflict-do-nothing');
dump_as('directory', '-Fd', '-j2');
dump_as('clean', '-Fp', '--clean', '--if-exists');
dump_as('schema', '-Fp', '-s');
dump_as('data', '-Fd', '-j2', '-a');
dump_as('one', '-Fc', '-t', 'crm.orders');
dump_as('crm_only', '-Fp', '-n', 'crm');
# two dumps of one trail: nothing may be added in between
$main->poll_query_until('crm', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'gdpr worker')});
dump_as('gdpr_only', '-Fp', '-a', '-n', 'gdpr', '-T', 'gdpr.audit_block_*');
dump_as('audit_only', '-Fp', '-t', 'gdpr.audit_block_*');
$main->command_ok([ 'pg_dumpall', '-d', $main->connstr('postgres'), '-f', "$dumps/all" ], 'pg_dumpall');
for my $name (qw(clean crm_only all))
{
	unlike(slurp_file("$dumps/$name"), qr/xample\.test|Zwart|-zeilen|-0612|-Straat|-deur|-tekst|-groet|-dank|NL00BANK/, "$name: holds no value");
}
my $keys = copy_keys($main);

# A new person, and one forgotten after the dumps.
$main->safe_psql('crm', "SELECT gdpr.forget($number)");
my $except = qr/${\ rows_of($gone, $persons) }/;
my $current = copy_keys($main);

my $other = new_server('other');
put_keys($other, $current);
$other->start;
$other->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE nobody LOGIN');

sub empty { $other->safe_psql('postgres', 'DROP DATABASE IF EXISTS crm; CREATE DATABASE crm'); return; }
sub restore
{
	my ($name, @options) = @_;
	$other->command_ok([ 'pg_restore', '-e', '-d', $other->connstr('crm'), @options ], "$name: restored");
	return;
}
sub psql_ok
{
	my ($name, @files) = @_;
	$other->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $other->connstr('crm'), map { ('-f', "$dumps/$_") } @files ], "$name: restored");
	return;
}

# Everything is there, the forgotten is dark, and goes; the rest works.
sub check
{
	my ($name) = @_;
	my $messages = q{SELECT string_agg(coalesce(gdpr.outbox_payload(id)::text, '-'), ' ' ORDER BY id) FROM gdpr.outbox};

	same_rows(stored($other, 'crm'), $stored, undef, "$name: as it was stored");
	same_rows(revealed($other, 'crm'), $revealed, $except, "$name: all the others are read");
	is(dark($other, 'crm', $gone, $persons), 0, "$name: nothing of the forgotten is");
	is($other->safe_psql('crm', $messages), '"Name-3-Zwart" -', "$name: nor in the outbox");
	is($other->safe_psql('crm', 'SELECT gdpr.forget_again()'), 1, "$name: who was forgotten is forgotten again");
	is($other->safe_psql('crm', $messages), '"Name-3-Zwart"', "$name: in the outbox, too");
	is($other->safe_psql('crm', "SELECT gdpr.put_outbox('mail', $other_number, '1')"), 3, "$name: whose ids go on");
	is(app($other, 'crm', "SELECT count(*) FROM crm.person WHERE id = $gone"), 0, "$name: and gone");
	app($other, 'crm', q{INSERT INTO crm.person (id, name, email) VALUES (500, 'fresh', 'fresh'); INSERT INTO crm.orders VALUES (500, 500, 'fresh', 1); UPDATE crm.person SET name = 'changed' WHERE id = 1});
	is(app($other, 'crm', q{SELECT name, address FROM crm.person p JOIN crm.orders o ON o.person_id = p.id WHERE lower(email) = 'fresh'; SELECT name FROM crm.person WHERE id = 1}),
		"fresh|fresh\nchanged", "$name: it goes on working");
	return;
}

empty();
restore('tar', "$dumps/tar");
check('tar');
empty();
restore('rows', "$dumps/rows");
check('rows per INSERT');

# By section, in parallel
empty();
restore("section $_", '-j2', "--section=$_", "$dumps/directory") foreach qw(pre-data data post-data);
check('by section, in parallel');

# Data alone, and in parallel, which foreign keys allow with triggers disabled
# only: rows may come before the data map, or parts of it.
for my $options ([ '-j1' ], [ '-j3', '--disable-triggers' ])
{
	empty();
	psql_ok('schema', 'schema');
	restore("data alone, @$options", '-a', @$options, "$dumps/data");
	is($other->safe_psql('crm', q{SELECT string_agg(DISTINCT tgenabled::text, '') FROM pg_trigger
			WHERE tgname ~ '^[!~]gdpr' OR tgname ~ '^(tombstone|keystore)'}), 'A', "data alone, @$options: our triggers fire always");
	check("data alone, @$options");
}

# Every table of the map before and after the rows
my @map = qw(mapped_table mapped_link mapped_column mapped_check category keystore_identity purpose purpose_grant);
my %map = map { $_ => $main->safe_psql('crm', "COPY gdpr.$_ TO STDOUT") } grep { $_ ne 'category' } @map;
$map{category} = $main->safe_psql('crm', 'COPY (SELECT * FROM gdpr.category WHERE id <> 15) TO STDOUT'); # as a dump has it
my %columns = map { $_ => $main->safe_psql('crm', "SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'crm.$_'::regclass AND attnum > 0") } @TABLES;
my %rows = map { $_ => $main->safe_psql('crm', "SET gdpr.physical = on; COPY crm.$_ ($columns{$_}) TO STDOUT") } @TABLES;
sub load
{
	my ($node, $table, $data) = @_;
	my ($rc, $out, $err) = $node->psql('crm', "COPY $table FROM STDIN;\n$data\n\\.\n");
	return $err;
}
for my $last (qw(mapped_table mapped_link mapped_column mapped_check))
{
	empty();
	psql_ok("all but $last", 'schema');
	load($other, "gdpr.$_", $map{$_}) foreach grep { $_ ne $last } @map;
	is(join('', map { load($other, "crm.$_ ($columns{$_})", $rows{$_}) } @TABLES), '', "all but $last: sealed rows are taken");
	if ($last eq 'mapped_column' || $last eq 'mapped_table')
	{
		like(app_fails($other, 'crm', q{INSERT INTO crm.person (id, name) VALUES (900, 'in clear')}), qr/has a guard but is not protected/,
			"all but $last: others are not");
		like(app_fails($other, 'crm', q{UPDATE crm.person SET name = 'in clear' WHERE id = 1}), qr/has a guard but is not protected|gdpr_sealed_check/,
			"all but $last: nor changed");
		is($other->safe_psql('crm', q{SELECT count(*) FROM crm.person WHERE name ~ 'Zwart'}), 0, "all but $last: and nothing is shown");
	}
	load($other, "gdpr.$last", $map{$last});
	is(app($other, 'crm', 'SELECT name FROM crm.person WHERE id = 1'), 'Name-1-Zwart', "all but $last: then it is complete");
}

# A dump with DROPs, over what is there: the guards are not dropped from tables
# that are protected.  Drop the schema first, or the whole database.
empty();
psql_ok('clean, into an empty database', 'clean');
my ($out, $err) = run_command([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $other->connstr('crm'), '-f', "$dumps/clean" ]);
like($err, qr/cannot drop trigger .* of protected table/, 'clean, over what is there: refused');
same_rows(stored($other, 'crm'), $stored, undef, 'clean, over what is there, refused: nothing happened');
$other->safe_psql('crm', 'DROP SCHEMA crm CASCADE; DROP EXTENSION gdpr CASCADE');
psql_ok('clean, when the schema is gone', 'clean');
same_rows(stored($other, 'crm'), $stored, undef, 'clean, when the schema is gone: as it was stored');
$other->command_ok([ 'pg_restore', '-e', '-C', '--clean', '--if-exists', '-d', $other->connstr('postgres'), "$dumps/tar" ], 'pg_restore --create --clean');
check('pg_restore --create --clean');

# One table, back into the database that it is from: as it is stored
empty();
restore('whole', "$dumps/tar");
$other->safe_psql('crm', 'SELECT gdpr.forget_again(); DELETE FROM crm.order_line; DELETE FROM crm.orders WHERE id < 10');
$other->safe_psql('crm', 'TRUNCATE crm.orders CASCADE');
$other->command_checks_all([ 'pg_restore', '-a', '-d', $other->connstr('crm'), "$dumps/one" ], 1, [], [qr/violates foreign key constraint/],
	'one table: rows of who is gone are not taken, as by any foreign key');
# so those that can be, by way of a database of their own
$other->safe_psql('postgres', 'CREATE DATABASE aside');
$other->command_ok([ 'pg_restore', '-e', '-d', $other->connstr('aside'), "$dumps/tar" ], 'one table: restored aside');
$other->command_ok([ 'psql', '-Xq', '-d', $other->connstr('aside'), '-c', 'SET gdpr.physical = on',
		'-c', "\\copy (SELECT $columns{orders} FROM crm.orders WHERE person_id <> $gone) TO $dumps/orders.txt" ], 'one table: copied out as it is stored');
$other->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $other->connstr('crm'), '-c', "\\copy crm.orders ($columns{orders}) FROM $dumps/orders.txt" ],
	'one table: and in');
same_rows(revealed($other, 'crm', [ 'orders', 'person' ]), $revealed, qr/^(?!orders|person)|$except/, 'one table: and read');
$other->safe_psql('postgres', 'DROP DATABASE aside');

# Without schema gdpr: what it shows is sealed, and it cannot be written.
empty();
($out, $err) = run_command([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $other->connstr('crm'), '-f', "$dumps/crm_only" ]);
like($err, qr/schema "gdpr" does not exist|type "gdpr.sealed" does not exist/, 'schema crm alone: needs the extension');
empty();
$other->safe_psql('crm', 'CREATE EXTENSION gdpr');
psql_ok('schema crm alone', 'crm_only');
is($other->safe_psql('crm', q{SELECT count(*), count(*) FILTER (WHERE name ~ 'Zwart' OR email ~ 'xample' OR born IS NOT NULL) FROM crm.person}), ($persons - 1) . '|0',
	'schema crm alone: tokens and placeholders');
like(app_fails($other, 'crm', q{INSERT INTO crm.person (id, name) VALUES (900, 'in clear')}), qr/not protected in the data map.*HINT/s, 'schema crm alone: nothing is written');
psql_ok('and schema gdpr', 'gdpr_only', 'audit_only');
cmp_ok($other->safe_psql('crm', 'SELECT count(*) FROM gdpr.audit_log'), '>', 0, 'schema crm, then the data of schema gdpr: the audit trail is there');
is($other->safe_psql('crm', 'SELECT count(*) FROM gdpr.verify_audit()'), 0, 'schema crm, then the data of schema gdpr: and holds');
check('schema crm, then the data of schema gdpr');

# Partitions, one of them with other column numbers
$other->safe_psql('postgres', 'CREATE DATABASE parts; CREATE DATABASE parts_restored');
create_keystore($other, 'parts');
$other->safe_psql('parts', <<'SQL');
CREATE TABLE person (id int, region int, name text, email text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE person_1 PARTITION OF person FOR VALUES IN (1);
CREATE TABLE person_2 (email text, id int NOT NULL, junk int, region int NOT NULL, name text);
ALTER TABLE person_2 DROP COLUMN junk;
ALTER TABLE person ATTACH PARTITION person_2 FOR VALUES IN (2);
INSERT INTO person VALUES (1, 1, 'ann', 'a@x'), (2, 2, 'bob', 'b@x');
GRANT ALL ON person TO app;
SELECT gdpr.declare_subject('person', key => 'id, region');
SELECT gdpr.declare_column('person', 'name', category => 'contact');
SELECT gdpr.declare_column('person', 'email', category => 'contact', searchable => true);
SELECT gdpr.create_purpose('sales', legal_basis => 'contract', categories => '{contact}');
SELECT gdpr.grant_purpose('sales', 'app');
CALL gdpr.protect('person');
SQL
$other->command_ok([ 'pg_dump', '-s', '-d', $other->connstr('parts'), '-f', "$dumps/parts_schema" ], 'partitions: schema');
$other->command_ok([ 'pg_dump', '-a', '-Fd', '-d', $other->connstr('parts'), '-f', "$dumps/parts_data" ], 'partitions: data');
$other->safe_psql('parts', q{SELECT gdpr.forget(gdpr.subject_number(gdpr_sealed)) FROM person WHERE id = 1});
$other->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $other->connstr('parts_restored'), '-f', "$dumps/parts_schema" ], 'partitions: schema restored');
$other->command_ok([ 'pg_restore', '-e', '-a', '-j3', '--disable-triggers', '-d', $other->connstr('parts_restored'), "$dumps/parts_data" ], 'partitions: data restored in parallel');
$other->safe_psql('parts_restored', 'SELECT gdpr.fork_keystore()');
is(app($other, 'parts_restored', q{SELECT id, name, email FROM person ORDER BY id; SELECT id FROM person WHERE email = 'b@x'}), "1||\n2|bob|b\@x\n2", 'partitions: read, the forgotten dark');
is($other->safe_psql('parts_restored', 'SELECT relation, rows FROM gdpr.dark_rows()'), 'person_1|1', 'partitions: listed');
is($other->safe_psql('parts_restored', 'SELECT gdpr.forget_again(); SELECT count(*) FROM person; SELECT DISTINCT tgenabled FROM pg_trigger WHERE tgname ~ $$gdpr_$$'), "1\n1\nA", 'partitions: forgotten again');
is(app($other, 'parts_restored', q{UPDATE person SET region = 1, name = 'rob' WHERE id = 2; SELECT name, email FROM person}), "rob|b\@x", 'partitions: rows move');
$other->stop;

# The whole server into an empty one: no keystore, foreign, stale, current

my $fresh = new_server('fresh');
$fresh->start;
$fresh->command_ok([ 'psql', '-Xq', '-o', '/dev/null', '-d', $fresh->connstr('postgres'), '-f', "$dumps/all" ], 'pg_dumpall into an empty server');
same_rows(stored($fresh, 'crm'), $stored, undef, 'no keystore: everything is there as it was stored');
like(app_fails($fresh, 'crm', 'SELECT name FROM crm.person'), qr/keystore "[^"]+" does not exist.*HINT/s, 'no keystore: an error');
is($fresh->safe_psql('crm', 'SET ROLE nobody; SELECT count(name), count(city) FROM crm.person'), '0|' . ($persons - 1), 'no keystore: what is not personal is read');
isnt($fresh->psql('crm', "SELECT gdpr.forget($number)"), 0, 'no keystore: nobody is forgotten');
like($fresh->safe_psql('crm', 'SELECT problem FROM gdpr.keystore_status()'), qr/does not exist/, 'no keystore: the status says so');

$fresh->safe_psql('postgres', 'CREATE DATABASE foreigner');
my $foreign = create_keystore($fresh, 'foreigner');
system_or_bail('cp', '-a', "$fresh->{keys}/$foreign.keystore", "$fresh->{keys}/$id.keystore");
system_or_bail('cp', '-a', "$fresh->{keys}/$foreign.kek.1", "$fresh->{keys}/$id.kek.1");
like(app_fails($fresh, 'crm', 'SELECT name FROM crm.person'), qr/is another keystore, $foreign.*HINT/s, 'foreign keystore: an error');

# Stale: older than a tombstone of the dump, which heals it.
system_or_bail("cp -a $stale/$id.* $fresh->{keys}/");
same_rows(revealed($fresh, 'crm'), $revealed, undef, 'stale keystore: all who lived at the time of the dump');
is($fresh->safe_psql('crm', "SELECT gdpr_test.life($early)"), 'forgotten', 'stale keystore: healed by the tombstones of the dump');
like(slurp_file($fresh->logfile), qr/destroyed the keys of 1 erasures that keystore $id did not have/, 'stale keystore: the log says so');
$fresh->stop;
system_or_bail("cp -a $current/$id.* $fresh->{keys}/");
$fresh->start;
same_rows(revealed($fresh, 'crm'), $revealed, $except, 'current keystore: the others are read');
is(dark($fresh, 'crm', $gone, $persons), 0, 'current keystore: the forgotten is dark');
is($fresh->safe_psql('crm', 'SELECT gdpr.forget_again()'), 1, 'current keystore: and is forgotten again');
is($fresh->safe_psql('crm', q{SET ROLE app; SHOW gdpr.purpose}, connstr => $fresh->connstr('crm') . ' user=app'), 'sales', 'the purpose of a role came along');

done_testing();
