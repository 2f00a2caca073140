# Subject numbers are never handed out twice; copies of keystores and
# databases: stale, restored, cloned, forked.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('main', allows_streaming => 1);
$node->start;
my $id = create_keystore($node);

sub sql { return $node->safe_psql($_[1] || 'postgres', $_[0]); }

# Every number handed out is collected here; a second one is an error.
sql('CREATE TABLE handed_out (number bigint PRIMARY KEY)');
my %given;
my $twice = 0;

sub give
{
	my ($server, $count, $database) = @_;
	for my $number (split /\n/, $server->safe_psql($database || 'postgres',
			"SELECT gdpr_test.next_number() FROM generate_series(1, $count)"))
	{
		$twice++ if $given{$number}++;
	}
	return;
}

is(sql('SELECT gdpr_test.next_number()'), 65536, 'the first number');
$given{65536} = 1;
is(sql('BEGIN; SELECT gdpr_test.next_number(); ROLLBACK'), 65537, 'the second');
is(sql('SELECT gdpr_test.next_number()'), 65538, 'a rolled-back one is not given again');
sql('CREATE ROLE app; CREATE TABLE t (n bigint DEFAULT gdpr_test.next_number(), x int); GRANT INSERT ON t TO app; GRANT USAGE ON SCHEMA gdpr_test TO app');
sql('SET ROLE app; INSERT INTO t (x) VALUES (1)');
is(sql('SELECT n FROM t'), 65539, 'whoever may insert a person draws a number');
sql('BEGIN READ ONLY; SELECT gdpr_test.derive(65536); COMMIT');

# A block is used up: the next one follows, whoever draws.
sql('INSERT INTO handed_out SELECT gdpr_test.next_number() FROM generate_series(1, 65530)');
is(sql('SET ROLE app; INSERT INTO t (x) SELECT 1 FROM generate_series(1, 10); SELECT gdpr_test.next_number()'), 131072 + 8,
	'the next block, leased by a role without rights on it');
is(sql('SELECT last_value FROM gdpr.number_high_water'), 196607, 'the database knows how far');

# Concurrent sessions
my $script = PostgreSQL::Test::Utils::tempdir() . '/draw.sql';
append_to_file($script, 'INSERT INTO handed_out SELECT gdpr_test.next_number() FROM generate_series(1, 1000);' . "\n");
$node->command_ok([ 'pgbench', '-n', '-c', 4, '-j', 2, '-t', 40, '-f', $script, 'postgres' ],
	'four sessions draw 160,000 numbers, none twice');

# Crashes
for (1 .. 3)
{
	give($node, 10);
	$node->stop('immediate');
	$node->start;
	give($node, 10);
}
for my $point (1 .. 4)
{
	may_die($node, "SELECT gdpr_test.fault($point, 'die_halfway'); "
		. 'INSERT INTO handed_out SELECT gdpr_test.next_number() FROM generate_series(1, 70000)');
	give($node, 10);
}
is($twice, 0, 'none twice across crashes of the server and while leasing');
is(sql('SELECT max(number) < (SELECT last_value FROM gdpr.number_high_water) FROM handed_out'), 't',
	'the high-water mark is above all of them');

# A stale copy of the keystore
$node->stop;
my $stale = copy_keys($node);
$node->start;
sql('SELECT gdpr.puncture_at_commit(65536)');
sql('INSERT INTO handed_out SELECT gdpr_test.next_number() FROM generate_series(1, 70000)');
give($node, 10);
my $living = sql('SELECT gdpr_test.derive(65537)');
$node->stop;
put_keys($node, $stale);
my $log = -s $node->logfile;
$node->start;
is(sql('SELECT gdpr_test.derive(65536) IS NULL'), 't', 'a stale copy never serves the key of someone forgotten');
is(sql('SELECT gdpr_test.derive(65537)'), $living, 'others derive as before');
give($node, 10);
is($twice, 0, 'a stale copy hands out no number again');
$node->stop;
put_keys($node, $stale);
$node->start;
for (1 .. 100)
{
	last if slurp_file($node->logfile, $log) =~ /destroyed the keys of 1 erasures.*destroyed the keys of 1 erasures/s;
	select undef, undef, undef, 0.1;
}
like(slurp_file($node->logfile, $log), qr/destroyed the keys of 1 erasures.*destroyed the keys of 1 erasures/s,
	'a stale copy heals at the start without being asked');

