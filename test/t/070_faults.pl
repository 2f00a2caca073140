# What goes wrong around the keystore while the server runs: no space, a
# read-only file system, a file that is gone, processes cancelled and killed.
# Reads go on, or say what is wrong; forget happens or does not; nothing is
# made anew.
use strict;
use warnings;

# In a namespace of its own the test may mount file systems.
my @unshare;

BEGIN
{
	@unshare = ('unshare', '--user', '--mount', '--map-current-user', '--keep-caps');
	if (!$ENV{GDPR_UNSHARED} && $> != 0 && system("@unshare true >/dev/null 2>&1") == 0)
	{
		$ENV{GDPR_UNSHARED} = 1;
		exec @unshare, $^X, (map { "-I$_" } @INC), $0, @ARGV;
	}
}

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $persons = 40;
my $node = new_server('main');
$node->append_conf('postgresql.conf', "log_statement = none\nfsync = off\n");
my $keys = $node->{keys};

# A small file system of its own for the keys, where we may have one.
my $mounted = system("mount -t tmpfs -o size=96k,mode=0700 tmpfs $keys >/dev/null 2>&1") == 0;

$node->start;
crm_database($node, 'crm', $persons);
my $id = $node->safe_psql('crm', 'SELECT id FROM gdpr.keystore_identity');
my $path = keystore_file($node, $id);
my $revealed = revealed($node, 'crm');
my @number = split /,/, sql(q{SELECT '0,' || string_agg(gdpr.subject_number(gdpr_sealed)::text, ',' ORDER BY id) FROM crm.person});

sub sql { return $node->safe_psql('crm', $_[0]); }
sub life { return sql("SELECT gdpr_test.life($number[$_[0]])"); }
sub forget { return "SELECT gdpr.forget($number[$_[0]])"; }

# Nothing of a forget that failed is there: rows, tombstone, keys.
sub not_forgotten
{
	my ($person, $name) = @_;

	is(sql("SELECT (SELECT count(*) FROM crm.person WHERE id = $person), (SELECT count(*) FROM crm.orders WHERE person_id = $person),"
		. " (SELECT count(*) FROM gdpr.tombstone WHERE number = $number[$person]), (SELECT count(*) FROM gdpr.erasure WHERE subject = $number[$person])"),
		'1|2|0|0', "$name: nothing was forgotten");
	is(life($person), 'living', "$name: the keys are there");
}

# Cancelled and ended, wherever forget waits.

