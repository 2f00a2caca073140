# Databases that are renamed, copied, dropped and restored in their own server,
# a staging copy beside production, and tables that are rewritten: whose each
# keystore file is, and destroying one that belongs to no database any more.
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
my $main = new_server('main', allows_streaming => 1);
$main->start;
crm_database($main, 'crm', $persons);
my $id = $main->safe_psql('crm', 'SELECT id FROM gdpr.keystore_identity');
my $revealed = revealed($main, 'crm');
my $number = number_of($main, 'crm', $gone);
$main->command_ok([ 'pg_dump', '-Fc', '-d', $main->connstr('crm'), '-f', "$dumps/crm" ], 'a dump');

# Whose is it?  Asked in another database that has the extension.
$main->safe_psql('postgres', 'CREATE EXTENSION gdpr');
my $files = q{SELECT id, database, path ~ id::text, bytes > 8000, modified > now() - interval '1 hour' FROM gdpr.keystore_files() ORDER BY database};
my $destroy = "SELECT gdpr.destroy_keystore('$id')";
sub files { return $main->safe_psql('postgres', $files); }
is(files(), "$id|crm|t|t|t", 'keystore_files: the database and its file');
fails_with($main, $destroy, qr/keystore $id belongs to database "crm"/, qr/Drop the database first/, 'destroy_keystore, in use');
fails_with($main, $destroy, qr/keystore $id belongs to database "crm"/, undef, 'destroy_keystore, in use, from within', 'crm');
$main->restart;
fails_with($main, $destroy, qr/keystore $id belongs to database "crm"/, undef, 'destroy_keystore, in use, after a restart');
fails_with($main, q{SELECT gdpr.destroy_keystore('00000000-0000-4000-8000-000000000000')}, qr/does not exist/, qr/keystore_files/, 'destroy_keystore, no such file');
like(app_fails($main, 'crm', $destroy), qr/permission denied/, 'destroy_keystore is not for everybody');
like(app_fails($main, 'crm', $files), qr/permission denied/, 'nor is keystore_files');
$main->safe_psql('postgres', 'GRANT pg_monitor TO nobody');
is($main->safe_psql('postgres', "SET ROLE nobody; $files"), "$id|crm|t|t|t", 'but for pg_monitor');

# Also in a database that allows no connections
$main->safe_psql('postgres', 'ALTER DATABASE crm ALLOW_CONNECTIONS false');
fails_with($main, $destroy, qr/keystore $id belongs to database "crm"/, undef, 'destroy_keystore, in use by a database without connections');
$main->safe_psql('postgres', 'ALTER DATABASE crm ALLOW_CONNECTIONS true');

# A keystore that is being made is not taken away.
$main->safe_psql('postgres', 'CREATE DATABASE making');
$main->safe_psql('making', 'CREATE EXTENSION gdpr');
my $session = open_session($main, 'making');
my ($made) = ask($session, 'BEGIN; SELECT gdpr.create_keystore()') =~ /([0-9a-f-]{36})/;
my $waiting = open_session($main, 'postgres');
say_to($waiting, "SELECT gdpr.destroy_keystore('$made')");
ok($main->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'destroy_keystore' AND pid <> pg_backend_pid()}),
	'destroy_keystore waits for one that is being made');
ask($session, 'COMMIT');
like(ask($waiting), qr/belongs to database "making"/, 'and then finds whose it is');
close_session($_) foreach $session, $waiting;
$main->safe_psql('postgres', 'DROP DATABASE making');
$main->safe_psql('postgres', "SELECT gdpr.destroy_keystore('$made')");

# Renamed: the same database
$main->safe_psql('postgres', 'ALTER DATABASE crm RENAME TO crm2');
same_rows(revealed($main, 'crm2'), $revealed, undef, 'ALTER DATABASE RENAME');
is(files(), "$id|crm2|t|t|t", 'ALTER DATABASE RENAME: keystore_files');
$main->restart;
same_rows(revealed($main, 'crm2'), $revealed, undef, 'ALTER DATABASE RENAME, restarted');
$main->safe_psql('postgres', 'ALTER DATABASE crm2 RENAME TO crm');

# Copied: refused until it has its own, which has the same holes.
$main->safe_psql('crm', "SELECT gdpr.forget(" . number_of($main, 'crm', 11) . ")");
$revealed = revealed($main, 'crm');
$main->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE crm');
like(app_fails($main, 'copy', 'SELECT name FROM crm.person'), qr/belongs to database "crm".*fork_keystore/s, 'TEMPLATE: not the same keystore');
is(app($main, 'crm', 'SELECT count(name) FROM crm.person'), $persons - 1, 'TEMPLATE: the original reads');
my $fork = $main->safe_psql('copy', 'SELECT gdpr.fork_keystore()');
same_rows(revealed($main, 'copy'), $revealed, undef, 'TEMPLATE, forked: reads');
is(files(), "$fork|copy|t|t|t\n$id|crm|t|t|t", 'TEMPLATE, forked: keystore_files');
$main->safe_psql('crm', "SELECT gdpr.forget($number)");
is(app($main, 'copy', "SELECT name FROM crm.person WHERE id = $gone"), "Name-$gone-Zwart", 'TEMPLATE, forked: forgetting in one does not reach the other');
$main->safe_psql('copy', "SELECT gdpr.forget($number)");
is(app($main, 'copy', "SELECT count(*) FROM crm.person WHERE id = $gone"), 0, 'TEMPLATE, forked: it forgets by itself');
app($main, $_, q{INSERT INTO crm.person (id, name) SELECT i, 'new' FROM generate_series(101, 120) i}) foreach qw(crm copy);
my %seen;
$seen{$_}++ foreach map { split /\n/, $main->safe_psql($_, 'SELECT gdpr.subject_number(gdpr_sealed) FROM crm.person WHERE id > 100') } qw(crm copy);
is(scalar(keys %seen), 40, 'TEMPLATE, forked: no number of the one is one of the other');

