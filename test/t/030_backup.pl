# Backups taken before somebody was forgotten, restored afterwards.  With the
# current keystore everybody else reads what was there; the forgotten does not,
# in no table and no column.  Without a keystore nobody reads anything.
use strict;
use warnings;

use File::Find;
use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $persons = 20;
my $gone = 7;
my $partly = 9;
my $dumps = directory();

# The original server: a CRM, and every kind of backup of it.

my $main = new_server('main', allows_streaming => 1);
$main->start;
crm_database($main, 'crm', $persons);
my $id = $main->safe_psql('crm', 'SELECT id FROM gdpr.keystore_identity');
my $revealed = revealed($main, 'crm');
my $stored = stored($main, 'crm');
my $map = $main->safe_psql('crm', 'SELECT * FROM gdpr.data_map');
my $gone_number = number_of($main, 'crm', $gone);

my %dump_options = (
	custom => [ '-Fc' ],
	plain => [ '-Fp' ],
	inserts => [ '-Fp', '--inserts' ],
	column_inserts => [ '-Fp', '--column-inserts' ],
	directory => [ '-Fd', '-j2' ],
	schema_only => [ '-Fp', '--schema-only' ],
	data_only => [ '-Fp', '--data-only' ],
	data_inserts => [ '-Fp', '--data-only', '--column-inserts' ],
	data_disabled => [ '-Fp', '--data-only', '--disable-triggers' ]);
for my $name (sort keys %dump_options)
{
	$main->command_ok([ 'pg_dump', '-d', $main->connstr('crm'), @{ $dump_options{$name} }, '-f', "$dumps/$name" ],
		"pg_dump ($name)");
}
$main->backup('base');

# A session that may see everything does not make pg_dump write it.
$ENV{PGOPTIONS} = '-c gdpr.purpose=sales';
$main->safe_psql('crm', "SELECT gdpr.grant_purpose('sales', current_user)");
isnt($main->safe_psql('crm', 'SELECT count(email) FROM crm.person WHERE email ~ $$xample$$'), 0, 'control: this role sees values');
for my $name (qw(plain inserts directory))
{
	$main->command_ok([ 'pg_dump', '-d', $main->connstr('crm'), @{ $dump_options{$name} }, '-f', "$dumps/entitled_$name" ],
		"pg_dump ($name) by a role with a purpose");
}
delete $ENV{PGOPTIONS};
$main->safe_psql('crm', "SELECT gdpr.revoke_purpose('sales', current_user)");

sub plaintext_in
{
	my ($directory) = @_;
	my %bad;

	find({ no_chdir => 1, wanted => sub {
		my $file = $File::Find::name;
		return unless -f $file;
		my $bytes = $file =~ /\.gz$/ ? (run_command([ 'gzip', '-dc', $file ]))[0] : slurp_file($file);
		$bad{$file} = $& if $bytes =~ /xample\.test|Zwart|-zeilen|-0612|-Straat|-deur|-tekst|-groet|-dank|NL00BANK|photo-\d|1950-01-\d\d|70686f746f2d/;
	} }, $directory);
	return join(', ', map { "$_: $bad{$_}" } sort keys %bad);
}

# The custom format compresses: look into it as text, too.
$main->command_ok([ 'pg_restore', '-f', "$dumps/custom.txt", "$dumps/custom" ], 'the custom dump as text');
is(plaintext_in($dumps), '', 'no dump holds a value');
is(plaintext_in($main->backup_dir . '/base/base'), '', 'nor does the base backup');
$main->safe_psql('crm', q{CREATE TABLE public.control AS SELECT 'mail-1@xample.test' AS email});
$main->command_ok([ 'pg_dump', '-d', $main->connstr('crm'), '-Fd', '-t', 'public.control', '-f', "$dumps/control" ], 'pg_dump (control)');
isnt(plaintext_in("$dumps/control"), '', 'control: values of other tables are found in a dump');
$main->safe_psql('crm', 'DROP TABLE public.control');

# After the backups: one is forgotten, another in part; others come.

$main->safe_psql('crm', "SELECT gdpr.forget($gone_number); SELECT gdpr.forget(" . number_of($main, 'crm', $partly) . ", category => 'private')");
app($main, 'crm', "INSERT INTO crm.person (id, name, email) SELECT i, 'new' || i, 'new' || i FROM generate_series(101, 120) i");
my $handed_out = $main->safe_psql('crm', 'SELECT string_agg(gdpr.subject_number(gdpr_sealed)::text, $$,$$) FROM crm.person WHERE id > 100');

