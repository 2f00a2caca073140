# A keystore copy from before somebody was forgotten: the tombstones in the
# database heal it before any key is served.  The reverse, a backup of the
# database from before, is dark because the keystore has the hole.
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

my $persons = 12;
my $gone = 5;
my $partly = 8;

my $node = new_server('main', allows_streaming => 1);
$node->start;
crm_database($node, 'crm', $persons);
my $id = $node->safe_psql('crm', 'SELECT id FROM gdpr.keystore_status()');
my $path = keystore_file($node, $id);
my $revealed = revealed($node, 'crm');
my $gone_number = number_of($node, 'crm', $gone);
my $partly_number = number_of($node, 'crm', $partly);
my $except = rows_of($gone, $persons);
my $partly_row = qr/^person $partly$/;
my $others = qr/$except|$partly_row/;

# To tell whether keys of the forgotten are served, their rows must be there:
# the table is unlinked from forgetting by copying them back as they are stored.
$node->safe_psql('crm', <<'SQL');
SET gdpr.physical = on;
CREATE TABLE public.kept_person AS SELECT * FROM crm.person;
CREATE TABLE public.kept_orders AS SELECT * FROM crm.orders;
SQL

sub put_back
{
	my ($server) = @_;
	my $columns = 'id, email, name, born, born_at, profile, photo, phones, salary, active, bio, city, gdpr_sealed';

	$server->safe_psql('crm', <<"SQL");
SET gdpr.physical = on;
UPDATE crm.person p SET ($columns) = (SELECT $columns FROM public.kept_person WHERE id = $partly) WHERE id = $partly;
INSERT INTO crm.person ($columns) SELECT $columns FROM public.kept_person WHERE id = $gone;
INSERT INTO crm.orders (id, person_id, address, total, gdpr_sealed)
	SELECT id, person_id, address, total, gdpr_sealed FROM public.kept_orders WHERE person_id = $gone;
SQL
	return;
}

my $query = "SELECT coalesce(name, '-') || ' ' || coalesce(bio, '-') || ' ' || coalesce((SELECT address FROM crm.orders WHERE id = $gone), '-') FROM crm.person WHERE id = $gone";
my $partly_query = "SELECT coalesce(name, '-') || ' ' || coalesce(born::text, '-') || ' ' || coalesce(bio, '-') FROM crm.person WHERE id = $partly";
my $dark = '- - -';
my $light = app($node, 'crm', $query);
like($light, qr/^Name-$gone-Zwart \w+ \w+ address/, 'control: before, everything is read');
my $partly_light = app($node, 'crm', $partly_query);

my $old_keys = copy_keys($node);
$node->backup('before');
my $first_numbers = $node->safe_psql('crm', 'SELECT string_agg(gdpr.subject_number(gdpr_sealed)::text, $$,$$) FROM crm.person');

# Forgotten; others come, under numbers that the old copy has not leased.

$node->restart;
$node->safe_psql('crm', "SELECT gdpr.forget($gone_number); SELECT gdpr.forget($partly_number, category => 'private')");
put_back($node);
app($node, 'crm', "INSERT INTO crm.person (id, name) SELECT i, 'later' || i FROM generate_series(101, 110) i");
my $later_numbers = $node->safe_psql('crm', 'SELECT string_agg(gdpr.subject_number(gdpr_sealed)::text, $$,$$) FROM crm.person WHERE id > 100');
$node->backup('after');
my $new_keys = copy_keys($node);
is(app($node, 'crm', $query), $dark, 'the same rows, put back as they are stored, are dark after it');
is(app($node, 'crm', $partly_query), "Name-$partly-Zwart - -", 'and those of whom a category was forgotten, in part');

sub check_dark
{
	my ($server, $name) = @_;

	is(app($server, 'crm', $query), $dark, "$name: the forgotten is dark");
	is(app($server, 'crm', $partly_query), "Name-$partly-Zwart - -", "$name: so is the category");
	same_rows(revealed($server, 'crm'), $revealed, qr/$others|person \d\d\d/, "$name: the others are read");
	is($server->safe_psql('crm', "SELECT gdpr_test.life($gone_number), gdpr_test.life($partly_number)"), 'forgotten|partly',
		"$name: the keys are gone");
	return;
}

sub check_numbers
{
	my ($server, $name, $from) = @_;
	my $to = $from + 30;

	app($server, 'crm', "INSERT INTO crm.person (id, name) SELECT i, 'fresh' FROM generate_series($from, $to) i");
	is($server->safe_psql('crm', "SELECT count(DISTINCT gdpr.subject_number(gdpr_sealed)), count(*) FILTER (WHERE gdpr.subject_number(gdpr_sealed) IN ($first_numbers, $later_numbers)) FROM crm.person WHERE id BETWEEN $from AND $to"),
		'31|0', "$name: new numbers were never used");
	return;
}

my $asking = directory() . '/ask.sql';

