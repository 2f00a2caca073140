# Puncture at commit: a committed tombstone is always followed by the
# destruction of the keys, a rolled-back one never, whatever dies in between.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('main');
$node->start;
my $id = create_keystore($node);
my $next = 1_000_000;

# How many operations on the file a forget takes.
sub operations
{
	my ($one, $two) = ($next++, $next++);
	my $out = $node->safe_psql('postgres', "SELECT gdpr.puncture_at_commit($one); SELECT gdpr_test.fault(0); "
		. "SELECT gdpr.puncture_at_commit($two); SELECT gdpr_test.fault(0)");
	my ($count) = $out =~ /(\d+)$/;
	return $count;
}

sub forget { return "SELECT gdpr.puncture_at_commit($_[0])"; }
sub lives { return $node->safe_psql('postgres', "SELECT gdpr_test.life($_[0])"); }
sub sql { return $node->safe_psql('postgres', $_[0]); }

# Transactions

sql(forget(10));
is(lives(10), 'forgotten', 'commit punctures');
is(sql('SELECT gdpr_test.derive(10) IS NULL'), 't', 'and nothing derives');
is(tombstones($node, 10), 1, 'and there is a tombstone');
sql('BEGIN; ' . forget(11) . '; ROLLBACK');
is(lives(11), 'living', 'rollback punctures nothing');
is(tombstones($node, 11), 0, 'and leaves no tombstone');
is(sql('BEGIN; ' . forget(12) . '; SELECT gdpr_test.life(12); COMMIT'), "\nliving", 'before the commit everything derives');
is(lives(12), 'forgotten', 'after it nothing does');

sql('BEGIN; SAVEPOINT a; ' . forget(20) . '; ROLLBACK TO a; ' . forget(21) . '; SAVEPOINT b; ' . forget(22)
	. '; SAVEPOINT c; ' . forget(23) . '; RELEASE c; ROLLBACK TO b; SAVEPOINT d; SAVEPOINT e; ' . forget(24)
	. '; RELEASE e; RELEASE d; ' . forget(25) . '; COMMIT');
is(join(' ', map { lives($_) } 20 .. 25), 'living forgotten living living forgotten forgotten',
	'savepoints: what is rolled back lives, what is released does not');
sql(q{DO $$ BEGIN
	BEGIN PERFORM gdpr.puncture_at_commit(30); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END;
	BEGIN PERFORM gdpr.puncture_at_commit(31); END;
	END $$});
is(join(' ', map { lives($_) } 30, 31), 'living forgotten', 'exception blocks likewise');

sql('SELECT gdpr.puncture_at_commit(40, 3::smallint)');
is(lives(40), 'partly', 'one category only');
is(sql('SELECT gdpr_test.derive(40, 3) IS NULL, gdpr_test.derive(40, 2) IS NULL'), 't|f', 'that one does not derive, others do');
sql('SELECT gdpr.puncture_at_commit(40)');
is(lives(40), 'forgotten', 'then all of it');
sql(forget(40));
is(lives(40), 'forgotten', 'and again');
my $bystander = sql('SELECT gdpr_test.derive(100000, 1, 1)');
sql('SELECT gdpr.puncture_at_commit(n) FROM generate_series(200000, 201999, 2) n');
is(sql(q{SELECT count(*) FILTER (WHERE gdpr_test.life(n) = 'forgotten'), count(*) FILTER (WHERE gdpr_test.life(n) = 'living')
	FROM generate_series(200000, 201999) n}), '1000|1000', 'a thousand in one transaction');
is(sql('SELECT gdpr_test.derive(100000, 1, 1)'), $bystander, 'others derive as before');

fails_with($node, 'SELECT gdpr.puncture_at_commit(0)', qr/out of range/, undef, 'no number 0');
fails_with($node, 'SELECT gdpr.puncture_at_commit(1099511627776)', qr/out of range/, undef, 'no number of 41 bits');
fails_with($node, 'SELECT gdpr.puncture_at_commit(50, 16::smallint)', qr/out of range/, undef, 'no category 16');
fails_with($node, 'SELECT gdpr.puncture_at_commit(NULL)', qr/must not be null/, undef, 'no number');

sql('CREATE ROLE officer; GRANT USAGE ON SCHEMA gdpr TO officer; '
	. 'GRANT EXECUTE ON FUNCTION gdpr.puncture_at_commit(bigint, smallint, uuid) TO officer');