my $except = rows_of($gone, $persons);
my $partly_row = qr/^person $partly$/;
my $others = qr/$except|$partly_row/;
my $invoice = "SELECT iban, amount FROM crm.invoice WHERE id = $gone";
my $was_kept = 'NL00BANK7|21.00';

# Everything that must hold in a restored database.
sub check_restored
{
	my ($node, $database, $name) = @_;

	same_rows(stored($node, $database), $stored, undef, "$name: as it was stored, sealed once");
	same_rows(revealed($node, $database), $revealed, $others, "$name: all the others are read");
	is(dark($node, $database, $gone, $persons), 0, "$name: nothing of the forgotten is");
	is(app($node, $database, $invoice), $was_kept, "$name: but what is kept by law");
	is(app($node, $database, "SELECT name, city, salary, born, bio, photo IS NULL FROM crm.person WHERE id = $partly"),
		"Name-$partly-Zwart|city 4|1009.25|||t", "$name: of whom a category was forgotten, the rest is read");
	is(app($node, $database, "SELECT id FROM crm.person WHERE lower(email) = 'mail-3\@xample.test'"), 3, "$name: it can be searched");
	is($node->safe_psql($database, "SET ROLE nobody; SELECT count(email) + count(name) + count(bio) FROM crm.person"), 0,
		"$name: not without a purpose");
	return;
}

# And go on working.  $base: keys of rows that are not there yet.
sub check_works
{
	my ($node, $database, $name, $base) = @_;
	my $second = $base + 1;

	is($node->safe_psql($database, 'SELECT * FROM gdpr.data_map'), $map, "$name: the data map is there");
	app($node, $database, <<"SQL");
INSERT INTO crm.person (id, email, name, born) SELECT i, 'fresh-' || i, 'fresh', '1999-01-01' FROM generate_series($base, $base + 20) i;
INSERT INTO crm.orders VALUES ($base, $base, 'fresh address', 1), ($second, $second, 'fresh address', 2);
INSERT INTO crm.order_line VALUES ($base, $base, 'fresh remark');
INSERT INTO crm.invoice VALUES ($base, $base, 'fresh iban', 3);
UPDATE crm.person SET email = 'changed\@xample.test' WHERE id = 3;
SQL
	is(app($node, $database, "SELECT email, name, born, address, remark, iban FROM crm.person p JOIN crm.orders o ON o.person_id = p.id"
			. " JOIN crm.order_line l ON l.order_id = o.id JOIN crm.invoice i ON i.person_id = p.id WHERE p.id = $base"),
		"fresh-$base|fresh|1999-01-01|fresh address|fresh remark|fresh iban", "$name: new rows are read");
	is(app($node, $database, 'SELECT id FROM crm.person WHERE lower(email) = $$changed@xample.test$$'), 3, "$name: changed ones are found");
	is($node->safe_psql($database, "SET gdpr.physical = on; SELECT count(*) FROM crm.person WHERE id >= $base AND (email ~ 'fresh' OR name ~ 'fresh' OR born IS NOT NULL)"),
		0, "$name: and are sealed");
	is($node->safe_psql($database, "SELECT count(*), count(DISTINCT gdpr.subject_number(gdpr_sealed)), count(*) FILTER (WHERE gdpr.subject_number(gdpr_sealed) IN ($handed_out)) FROM crm.person WHERE id >= $base"),
		'21|21|0', "$name: under numbers that were never used");
	like(app_fails($node, $database, 'UPDATE crm.person SET born = $$1700-01-01$$ WHERE id = 3'), qr/violates check constraint/,
		"$name: a CHECK on values holds");
	like(app_fails($node, $database, "INSERT INTO crm.person (id, name, email) VALUES ($base + 50, 'x', 'MAIL-4\@xample.test')"), qr/duplicate key/,
		"$name: so does UNIQUE");
	for my $role (qw(origin replica))
	{
		my ($rc, $out, $err) = $node->psql($database, "SET session_replication_role = $role; ALTER TABLE crm.comment DISABLE TRIGGER ALL; INSERT INTO crm.comment VALUES (900, 1, 'in clear')");
		like($err, qr/violates check constraint "gdpr_sealed_check"/, "$name: and the one that refuses what is not sealed ($role)");
		$node->safe_psql($database, 'ALTER TABLE crm.comment ENABLE TRIGGER ALL; ALTER TABLE crm.comment ENABLE ALWAYS TRIGGER "!gdpr_open", ENABLE ALWAYS TRIGGER "~gdpr_seal", ENABLE ALWAYS TRIGGER "~gdpr_relink", ENABLE ALWAYS TRIGGER "~gdpr_relink_late"');
	}
	# forget, unprotect, protect
	my $number = number_of($node, $database, $second);
	$node->safe_psql($database, "SELECT gdpr.forget($number)");
	is(app($node, $database, "SELECT count(*) FROM crm.person p FULL JOIN crm.orders o ON o.person_id = p.id WHERE p.id = $second OR o.person_id = $second"), 0,
		"$name: somebody can be forgotten");
	$node->safe_psql($database, "SELECT gdpr.forget($gone_number)");
	is($node->safe_psql($database, "SET gdpr.physical = on; SELECT (SELECT count(*) FROM crm.person WHERE id = $gone), (SELECT count(*) FROM crm.order_line WHERE order_id = $gone), person_id IS NULL FROM crm.invoice WHERE id = $gone"),
		'0|0|t', "$name: and the rows that the backup brought back go when the forgotten is forgotten again");
	is(app($node, $database, $invoice), $was_kept, "$name: except what is kept by law");
	$node->safe_psql($database, q{CALL gdpr.unprotect('crm.comment')});
	is($node->safe_psql($database, 'SET gdpr.physical = on; SELECT count(*) FROM crm.comment WHERE body ~ $$^comment-\d+-tekst$$'), $persons - 1,
		"$name: a table can be unprotected");
	$node->safe_psql($database, q{CALL gdpr.protect('crm.comment')});
	is($node->safe_psql($database, 'SET gdpr.physical = on; SELECT count(*) FROM crm.comment WHERE body ~ $$^comment$$'), 0,
		"$name: and protected again");
	is(app($node, $database, "SELECT count(body) FROM crm.comment WHERE body ~ 'tekst'"), $persons - 1, "$name: then it is read as before");
	return;
}