# A base backup, restored beside and with a stale or current copy of the keys
$node->backup('before');
my $keys_before = copy_keys($node);
my $doomed = sql('SELECT gdpr_test.derive(70000)');
sql('SELECT gdpr.puncture_at_commit(70000)');
give($node, 10);
my $timeline = sql('SELECT owner_timeline FROM gdpr.keystore_status()');
my $keys_after = copy_keys($node);
{
	my $restored = PostgreSQL::Test::Cluster->new('restored');
	$restored->init_from_backup($node, 'before', has_restoring => 1, standby => 0);
	$restored->append_conf('postgresql.conf', "restore_command = '/bin/false'\ngdpr.keystore_directory = '$keys_after'");
	$restored->start;
	is($restored->safe_psql('postgres', 'SELECT gdpr_test.derive(70000) IS NULL'), 't',
		'a base backup from before the forget, with the current keystore: dark');
	is($restored->safe_psql('postgres', 'SELECT gdpr_test.derive(65537)'), $living, 'the others are there');
	give($restored, 10);
	is($twice, 0, 'no number again, on another timeline');
	cmp_ok($restored->safe_psql('postgres', 'SELECT owner_timeline FROM gdpr.keystore_status()'), '>', $timeline,
		'and the keystore knows its timeline');
	$restored->stop;

	# With the old keystore everything opens: the limit that doc/security names.
	$restored->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$keys_before'");
	$restored->start;
	is($restored->safe_psql('postgres', 'SELECT gdpr_test.derive(70000)'), $doomed,
		'an old backup with an old keystore and its key opens');
	# ... until the tombstones arrive
	$restored->safe_psql('postgres', 'INSERT INTO gdpr.tombstone (number) VALUES (70000)');
	is($restored->safe_psql('postgres', 'SELECT gdpr_test.derive(70000) IS NULL'), 't', 'until the tombstone arrives');
	my $empty = directory();
	chmod 0700, $empty;
	$restored->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$empty'");
	$restored->restart;
	fails_with($restored, 'SELECT gdpr_test.derive(65537)', qr/does not exist/, qr/put/i, 'without a keystore');
	$restored->stop;
}

# Copies of the database in the same server
sql('CREATE TABLE marker (x int)');
sql('CREATE DATABASE copy TEMPLATE postgres', 'template1');
fails_with($node, 'SELECT gdpr_test.derive(65537)', qr/keystore $id belongs to database "postgres"/,
	qr/SELECT gdpr\.fork_keystore\(\)/, 'a copied database', 'copy');
like(sql('SELECT problem FROM gdpr.keystore_status()', 'copy'), qr/belongs to database/, 'its status says it');
fails_with($node, 'SELECT gdpr_test.next_number()', qr/belongs to database "postgres"/, undef, 'nor does it draw numbers', 'copy');
fails_with($node, 'SELECT gdpr.puncture_at_commit(65537)', qr/belongs to database "postgres"/, undef, 'nor forget', 'copy');
$node->restart;
fails_with($node, 'SELECT gdpr_test.derive(65537)', qr/belongs to database "postgres"/, undef,
	'also when it comes first after a start', 'copy');
is(sql('SELECT gdpr_test.derive(65537)'), $living, 'the original works');

my @files = glob("$node->{keys}/*");
sql('BEGIN; SELECT gdpr.fork_keystore(); SELECT gdpr_test.derive(65537); ROLLBACK', 'copy');
is_deeply([ glob("$node->{keys}/*") ], \@files, 'a fork rolled back leaves no file');
fails_with($node, 'SELECT gdpr_test.derive(65537)', qr/belongs to database "postgres"/, undef, 'and changes nothing', 'copy');
for my $kind ('die_before', 'die_after', 'enospc')
{
	for my $point (1, 3, 6, 100)
	{
		next if $kind eq 'enospc' && $point == 100;
		may_die($node, "BEGIN; SELECT gdpr_test.fault($point, '$kind'); SELECT gdpr.fork_keystore(); SELECT 1/0", 'copy');
	}
}
is(sql('SELECT gdpr_test.derive(65537)'), $living, 'a fork that fails anywhere leaves the original alone');
my $fork = sql('SELECT gdpr.fork_keystore()', 'copy');
isnt($fork, $id, 'forked: an id of its own');
is(sql('SELECT id FROM gdpr.keystore_identity', 'copy'), $fork, 'forked: in the database too');
is(sql('SELECT gdpr_test.derive(65537)', 'copy'), $living, 'forked: the copy reads what was sealed');
is(sql('SELECT gdpr_test.derive(65536) IS NULL', 'copy'), 't', 'forked: the holes are there');
give($node, 10);
give($node, 10, 'copy');
is($twice, 0, 'forked: no number of the one is one of the other');
sql('SELECT gdpr.puncture_at_commit(80000)', 'copy');
is(sql('SELECT gdpr_test.life(80000)', 'copy') . sql('SELECT gdpr_test.life(80000)'), 'forgottenliving',
	'forked: what one forgets, the other does not');