# Sessions that ask from the first moment of the start on: what they were told.
sub asked_during_start
{
	my ($server, $sessions, $how_long) = @_;
	my @command = ('bash', '-c', 'for ((i = 0; i < 400; i++)); do psql -XAtq -f "$1" 2>&1 | sed "s/^/:/"; '
		. '[ -e "$2" ] && exit; done', 'ask', $asking, "$asking.stop");
	my @runs;
	my @out = map { '' } 1 .. $sessions;

	append_to_file($asking, "SET ROLE app; SET gdpr.purpose = 'sales'; $query;\n") unless -e $asking;
	local $ENV{PGDATABASE} = 'crm';
	local $ENV{PGHOST} = $server->host;
	local $ENV{PGPORT} = $server->port;
	for my $i (0 .. $sessions - 1)
	{
		push @runs, IPC::Run::start(\@command, '>', \$out[$i], '2>&1');
	}
	$server->start;
	select undef, undef, undef, $how_long;
	append_to_file("$asking.stop", '');
	$_->finish foreach @runs;
	unlink "$asking.stop";
	return join('', @out);
}

# The same server with the old copy

$node->stop;
put_keys($node, $old_keys);
is((slurp_file($path) eq slurp_file("$old_keys/$id.keystore")) ? 1 : 0, 1, 'old copy: it is in place');
my $asked = asked_during_start($node, 4, 1.5);
like($asked, qr/^:\Q$dark\E$/m, 'old copy: sessions ask while the server starts');
unlike($asked, qr/Name-|address/, 'old copy: and are never told');
check_dark($node, 'old copy');
like(slurp_file($node->logfile), qr/destroyed the keys of 2 erasures that keystore $id did not have/, 'old copy: the log says so');
check_numbers($node, 'old copy', 201);
isnt(slurp_file($path), slurp_file("$old_keys/$id.keystore"), 'old copy: the file has the holes');

# Nobody asks: the worker heals by itself.
$node->stop;
put_keys($node, $old_keys);
my $punctured = unpack('Q>', read_bytes($path, 40, 8));
$node->start;
my $healed = 0;
for (1 .. 100)
{
	my ($one, $two) = map { unpack('Q>', read_bytes($path, $_ + 40, 8)) } 0, 4096;
	$healed = $one >= $punctured + 2 && $two >= $punctured + 2;
	last if $healed;
	select undef, undef, undef, 0.1;
}
ok($healed, 'old copy: nobody asks, the worker heals it');
check_dark($node, 'old copy, healed by the worker');

# A forget with the old copy punctures in what it healed.
my $third = number_of($node, 'crm', 3);
$node->stop;
put_keys($node, $old_keys);
$node->start;
$node->safe_psql('crm', "SELECT gdpr.forget($third)");
is($node->safe_psql('crm', "SELECT gdpr_test.life($gone_number), gdpr_test.life($partly_number), gdpr_test.life($third)"),
	'forgotten|partly|forgotten', 'old copy: the first to use it forgets somebody');
$node->stop;

# Backups of the database with either copy of the keystore

sub from_backup
{
	my ($backup, $name, $keys) = @_;
	my $server = PostgreSQL::Test::Cluster->new("from_$name");

	$server->init_from_backup($node, $backup);
	$server->{keys} = directory();
	chmod 0700, $server->{keys};
	put_keys($server, $keys);
	$server->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$server->{keys}'");
	return $server;
}

my $server = from_backup('before', 'before_new', $new_keys);
$asked = asked_during_start($server, 2, 0.5);
unlike($asked, qr/Name-|address/, 'backup from before, current keystore: never told');
check_dark($server, 'backup from before, current keystore');
check_numbers($server, 'backup from before, current keystore', 301);
$server->stop;

$server = from_backup('after', 'after_old', $old_keys);
$asked = asked_during_start($server, 2, 0.5);
unlike($asked, qr/Name-|address/, 'backup from after, old keystore: never told');
check_dark($server, 'backup from after, old keystore');
check_numbers($server, 'backup from after, old keystore', 301);
$server->stop;

# What no software can prevent, and the reason to destroy old copies: this also
# shows that the tests above can fail.
$server = from_backup('before', 'before_old', $old_keys);
$server->start;
is(app($server, 'crm', $query), $light, 'control: an old backup with an old keystore and its key reads');
is(app($server, 'crm', $partly_query), $partly_light, 'control: the category too');
$server->stop;

# A rotation of the key-encryption key ends that.
$server = from_backup('after', 'rotated', $new_keys);
$server->start;
$server->safe_psql('crm', 'SELECT gdpr.rotate_key_encryption_key()');
$server->stop;
my $rotated = copy_keys($server);
put_keys($server, $rotated);
system_or_bail('cp', '-a', "$old_keys/$id.keystore", $server->{keys});
$server->start;
like(app_fails($server, 'crm', $query), qr/key-encryption key.*(does not exist|could not open|No such file)/si,
	'after a rotation of the key-encryption key, an old copy of the keystore does not open');
$server->stop;

done_testing();