# A dump beside the original, in the same server

$main->safe_psql('postgres', 'CREATE DATABASE beside');
$main->command_ok([ 'pg_restore', '-d', $main->connstr('beside'), "$dumps/custom" ], 'beside the original: pg_restore');
like(app_fails($main, 'beside', 'SELECT email FROM crm.person'), qr/keystore [0-9a-f-]+ belongs to database "crm".*SELECT gdpr\.fork_keystore\(\)/s,
	'beside the original: it does not get at the same keystore');
like(app_fails($main, 'beside', "INSERT INTO crm.person (id, name) VALUES (500, 'x')"), qr/belongs to database "crm"/,
	'beside the original: not for writing either');
isnt($main->psql('beside', "SELECT gdpr.forget($gone_number)"), 0, 'beside the original: nor for forgetting');
$main->safe_psql('beside', 'SELECT gdpr.fork_keystore()');
check_restored($main, 'beside', 'beside the original, forked');
check_works($main, 'beside', 'beside the original, forked', 200);
is(app($main, 'crm', 'SELECT email FROM crm.person WHERE id = 3'), 'mail-3@xample.test', 'beside the original, forked: that one is not touched');
is(dark($main, 'crm', 3, $persons) > 15, 1, 'beside the original, forked: it reads as before');
$main->safe_psql('beside', 'SELECT gdpr.forget(' . number_of($main, 'beside', 4) . ')');
is(app($main, 'crm', 'SELECT email FROM crm.person WHERE id = 4'), 'mail-4@xample.test',
	'beside the original, forked: forgetting in one does not reach the other');
$main->safe_psql('postgres', 'DROP DATABASE beside');

$main->safe_psql('postgres', 'CREATE DATABASE template_copy TEMPLATE crm');
like(app_fails($main, 'template_copy', 'SELECT email FROM crm.person'), qr/belongs to database "crm".*fork_keystore/s,
	'CREATE DATABASE TEMPLATE: the copy does not get at the same keystore');
$main->safe_psql('template_copy', 'SELECT gdpr.fork_keystore()');
same_rows(revealed($main, 'template_copy'), revealed($main, 'crm'), undef, 'CREATE DATABASE TEMPLATE, forked');
$main->safe_psql('postgres', 'DROP DATABASE template_copy');
is(app($main, 'crm', 'SELECT count(email) FROM crm.person'), $persons + 19, 'the original still reads everything');

# Another server with a copy of the current keystore

my $keys = copy_keys($main);
my $other = new_server('other');
put_keys($other, $keys);
$other->start;
$other->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE nobody LOGIN');