sub stopped
{
	my ($function, $what, $name) = @_;
	my $holder = open_session($node, 'crm');
	my $forgetter = open_session($node, 'crm');

	ask($holder, "BEGIN; $what");
	say_to($forgetter, forget(1));
	ok(wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT gdpr.forget(%' AND wait_event_type = 'Lock'}, '1', 'crm'),
		"$name: forget waits");
	sql(qq{SELECT $function(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT gdpr.forget(%' AND pid <> pg_backend_pid()});
	ok(wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT gdpr.forget(%' AND state = 'active' AND pid <> pg_backend_pid()}, '0', 'crm'),
		"$name: it ends");
	ask($holder, 'ROLLBACK');
	close_session($holder);
	close_session($forgetter);
	not_forgotten(1, $name);
}
for my $function ('pg_cancel_backend', 'pg_terminate_backend')
{
	stopped($function, 'SELECT 1 FROM crm.person WHERE id = 1 FOR UPDATE', "$function, waiting for the person's row");
	stopped($function, 'LOCK TABLE crm.orders IN SHARE MODE', "$function, waiting for a table below");
	stopped($function, 'LOCK TABLE gdpr.erasure IN SHARE MODE', "$function, after all rows are gone");
}
my ($rc, $out, $err);
my $holder = open_session($node, 'crm');
ask($holder, 'BEGIN; LOCK TABLE gdpr.tombstone IN SHARE MODE');
for my $setting ('lock_timeout', 'statement_timeout')
{
	($rc, $out, $err) = $node->psql('crm', "SET $setting = '300ms'; " . forget(1));
	like($err, qr/canceling statement due to/, "$setting: forget is cancelled");
	not_forgotten(1, $setting);
}
ask($holder, 'ROLLBACK');
close_session($holder);
# a protect that is killed
sql(q{CREATE TABLE crm.wish (id int PRIMARY KEY, person_id int REFERENCES crm.person, t text);
	INSERT INTO crm.wish SELECT i, i, 'wish ' || i FROM generate_series(2, 30) i;
	SELECT gdpr.declare_table('crm.wish', via => 'person_id');
	GRANT SELECT ON crm.wish TO app;
	SELECT gdpr.declare_column('crm.wish', 't', category => 'content')});
$holder = open_session($node, 'crm');
ask($holder, 'BEGIN; LOCK TABLE crm.person IN ROW EXCLUSIVE MODE');
my $protector = open_session($node, 'crm');
say_to($protector, q{SELECT gdpr.protect_now('crm.wish')});
ok(wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT gdpr.protect%' AND wait_event_type = 'Lock'}, '1', 'crm'), 'protect waits');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT gdpr.protect%' AND wait_event_type = 'Lock'});
ask($holder, 'ROLLBACK');
close_session($holder);
close_session($protector);
ok(wait_for($node, q{SELECT count(*) FROM pg_locks WHERE relation = 'crm.wish'::regclass}, '0', 'crm'), 'protect is gone');
is(sql(q{SELECT string_agg(t, ',' ORDER BY id) FROM crm.wish WHERE id < 4}), 'wish 2,wish 3', 'protect, killed: the table is as it was');
is(sql(q{SELECT count(*) FROM pg_attribute WHERE attrelid = 'crm.wish'::regclass AND attname = 'gdpr_sealed'}), '0', 'protect, killed: no column is left');
sql(q{CALL gdpr.protect('crm.wish')});
is(app($node, 'crm', q{SELECT string_agg(t, ',' ORDER BY id) FROM crm.wish WHERE id < 4}), 'wish 2,wish 3', 'protect, again: done');

# The file is gone, or another one is in its place: it is not made anew, by
# reading, by writing, nor by a restart.

rename $path, "$path.away" or die;
fails_with($node, forget(2), qr/keystore/, undef, 'file removed while running: forget', 'crm');
ok(!-e $path, 'file removed while running: not made anew');
$node->restart;
for my $statement (q{SET ROLE app; SET gdpr.purpose = 'sales'; SELECT name FROM crm.person},
	q{INSERT INTO crm.person (id, email, name) VALUES (900, 'n', 'n')}, forget(2), 'SELECT gdpr.create_keystore()')
{
	fails_with($node, $statement, qr/keystore/, undef, 'file missing: ' . substr($statement, 0, 24), 'crm');
}
ok(!-e $path, 'file missing: not made anew');
rename "$path.away", $path or die;
$node->restart;
same_rows(revealed($node, 'crm'), $revealed, undef, 'file back');
not_forgotten(2, 'file back');
sql(forget(2));
$node->restart;
$revealed = revealed($node, 'crm');
is(life(2), 'forgotten', 'restarted: forgotten stays forgotten');
is(dark($node, 'crm', 2, $persons), 0, 'restarted: reading makes no key anew');

# Damage is no NULL: what cannot be opened is an error, and is not written over.

my $sealed = sql('SET gdpr.physical = on; SELECT gdpr_sealed FROM crm.person WHERE id = 3');
sql(q{SET gdpr.physical = on; UPDATE crm.person SET gdpr_sealed = translate(encode(set_byte(gdpr.sealed_send(gdpr_sealed),
	length(gdpr.sealed_send(gdpr_sealed)) - 1, 255 - get_byte(gdpr.sealed_send(gdpr_sealed), length(gdpr.sealed_send(gdpr_sealed)) - 1)),
	'base64'), E'\n', '')::gdpr.sealed WHERE id = 3});
my $whole = app_fails($node, 'crm', 'SELECT p FROM crm.person p WHERE id = 3');
like($whole, qr/ERROR/, 'damaged envelope: an error');
unlike($whole, qr/Name-3|mail-3/, 'damaged envelope: no value in it');
like(app_fails($node, 'crm', 'UPDATE crm.person SET name = name, bio = bio, born = born, salary = salary WHERE id = 3'), qr/ERROR/,
	'damaged envelope: not written over');
sql("SET gdpr.physical = on; UPDATE crm.person SET gdpr_sealed = '$sealed' WHERE id = 3");
same_rows(revealed($node, 'crm'), $revealed, undef, 'envelope back');

# Without the right to mount, what a full disk does to the file is done by fault
# points only (012_keystore_commit).

SKIP:
{
	skip 'no file system can be mounted here', 20 unless $mounted;
	# No space: fill it up, then forget until the reserve is used up.
	system("head -c 200000 /dev/zero >'$keys/filler' 2>/dev/null");
	my $failed;
	for my $number (map { 1_000_003 * $_ } 1 .. 100)
	{
		($rc, $out, $err) = $node->psql('crm', "SELECT gdpr.puncture_at_commit($number)");
		next if $rc == 0;
		$failed = $number;
		last;
	}
	ok($failed, 'no space: forgetting goes on while the reserve lasts, then fails');
	like($err, qr/ERROR:.*No space left/s, 'no space: it says so');
	like($err, qr/HINT:/, 'no space: it says what to do');
	is(sql("SELECT gdpr_test.life($failed), (SELECT count(*) FROM gdpr.tombstone WHERE number = $failed)"), 'living|0', 'no space: nothing is forgotten');
	same_rows(revealed($node, 'crm'), $revealed, undef, 'no space: reads go on');
	is(app($node, 'crm', q{INSERT INTO crm.person (id, email, name) VALUES (901, 'n1', 'no space') RETURNING name}), 'no space',
		'no space: writes go on while leased numbers last');
	sql('DELETE FROM crm.person WHERE id = 901');
	unlink "$keys/filler";
	system("mount -o remount,size=1m $keys");
	sql("SELECT gdpr.puncture_at_commit($failed)");
	is(sql("SELECT gdpr_test.life($failed)"), 'forgotten', 'space again: forgotten, without a restart');

	# Read-only.
	$node->stop;
	is(system("mount -o remount,ro $keys"), 0, 'remounted read-only');
	$node->start;
	is(app($node, 'crm', 'SELECT name FROM crm.person WHERE id = 3'), 'Name-3-Zwart', 'read-only: reads go on');
	is(app($node, 'crm', q{SELECT id FROM crm.person WHERE email = 'mail-3@xample.test'}), '3', 'read-only: searches go on');
	is(app($node, 'crm', q{UPDATE crm.person SET name = 'Name-3-Zwart' WHERE id = 3 RETURNING id}), '3', 'read-only: updates go on');
	($rc, $out, $err) = $node->psql('crm', forget(3));
	isnt($rc, 0, 'read-only: forget fails');
	like($err, qr/ERROR.*read-only/si, 'read-only: it says what is wrong');
	like($err, qr/HINT/, 'read-only: it says what to do');
	not_forgotten(3, 'read-only');
	system("mount -o remount,rw $keys");
	sql(forget(3));
	is(life(3), 'forgotten', 'writable again: forgotten, without a restart');
}

# Permissions that change while it runs.

chmod 0770, $keys;
fails_with($node, forget(33), qr/mode 0770/, qr/chmod 0700/, 'directory open to the group: forget', 'crm');
chmod 0700, $keys;
not_forgotten(33, 'directory open to the group');
chmod 0644, $path;
$node->restart;
fails_with($node, q{SET ROLE app; SET gdpr.purpose = 'sales'; SELECT name FROM crm.person}, qr/mode 0644|permission|others/, qr/chmod/,
	'file readable for others', 'crm');
chmod 0600, $path;
sql(forget(33));
is(life(33), 'forgotten', 'modes put right: forgotten');

$node->stop;
system("umount $keys") if $mounted;
done_testing();