# Dropped: the file stays, belongs to none, and can be destroyed.
$main->safe_psql('postgres', 'DROP DATABASE copy');
is(files(), "$id|crm|t|t|t\n$fork||t|t|t", 'DROP DATABASE: its keystore belongs to no database');
my $path = keystore_file($main, $fork);
link $path, "$dumps/linked" or die;
$main->safe_psql('postgres', "SELECT gdpr.destroy_keystore('$fork')");
is(files(), "$id|crm|t|t|t", 'destroy_keystore: it is gone');
is(join(' ', glob("$main->{keys}/$fork*")), '', 'destroy_keystore: with its key-encryption key');
like(slurp_file("$dumps/linked"), qr/^\0+$/, 'destroy_keystore: and was overwritten');
same_rows(revealed($main, 'crm'), $revealed, qr/${\ rows_of($gone, $persons) }|^person 1\d\d$/, 'destroy_keystore: the others are as they were');

# Dropped and restored: it takes its keystore over again; not used yet, too,
# it is not destroyed.
$main->safe_psql('postgres', 'DROP DATABASE crm; CREATE DATABASE again');
$main->command_ok([ 'pg_restore', '-e', '-d', $main->connstr('again'), "$dumps/crm" ], 'dropped, and restored under another name');
fails_with($main, $destroy, qr/belongs to database "again"/, undef, 'restored: its keystore is not destroyed');
same_rows(revealed($main, 'again'), $revealed, qr/${\ rows_of($gone, $persons) }|${\ rows_of(11, $persons) }|^person 1\d\d$/, 'restored: reads');
is(dark($main, 'again', $gone, $persons), 0, 'restored: the forgotten is dark');
is($main->safe_psql('again', 'SELECT gdpr.forget_again()'), 2, 'restored: and forgotten again, as the one before');
is(files(), "$id|again|t|t|t", 'restored: keystore_files');

# Tables that are rewritten
$revealed = revealed($main, 'again');
my $oid = $main->safe_psql('again', q{SELECT pg_relation_filenode('crm.person')});
$main->safe_psql('again', 'CLUSTER crm.orders USING orders_pkey; VACUUM FULL crm.person; VACUUM FULL gdpr.tombstone, gdpr.mapped_table, gdpr.mapped_column, gdpr.keystore_identity');
$main->safe_psql('again', 'REINDEX DATABASE again');
$main->safe_psql('again', 'ALTER TABLE crm.comment SET UNLOGGED; ALTER TABLE crm.comment SET LOGGED; REINDEX TABLE CONCURRENTLY crm.person');
isnt($main->safe_psql('again', q{SELECT pg_relation_filenode('crm.person')}), $oid, 'control: rewritten');
same_rows(revealed($main, 'again'), $revealed, undef, 'VACUUM FULL, CLUSTER, REINDEX, SET UNLOGGED');
is(app($main, 'again', q{SELECT id FROM crm.person WHERE lower(email) = 'mail-8@xample.test'}), 8, 'and searches');
$main->safe_psql('again', 'SELECT gdpr.forget(' . number_of($main, 'again', 8) . ')');
is(app($main, 'again', 'SELECT count(*) FROM crm.person WHERE id = 8'), 0, 'and forgets');

# Staging beside production: a base backup, a copy of the keystores, forked.
$revealed = revealed($main, 'again');
$main->backup('staging');
my $staging = PostgreSQL::Test::Cluster->new('staging');
$staging->init_from_backup($main, 'staging');
$staging->{keys} = copy_keys($main);
chmod 0700, $staging->{keys};
$staging->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$staging->{keys}'");
$staging->start;
same_rows(revealed($staging, 'again'), $revealed, undef, 'staging: reads');
$fork = $staging->safe_psql('again', 'SELECT gdpr.fork_keystore(own => true)');
$staging->safe_psql('postgres', "SELECT gdpr.destroy_keystore('$id')");
is($staging->safe_psql('postgres', $files), "$fork|again|t|t|t", 'staging: its own keystore only');
same_rows(revealed($staging, 'again'), $revealed, undef, 'staging, forked: reads');
$number = number_of($main, 'again', 3);
$main->safe_psql('again', "SELECT gdpr.forget($number)");
is(app($staging, 'again', 'SELECT name FROM crm.person WHERE id = 3'), 'Name-3-Zwart', 'staging: what production forgets, it has to forget itself');
$staging->safe_psql('again', "SELECT gdpr.forget($number)");
app($_, 'again', q{INSERT INTO crm.person (id, name) SELECT i, 'new' FROM generate_series(201, 220) i}) foreach $main, $staging;
$seen{$_}++ foreach map { split /\n/, $_->safe_psql('again', 'SELECT gdpr.subject_number(gdpr_sealed) FROM crm.person WHERE id > 200') } $main, $staging;
is(scalar(keys %seen), 80, 'staging: no number of the one is one of the other');

done_testing();