sub restore
{
	my ($node, $name, @files) = @_;

	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS restored');
	$node->safe_psql('postgres', 'CREATE DATABASE restored');
	for my $file (@files)
	{
		my @command = $file =~ /^(custom|directory)$/
		  ? ('pg_restore', '-e', $file eq 'directory' ? '-j2' : '-j1', '-d', $node->connstr('restored'), "$dumps/$file")
		  : ('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr('restored'), '-f', "$dumps/$file");
		$node->command_ok(\@command, "$name: restored ($file)");
	}
	return;
}

for my $restored ([ 'custom', 'custom' ], [ 'plain', 'plain' ], [ 'inserts', 'inserts' ], [ 'directory', 'directory' ], [ 'data only', 'schema_only', 'data_only' ], [ 'data only, INSERTs', 'schema_only', 'data_inserts' ],
	[ 'data only, triggers disabled', 'schema_only', 'data_disabled' ])
{
	my ($name, @files) = @$restored;

	restore($other, $name, @files);
	check_restored($other, 'restored', $name);
	check_works($other, 'restored', $name, 200) if $name =~ /^(custom|inserts|.* disabled)$/;
}

# Without a keystore

my $empty = directory();
chmod 0700, $empty;
restore($other, 'custom', 'custom');
$other->stop;
$other->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$empty'");
$other->start;
my $missing = qr/keystore "\Q$empty\E\/[0-9a-f-]+\.keystore" does not exist.*HINT:.*your copy of the keystore directory/s;
for my $sql ('SELECT email FROM crm.person', 'SELECT p FROM crm.person p', 'SELECT reply FROM crm.message WHERE reply IS NOT NULL',
	q{SELECT id FROM crm.person WHERE lower(email) = 'mail-1@xample.test'}, q{INSERT INTO crm.person (id, name) VALUES (600, 'x')},
	q{UPDATE crm.person SET name = 'x' WHERE id = 1}, "$invoice")
{
	like(app_fails($other, 'restored', $sql), $missing, "no keystore: $sql");
}
is(app($other, 'restored', 'SELECT count(*), max(city) FROM crm.person'), "$persons|city 4", 'no keystore: the rest can be read');
is($other->safe_psql('restored', 'SET ROLE nobody; SELECT count(email), count(name) FROM crm.person'), '0|0',
	'no keystore: who may not see values sees none, as ever');
same_rows(stored($other, 'restored'), $stored, undef, 'no keystore: nothing was changed');
$other->command_ok([ 'pg_dump', '-d', $other->connstr('restored'), '--inserts', '-f', "$dumps/again" ], 'no keystore: it can be dumped');
is(plaintext_in("$dumps/again"), '', 'no keystore: and that holds no value');
isnt($other->psql('restored', 'SELECT gdpr.create_keystore()'), 0, 'no keystore: none is made in its place');

# Not preloaded

$other->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$other->restart;
is($other->safe_psql('restored', 'SET ROLE app; SELECT count(*) FROM crm.person WHERE email ~ $$xample$$ OR name ~ $$Zwart$$ OR born IS NOT NULL OR salary IS NOT NULL'), 0,
	'not preloaded: tokens and placeholders');
my ($rc, $out, $err) = $other->psql('restored', "SET ROLE app; SET gdpr.purpose = 'sales'; INSERT INTO crm.person (id, name) VALUES (600, 'in clear')");
like($err, qr/gdpr must be loaded when the server starts/, 'not preloaded: nothing is written');
isnt($other->psql('restored', "ALTER TABLE crm.person DISABLE TRIGGER ALL; INSERT INTO crm.person (id, name) VALUES (600, 'in clear')"), 0,
	'not preloaded: not without triggers either');
$other->stop;
$other->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'gdpr'");
$other->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$other->{keys}'");
$other->start;
same_rows(revealed($other, 'restored'), $revealed, $others, 'keystore and library back');

# A foreign keystore under the name of ours cannot open anything: 011 has the
# messages; here, that nothing becomes NULL.
$other->stop;
my $foreign = new_server('foreign');
$foreign->start;
my $foreign_id = create_keystore($foreign);
$foreign->stop;
system_or_bail('cp', '-a', "$foreign->{keys}/$foreign_id.keystore", "$other->{keys}/$id.keystore");
system_or_bail('cp', '-a', "$foreign->{keys}/$foreign_id.kek.1", "$other->{keys}/$id.kek.1");
$other->start;
like(app_fails($other, 'restored', 'SELECT email FROM crm.person'), qr/is another keystore/, 'foreign keystore: an error, not NULL');
$other->stop;

# pg_basebackup

$main->stop;
my $base = PostgreSQL::Test::Cluster->new('base');
$base->init_from_backup($main, 'base');
$base->{keys} = directory();
chmod 0700, $base->{keys};
put_keys($base, $keys);
$base->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$base->{keys}'");
$base->start;
check_restored($base, 'crm', 'base backup');
check_works($base, 'crm', 'base backup', 200);

done_testing();