fails_with($node, 'SELECT gdpr.fork_keystore()', qr/is this database's own/, undef, 'forked: once is enough', 'copy');

# Dump and restore
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'copy' ], 'dump');
sql('SELECT gdpr.puncture_at_commit(80001)', 'copy');
my $highest = sql('SELECT gdpr_test.next_number()', 'copy');
sql('DROP DATABASE copy');
sql('CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'pg_restore', '-d', 'copy', $dump ], 'restore in its place');
is(sql('SELECT id FROM gdpr.keystore_identity', 'copy'), $fork, 'restored: finds its keystore');
is(sql('SELECT gdpr_test.derive(65537)', 'copy'), $living, 'restored: reads');
is(sql('SELECT gdpr_test.life(80000) || gdpr_test.life(80001)', 'copy'), 'forgottenforgotten',
	'restored: what was forgotten after the dump is gone too');
cmp_ok(sql('SELECT gdpr_test.next_number()', 'copy'), '>', $highest, 'restored: numbers go on above');
is(sql('SELECT gdpr.puncture_at_commit(80002); SELECT gdpr_test.life(80002)', 'copy'), "\nforgotten", 'restored: forgets');
sql('CREATE DATABASE beside TEMPLATE template0');
$node->command_ok([ 'pg_restore', '-d', 'beside', $dump ], 'restore beside it');
fails_with($node, 'SELECT gdpr_test.derive(65537)', qr/belongs to database "copy"/, qr/fork_keystore/, 'restored beside', 'beside');
is(sql('SELECT gdpr.fork_keystore() IS NOT NULL; SELECT gdpr_test.derive(65537)', 'beside'), "t\n$living", 'and forked');

# Tombstones of a dump reach a keystore that does not know them.
sql('CREATE DATABASE late TEMPLATE template0');
create_keystore($node, 'late');
sql("COPY gdpr.tombstone (id, number, category) FROM stdin;\n1\t90000\t\\N\n\\.\n", 'late');
is(sql('SELECT gdpr_test.life(90000)', 'late'), 'forgotten', 'tombstones loaded later are carried out');

# A server from a base backup, without recovery, beside its original: both
# are on the same timeline and have the same system identifier
{
	my $other = PostgreSQL::Test::Cluster->new('beside');

	$node->backup('beside');
	my $keys = copy_keys($node);
	chmod 0700, $keys;
	$other->init_from_backup($node, 'beside', has_restoring => 0, standby => 0);
	$other->append_conf('postgresql.conf', "gdpr.keystore_directory = '$keys'");
	unlink $other->data_dir . '/standby.signal', $other->data_dir . '/recovery.signal';
	$node->stop('immediate');
	$node->start;
	$other->start;
	give($node, 3);
	give($other, 3);
	is($twice, 0, 'two servers from one base backup: no number of the one is one of the other');
	fails_with($other, 'SELECT gdpr.fork_keystore()', qr/is this database's own/, qr/own => true/, 'its own keystore is not forked by mistake');
	my $old = $other->safe_psql('postgres', 'SELECT id FROM gdpr.keystore_identity');
	isnt($other->safe_psql('postgres', 'SELECT gdpr.fork_keystore(own => true)'), $old, 'but on purpose');
	unlink "$keys/$old.keystore";
	$other->restart;
	is($other->safe_psql('postgres', 'SELECT gdpr_test.derive(65537)'), $living, 'forked: it reads what was sealed');
	give($other, 3);
	is($twice, 0, 'forked: still no number twice');
	$other->stop;
}

done_testing();
