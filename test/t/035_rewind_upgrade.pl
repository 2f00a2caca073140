# An old primary that is rewound to follow the new one; and pg_upgrade to a
# later major version, where one is there: of the pg_config programs in
# GDPR_UPGRADE_PG_CONFIG, else of Debian's packages.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $persons = 12;
my $primary = new_server('primary', allows_streaming => 1);
$primary->append_conf('postgresql.conf', "wal_log_hints = on\nwal_keep_size = '1GB'\n");
$primary->start;
crm_database($primary, 'crm', $persons);
my $revealed = revealed($primary, 'crm');
my %number = map { $_ => number_of($primary, 'crm', $_) } 1 .. $persons;
my %seen;

sub insert
{
	my ($node, $from) = @_;

	app($node, 'crm', "INSERT INTO crm.person (id, name) SELECT i, 'new' FROM generate_series($from, $from + 9) i");
	$seen{$_}++ foreach split /\n/, $node->safe_psql('crm', "SELECT gdpr.subject_number(gdpr_sealed) FROM crm.person WHERE id BETWEEN $from AND $from + 9");
	return;
}

# pg_rewind.  It brings the other's configuration along: the port and the
# keystore directory have to be put right.

$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->{keys} = copy_keys($primary);
$standby->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$standby->{keys}'");
$standby->start;
$primary->wait_for_catchup($standby);
$standby->promote;

insert($primary, 101);
$primary->safe_psql('crm', "SELECT gdpr.forget($number{3})");
insert($standby, 201);
$standby->safe_psql('crm', "SELECT gdpr.forget($number{5})");
$standby->safe_psql('postgres', 'CHECKPOINT');
$primary->stop;
my $conf = $primary->data_dir . '/postgresql.conf';
my $saved = slurp_file($conf);
command_ok([ 'pg_rewind', '--target-pgdata', $primary->data_dir, '--source-server', $standby->connstr('postgres') ], 'pg_rewind');
like(slurp_file($conf), qr/\Q$standby->{keys}\E/, 'pg_rewind brings the configuration of the source');
unlink $conf;
append_to_file($conf, $saved);
$primary->append_conf('postgresql.conf', "primary_conninfo = '" . $standby->connstr . "'\nhot_standby = on\ngdpr.standby_audit = 'off'\n");
$primary->set_standby_mode;
$primary->start;
$standby->wait_for_catchup($primary);

my $five = rows_of(5, $persons);
my $three = rows_of(3, $persons);
same_rows(revealed($primary, 'crm', [@TABLES]), revealed($standby, 'crm'), $three, 'rewound: reads what the new primary reads');
is(app($primary, 'crm', 'SELECT count(*) FROM crm.person WHERE id = 5'), 0, 'rewound: who was forgotten on the new primary is gone');
is($primary->safe_psql('crm', "SELECT gdpr_test.life($number{5})"), 'forgotten', 'rewound: from its own keystore, too');
is(app($standby, 'crm', 'SELECT name FROM crm.person WHERE id = 3'), 'Name-3-Zwart', 'what the old primary forgot alone, the new one never heard of');
is(dark($primary, 'crm', 3, $persons), 0, 'rewound: but its keystore stays punctured');
is($primary->safe_psql('crm', 'SELECT DISTINCT subject FROM gdpr.dark_rows()'), $number{3}, 'rewound: dark rows are listed, on a standby, too');

# Back again
$standby->stop;
$primary->promote;
is($primary->safe_psql('crm', 'SELECT gdpr.forget_again()'), 1, 'promoted again: the erasure that was lost is repeated');
is(app($primary, 'crm', 'SELECT count(*) FROM crm.person WHERE id = 3'), 0, 'promoted again: the rows are gone');
insert($primary, 301);
is(scalar(keys %seen), 30, 'no number twice, those that were lost included');
my $map = $primary->safe_psql('crm', 'SELECT * FROM gdpr.data_map');

# pg_upgrade

sub value_of { return (run_command([ $_[0], "--$_[1]" ]))[0]; }
sub major { return (value_of($_[0], 'version') =~ /PostgreSQL (\d+)/)[0]; }

my $here = major('pg_config');
my @later = sort { major($a) <=> major($b) } grep { -x $_ && major($_) > $here }
  $ENV{GDPR_UPGRADE_PG_CONFIG} ? split(/:/, $ENV{GDPR_UPGRADE_PG_CONFIG}) : glob('/usr/lib/postgresql/*/bin/pg_config');