sql("SET ROLE officer; SELECT gdpr.puncture_at_commit(51, erasure => '8a01f982-da80-4456-a510-5578c96ff5a8')");
is(lives(51), 'forgotten', 'the right to execute is enough');
is(sql('SELECT count(*) FROM gdpr.tombstone WHERE erasure IS NOT NULL'), 1, 'a tombstone names its erasure');
fails_with($node, 'SET ROLE officer; INSERT INTO gdpr.tombstone (number) VALUES (52)', qr/permission denied/, undef,
	'but not to write tombstones');

# Tombstones stay

for my $statement ('DELETE FROM gdpr.tombstone', 'UPDATE gdpr.tombstone SET number = 7', 'TRUNCATE gdpr.tombstone',
	'SET session_replication_role = replica; DELETE FROM gdpr.tombstone')
{
	fails_with($node, $statement, qr/tombstones cannot be changed or deleted/, undef, $statement);
}

# Those that come by other means count

sql('INSERT INTO gdpr.tombstone (number) VALUES (60)');
is(lives(60), 'forgotten', 'a tombstone inserted');
sql("COPY gdpr.tombstone (id, number, category) FROM stdin;\n7000001\t61\t\\N\n7000002\t62\t5\n\\.\n");
is(join(' ', map { lives($_) } 61, 62), 'forgotten partly', 'tombstones copied, as a restored dump does');
sql("SET session_replication_role = replica; INSERT INTO gdpr.tombstone (number) VALUES (63)");
is(lives(63), 'forgotten', 'a tombstone inserted in replica role');
sql('BEGIN; INSERT INTO gdpr.tombstone (number) VALUES (64); ROLLBACK');
is(lives(64), 'living', 'a tombstone rolled back');

# A session that has the key in its cache loses it.
is(sql("SELECT gdpr_test.derive(65) IS NULL; INSERT INTO gdpr.tombstone (number) VALUES (65); SELECT gdpr_test.derive(65) IS NULL"),
	"f\nt", 'not from the cache of the session itself');

# Prepared transactions

sql('BEGIN; ' . forget(70) . "; PREPARE TRANSACTION 'a'");
sql('BEGIN; ' . forget(71) . "; PREPARE TRANSACTION 'b'");
sql('BEGIN; ' . forget(72) . "; PREPARE TRANSACTION 'c'");
is(join(' ', map { lives($_) } 70, 71, 72), 'living living living', 'prepared: nothing is punctured');
sql("COMMIT PREPARED 'a'");
is(lives(70), 'forgotten', 'COMMIT PREPARED: no key is served');
sql("ROLLBACK PREPARED 'b'");
is(lives(71), 'living', 'ROLLBACK PREPARED: lives');
my $punctured = sql('SELECT punctured FROM gdpr.keystore_status()');
$node->stop('immediate');
$node->start;
is(lives(72), 'living', 'prepared, crashed: lives');
sql("COMMIT PREPARED 'c'");
# looks into the file only: that does not attach anything
my $path = keystore_file($node, $id);
my $destroyed = 0;
for (1 .. 100)
{
	my ($one, $two) = map { unpack('Q>', read_bytes($path, $_ + 40, 8)) } 0, 4096;
	$destroyed = $one > $punctured || $two > $punctured;
	last if $destroyed;
	select undef, undef, undef, 0.1;
}
ok($destroyed, 'COMMIT PREPARED: the worker punctures by itself');
is(lives(72), 'forgotten', 'COMMIT PREPARED after a crash: forgotten');

# Two sessions at once

my $script = PostgreSQL::Test::Utils::tempdir() . '/forget.sql';
append_to_file($script, '\set n random(300000, 300400)' . "\nSELECT gdpr_test.derive(:n);\nSELECT gdpr.puncture_at_commit(:n);\nSELECT gdpr_test.derive(:n) IS NULL AS gone \\gset\n\\if :gone\n\\else\nSELECT 1/0;\n\\endif\n");
$node->command_ok([ 'pgbench', '-n', '-c', 4, '-j', 2, '-t', 60, '-f', $script, 'postgres' ], 'four sessions forget and read');
is(sql(q{SELECT bool_and((gdpr_test.life(n) = 'forgotten') = EXISTS (SELECT FROM gdpr.tombstone WHERE number = n))
	FROM generate_series(300000, 300400) n}), 't', 'exactly those with tombstones are forgotten');
is(sql('SELECT gdpr_test.derive(100000, 1, 1)'), $bystander, 'others derive as before');

# Killed at every operation on the file

