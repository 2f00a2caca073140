# A standby has its own copy of the keystore and destroys in it what the
# primary forgets, as soon as it replays it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_server('primary', allows_streaming => 1);
$primary->start;
my $id = create_keystore($primary);
$primary->safe_psql('postgres', 'SELECT gdpr.puncture_at_commit(100)');
$primary->backup('b');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->{keys} = copy_keys($primary);
$standby->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$standby->{keys}'");
$standby->start;

sub caught_up
{
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	return;
}

my $key = $primary->safe_psql('postgres', 'SELECT gdpr_test.derive(70000)');
is($standby->safe_psql('postgres', 'SELECT gdpr_test.derive(70000)'), $key, 'a standby derives the same keys');
is($standby->safe_psql('postgres', 'SELECT gdpr_test.life(100)'), 'forgotten', 'with the same holes');

# A session on the standby that has the key in its cache
my ($in, $out, $err) = ('', '', '');
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $standby->connstr('postgres') ],
	'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
$in .= "SELECT 'before ' || (gdpr_test.derive(200) IS NULL);\n";
$session->pump until $out =~ /before \w+/;
like($out, qr/before false/, 'a session on the standby has a key');
$primary->safe_psql('postgres', 'SELECT gdpr.puncture_at_commit(200)');
caught_up();
$in .= "SELECT 'after ' || (gdpr_test.derive(200) IS NULL);\n\\q\n";
$session->finish;
like($out, qr/after true/, 'and not after the forget was replayed');

# Nobody asks: the worker does it.
my $path = keystore_file($standby, $id);
sub punctures
{
	my ($one, $two) = map { unpack('Q>', read_bytes($path, $_ + 40, 8)) } 0, 4096;
	return $one > $two ? $one : $two;
}
my $before = punctures();
$primary->safe_psql('postgres', 'SELECT gdpr.puncture_at_commit(300)');
$primary->safe_psql('postgres', "BEGIN; SELECT gdpr.puncture_at_commit(301); PREPARE TRANSACTION 'p'");
$primary->safe_psql('postgres', "COMMIT PREPARED 'p'; INSERT INTO gdpr.tombstone (number) VALUES (302)");
caught_up();
for (1 .. 100)
{
	last if punctures() >= $before + 3;
	select undef, undef, undef, 0.1;
}
is(punctures(), $before + 3, 'the worker of the standby punctures what is replayed, asked or not');

# What a standby cannot do
fails_with($standby, 'SELECT gdpr_test.next_number()', qr/during recovery/, undef, 'numbers on a standby');
fails_with($standby, 'SELECT gdpr.puncture_at_commit(7)', qr/read-only transaction|during recovery/, undef, 'forgetting on a standby');
fails_with($standby, 'SELECT gdpr.fork_keystore()', qr/during recovery/, undef, 'forking on a standby');

# Its key-encryption key is its own.
is($standby->safe_psql('postgres', 'SELECT gdpr.rotate_key_encryption_key()'), 2, 'a standby rotates its own key');
is($standby->safe_psql('postgres', 'SELECT gdpr_test.derive(70000)'), $key, 'and derives the same keys');
is($primary->safe_psql('postgres', 'SELECT kek_version FROM gdpr.keystore_status()'), 1, 'the one of the primary is untouched');

# Failover: numbers of the two never meet, not even those of the last moment.
my $last = $primary->safe_psql('postgres', 'SELECT gdpr_test.next_number()');
$primary->safe_psql('postgres', 'SELECT gdpr.puncture_at_commit(400)');
caught_up();
$primary->safe_psql('postgres', 'SELECT count(gdpr_test.next_number()) FROM generate_series(1, 70000)');
$last = $primary->safe_psql('postgres', 'SELECT gdpr_test.next_number()');
$primary->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', 'SELECT gdpr_test.life(400)'), 'forgotten', 'promoted: what was replayed is forgotten');
my $number = $standby->safe_psql('postgres', 'SELECT gdpr_test.next_number()');
cmp_ok($number, '>=', (($last >> 16) + 512) << 16, 'promoted: numbers skip ahead');
$standby->safe_psql('postgres', 'SELECT gdpr.puncture_at_commit(401)');
is($standby->safe_psql('postgres', 'SELECT gdpr_test.life(401)'), 'forgotten', 'promoted: forgets');

done_testing();