# A server of the other version with the extension: that installation if it
# has it, else a copy of Debian's, where it is built and installed.
sub with_extension
{
	my ($config) = @_;
	my $version = major($config);

	return dirname(dirname(abs_path($config)))
	  if -e value_of($config, 'pkglibdir') . '/gdpr.so' && -e value_of($config, 'sharedir') . '/extension/gdpr.control';
	return unless -e dirname(value_of($config, 'pgxs')) . '/pgxs.mk' && -e value_of($config, 'includedir-server') . '/postgres.h'
	  && -d "/usr/lib/postgresql/$version" && -d "/usr/share/postgresql/$version";
	my $root = directory();
	my $log = "$root/make.log";
	my $source = dirname(dirname($FindBin::RealBin));
	return system('sh', '-c', <<'SH', 'sh', $root, $version, $source, $log) == 0 ? "$root/lib/postgresql/$version" : undef;
set -e
exec > "$4" 2>&1
mkdir -p "$1/lib/postgresql" "$1/share/postgresql" "$1/include" "$1/build"
cp -aL "/usr/lib/postgresql/$2" "$1/lib/postgresql/"
cp -aL "/usr/share/postgresql/$2" "$1/share/postgresql/"
ln -s /usr/include/postgresql "$1/include/postgresql"
cp -R "$3/Makefile" "$3/gdpr.control" "$3/src" "$3/sql" "$3/test" "$1/build/"
cd "$1/build"
find . -name '*.o' -o -name '*.so' -o -name '*.d' -o -name '*.bc' | xargs rm -f
for dir in . test/modules/gdpr_test
do
	make -C $dir -s with_llvm=no PG_CONFIG="$1/lib/postgresql/$2/bin/pg_config" all
	make -C $dir -s with_llvm=no PG_CONFIG="$1/lib/postgresql/$2/bin/pg_config" install
done
SH
}

SKIP:
{
	my $path = @later ? with_extension($later[0]) : undef;

	skip 'no later major version of PostgreSQL to upgrade to', 1 unless defined $path;
	my $new = PostgreSQL::Test::Cluster->new('new', install_path => $path);
	my @old_bin = value_of('pg_config', 'bindir');

	$new->init(extra => major($later[0]) >= 18 ? ['--no-data-checksums'] : []);
	$new->append_conf('postgresql.conf', <<"EOC");
shared_preload_libraries = 'gdpr'
gdpr.keystore_directory = '$primary->{keys}'
gdpr.worker_naptime = 100
EOC
	my $oids = $primary->safe_psql('crm', q{SELECT string_agg(relation::oid::text, ',' ORDER BY id) FROM gdpr.mapped_table});
	$primary->safe_psql('crm', q{CALL gdpr.unprotect('crm.comment')});
	my $former = $primary->safe_psql('crm', 'SELECT relation::text, count(*) FROM gdpr.former_number GROUP BY 1');
	my $before = revealed($primary, 'crm');
	my $keystore = $primary->safe_psql('crm', 'SELECT path FROM gdpr.keystore_status()');
	$primary->stop;
	chdir directory();
	command_ok([ "$path/bin/pg_upgrade", '--no-sync', '-b', @old_bin, '-B', "$path/bin", '-d', $primary->data_dir, '-D', $new->data_dir,
			'-p', $primary->port, '-P', $new->port, '-s', $new->host ], 'pg_upgrade to ' . major($later[0]));
	$new->start;
	is($new->safe_psql('crm', q{SELECT string_agg(relation::oid::text, ',' ORDER BY id) FROM gdpr.mapped_table}), $oids, 'upgraded: tables have their OIDs');
	is($new->safe_psql('crm', 'SELECT relation::text, count(*) FROM gdpr.former_number GROUP BY 1'), $former, 'upgraded: former numbers too');
	is($new->safe_psql('crm', 'SELECT path FROM gdpr.keystore_status() WHERE problem IS NULL AND pending = 0'), $keystore, 'upgraded: it has its keystore');
	same_rows(revealed($new, 'crm'), $before, undef, 'upgraded: everything is read');
	$new->safe_psql('crm', q{CALL gdpr.protect('crm.comment')});
	is($new->safe_psql('crm', 'SELECT * FROM gdpr.data_map'), $map, 'upgraded: the data map is there');
	same_rows(revealed($new, 'crm'), $before, undef, 'upgraded: and can be protected');
	is($new->safe_psql('crm', "SELECT count(*) FROM gdpr.tombstone"), 2, 'upgraded: tombstones');
	insert($new, 401);
	is(scalar(keys %seen), 40, 'upgraded: no number twice');
	is(app($new, 'crm', q{SELECT id FROM crm.person WHERE lower(email) = 'mail-8@xample.test'}), 8, 'upgraded: searches');
	$new->safe_psql('crm', "SELECT gdpr.forget($number{8})");
	is(app($new, 'crm', 'SELECT count(*) FROM crm.person WHERE id = 8'), 0, 'upgraded: forgets');
	is($new->safe_psql('crm', "SELECT gdpr_test.life($number{8})"), 'forgotten', 'upgraded: and destroys the key');
	isnt($new->psql('crm', "INSERT INTO gdpr.mapped_table (relation, key_columns) VALUES ('crm.person', '{id}')"), 0, 'upgraded: constraints of the map are there');
	like(($new->psql('crm', 'DROP EXTENSION gdpr CASCADE'))[2], qr/cannot drop extension gdpr/, 'upgraded: the extension is guarded');
	my $dump = directory() . '/dump';
	$new->command_ok([ 'pg_dump', '-Fc', '-d', $new->connstr('crm'), '-f', $dump ], 'upgraded: dumped');
	$new->safe_psql('postgres', 'DROP DATABASE crm; CREATE DATABASE crm');
	$new->command_ok([ 'pg_restore', '-e', '-d', $new->connstr('crm'), $dump ], 'upgraded: restored');
	same_rows(revealed($new, 'crm'), $before, qr/${\ rows_of(8, $persons) }|^person 4\d\d$/, 'upgraded: and read');
}

done_testing();