for my $durability ('on', 'off')
{
	for my $kind ('die_before', 'die_halfway', 'die_after')
	{
		my $point = 0;
		my $died = 1;
		my $wrong = 0;
		my ($committed, $lost) = (0, 0);

		while ($died && $point < 40)
		{
			my $number = $next++;
			$point++;
			$died = may_die($node,
				"SET synchronous_commit = $durability; SELECT gdpr_test.derive($number); "
				. "SELECT gdpr_test.fault($point, '$kind'); SELECT gdpr.puncture_at_commit($number)") != 0;
			my $tombstone = tombstones($node, $number);
			my $life = lives($number);
			$tombstone ? $committed++ : $lost++;
			$wrong++ if $life ne ($tombstone ? 'forgotten' : 'living');
			diag("$kind at $point: tombstones $tombstone, $life") if $wrong;
		}
		ok(!$died, "killed ($kind, synchronous_commit $durability): every operation reached");
		cmp_ok($committed, '>', 1, "killed ($kind, synchronous_commit $durability): some after the commit");
		is($wrong, 0, "killed ($kind, synchronous_commit $durability): forgotten if and only if committed");
	}
}
is(sql('SELECT gdpr_test.derive(100000, 1, 1)'), $bystander, 'killed: others derive as before');

# The same with the whole server killed, and the worker alone to finish it.
{
	my $number = $next++;
	my $point = operations();
	my $before = sql('SELECT punctured FROM gdpr.keystore_status()');
	$node->psql('postgres', "SELECT gdpr_test.fault($point - 2, 'die_before', true); SELECT gdpr.puncture_at_commit($number)");
	$node->stop('immediate');
	$node->start;
	my $after = $before;
	my $committed = tombstones($node, $number);
	for (1 .. 100)
	{
		my ($one, $two) = map { unpack('Q>', read_bytes($path, $_ + 40, 8)) } 0, 4096;
		$after = $one > $two ? $one : $two;
		last if $after == $before + $committed;
		select undef, undef, undef, 0.1;
	}
	is($after, $before + $committed, 'killed with the server: the worker finishes it at the start');
	is($committed, 1, 'killed with the server: after the commit');
}

# Failing disk after the commit: denied at once, destroyed later

{
	my $point = operations();
	for my $kind ('enospc', 'eio')
	{
		my ($committed, $refused) = (0, 0);

		for my $fault (1 .. $point)
		{
			my $number = $next++;
			my ($rc, $out, $err) = $node->psql('postgres',
				"SELECT gdpr_test.derive($number); SELECT gdpr_test.fault($fault, '$kind', true); "
				. "SELECT gdpr.puncture_at_commit($number)");
			my $tombstone = tombstones($node, $number);
			$tombstone ? $committed++ : $refused++;
			is(lives($number), $tombstone ? 'forgotten' : 'living',
				"failing ($kind at $fault): not served if and only if committed");
			if ($tombstone && $err =~ /WARNING/)
			{
				like($err, qr/WARNING:  the keys of 1 erasures are not destroyed yet/, "failing ($kind at $fault): warned");
			}
		}
		cmp_ok($committed + $refused, '==', $point, "failing ($kind): every operation tried");
		ok(wait_for($node, 'SELECT pending FROM gdpr.keystore_status()', '0'), "failing ($kind): the worker finishes them");
	}
}

# Idle sessions

{
	my $in = '';
	my ($out, $err) = ('', '');
	my $idle = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	$in .= "SELECT 'filled ' || (gdpr_test.derive(100000) IS NOT NULL AND gdpr_test.caches_filled());\n";
	$idle->pump until $out =~ /filled/;
	like($out, qr/filled true/, 'a session keeps what it derived');
	$in .= "SELECT 'mine ' || (gdpr_test.derive(66) IS NULL);\n";
	$idle->pump until $out =~ /mine \w+/;
	sql(forget(66));
	$in .= "SELECT 'theirs ' || (gdpr_test.derive(66) IS NULL);\n";
	$idle->pump until $out =~ /theirs \w+/;
	like($out, qr/mine false\ntheirs true/, 'and loses what another session forgets');
	$in .= "SELECT 'filled ' || (gdpr_test.derive(100000) IS NOT NULL);\n";
	$idle->pump until $out =~ /theirs.*filled/s;
	$in .= "SELECT 1/0;\n";
	$idle->pump until $err =~ /division/;
	sleep 12;
	$in .= "SELECT 'idle ' || gdpr_test.caches_filled();\n";
	$idle->pump until $out =~ /idle \w+/;
	like($out, qr/idle false/, 'keeps it until it has been idle for some seconds, an error in between notwithstanding');
	$in .= "SELECT 'again ' || (gdpr_test.derive(100000) IS NOT NULL);\n\\q\n";
	$idle->finish;
	like($out, qr/again true/, 'and derives again');
}

done_testing();
