# The keystore file and its key: everything that can be wrong with them is an
# error that names the path and says what to do; the rotation of the key.
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
my $path = keystore_file($node, $id);
my $kek = "$node->{keys}/$id.kek.1";
my $derive = 'SELECT gdpr_test.derive(70000, 3, 5)';
my $key = $node->safe_psql('postgres', $derive);

# Making one

is(length($key), 66, 'a key has 32 bytes');
is($node->safe_psql('postgres', $derive), $key, 'another session derives the same key');
isnt($node->safe_psql('postgres', 'SELECT gdpr_test.derive(70000, 3, 6)'), $key, 'another month, another key');
isnt($node->safe_psql('postgres', 'SELECT gdpr_test.derive(70001, 3, 5)'), $key, 'another person, another key');
isnt($node->safe_psql('postgres', 'SELECT gdpr_test.derive(70000, 4, 5)'), $key, 'another category, another key');
is($node->safe_psql('postgres', 'SELECT gdpr_test.token_epoch()'), 1, 'the first token epoch is there');
is($node->safe_psql('postgres', 'SELECT gdpr_test.token_key(1, 7) <> gdpr_test.token_key(1, 8)'), 't',
	'token domains have keys of their own');
fails_with($node, 'SELECT gdpr.create_keystore()', qr/has a keystore already: $id/, qr/put it back from your copy/,
	'a second one');
fails_with($node, 'SELECT gdpr.fork_keystore()', qr/is this database's own/, undef, 'forking one\'s own');

my @before = glob("$node->{keys}/*");
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION gdpr; CREATE EXTENSION gdpr_test');
fails_with($node, $derive, qr/this database has no keystore/, qr/SELECT gdpr\.create_keystore\(\)/, 'none yet', 'other');
is($node->safe_psql('other', "BEGIN; SELECT gdpr.create_keystore(); $derive; ROLLBACK; SELECT count(*) FROM gdpr.keystore_identity") =~ /\n0$/ ? 1 : 0,
	1, 'a creation can be rolled back');
is_deeply([ glob("$node->{keys}/*") ], \@before, 'and leaves no file');
$node->safe_psql('other', q{
	BEGIN; SAVEPOINT a; SELECT gdpr.create_keystore(); ROLLBACK TO a;
	SELECT gdpr.create_keystore(); SELECT gdpr_test.derive(70000); COMMIT});
is(scalar(glob_count()), @before + 2, 'nor does a savepoint');
is($node->safe_psql('other', 'SELECT problem IS NULL AND punctured = 0 FROM gdpr.keystore_status()'), 't',
	'used in the transaction that made it, and after');
fails_with($node, "CREATE TABLE pg_temp.t AS SELECT 1; BEGIN; DELETE FROM gdpr.keystore_identity; SELECT gdpr.create_keystore(); PREPARE TRANSACTION 'x'",
	qr/cannot PREPARE a transaction that created or forked a keystore/, undef, 'a creation in a prepared transaction', 'other');
$node->safe_psql('postgres', 'DROP DATABASE other');

sub glob_count
{
	my @files = glob("$node->{keys}/*");
	return scalar @files;
}

# What can be wrong with it.  Each case spoils a stopped server's files.

$node->safe_psql('postgres', "SELECT gdpr.puncture_at_commit(90000)");
$node->stop;
my $copy = copy_keys($node);

sub spoiled
{
	my ($name, $spoil, $message, $hint) = @_;

	put_keys($node, $copy);
	$spoil->();
	$node->start;
	fails_with($node, $derive, $message, $hint, $name);
	like($node->safe_psql('postgres', 'SELECT problem FROM gdpr.keystore_status()'), $message,
		"$name: keystore_status() says it");
	is($node->safe_psql('postgres', 'SELECT path FROM gdpr.keystore_status()'), $path, "$name: and where");
	$node->stop;
	return;
}

sub flip
{
	my ($file, $offset) = @_;
	write_bytes($file, $offset, ~read_bytes($file, $offset, 1));
	return;
}

spoiled('missing file', sub { unlink $path },
	qr/keystore "\Q$path\E" does not exist/, qr/back from your copy of the keystore directory/);
spoiled('link', sub { rename $path, "$path.x"; symlink "$path.x", $path },
	qr/is not a regular file/, qr/not a link/);
unlink "$path.x";
spoiled('readable by others', sub { chmod 0644, $path },
	qr/keystore "\Q$path\E" is accessible to others/, qr/chmod 0600 '\Q$path\E'/);
spoiled('truncated', sub { truncate $path, 8192 + 64 },
	qr/keystore "\Q$path\E" is truncated/, qr/put your newest copy of the file back/);
spoiled('empty', sub { truncate $path, 0 },
	qr/is truncated/, qr/put your newest copy of the file back/);
spoiled('no keystore', sub { write_bytes($path, 0, "\0" x 8192) },
	qr/is not a keystore/, qr/put your newest copy of the file back/);
spoiled('both headers damaged', sub { flip($path, 100); flip($path, 4196) },
	qr/is damaged|does not open keystore/, qr/put/);
spoiled('missing key', sub { unlink $kek },
	qr/could not open key-encryption key "\Q$kek\E"/, qr/back from your copy.*gdpr\.keystore_key_command/);
spoiled('key readable by others', sub { chmod 0644, $kek },
	qr/key-encryption key "\Q$kek\E" is accessible to others/, qr/chmod 0600 '\Q$kek\E'/);
spoiled('garbled key', sub { truncate $kek, 63 },
	qr/file "\Q$kek\E" does not hold a key-encryption key/, qr/back from your copy/);
spoiled('wrong key', sub { write_bytes($kek, 0, '00' x 32) },
	qr/version 1 of the key-encryption key does not open/, qr/\.kek file of the same time/);

# A foreign file: the keystore of another database under this one's name.
put_keys($node, $copy);
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE other');
my $other = create_keystore($node, 'other');
$node->stop;
my $foreign = "$node->{keys}/$other.keystore";
system_or_bail('cp', '-a', $foreign, $path);
$node->start;
fails_with($node, $derive, qr/file "\Q$path\E" is another keystore, $other/, qr/Rename the file to $other\.keystore/,
	'foreign file');
is($node->safe_psql('other', 'SELECT problem IS NULL FROM gdpr.keystore_status()'), 't',
	'foreign file: the other database works');
$node->safe_psql('postgres', 'DROP DATABASE other');
$node->stop;

# One damaged header heals; a damaged record takes down what it covers.
put_keys($node, $copy);
flip($path, 4096 + 100);
$node->start;
is($node->safe_psql('postgres', $derive), $key, 'one damaged header: works');
$node->stop;
put_keys($node, $copy);

my $bytes = -s $path;
my $damaged = 0;
my $log = -s $node->logfile;
flip($path, 8192 + 64 * 30 + 10);
$node->start;
my ($rc, $out, $err) = $node->psql('postgres', $derive);
ok($rc != 0 || $out eq $key, 'one damaged record: an error or the right key, never a wrong one');
is($node->safe_psql('postgres', 'SELECT gdpr_test.derive(500000000000) IS NOT NULL'), 't',
	'one damaged record: others derive');
like(slurp_file($node->logfile, $log), qr/WARNING:  keystore "\Q$path\E" is damaged in record \d+/,
	'one damaged record: reported');
fails_with($node, 'SELECT gdpr.rotate_key_encryption_key()', qr/is damaged in record/, qr/put your newest copy/,
	'one damaged record: not rotated away');
$node->stop;

# Replaced while the server is running.
put_keys($node, $copy);
$node->start;
$node->safe_psql('postgres', 'SELECT gdpr.puncture_at_commit(90001)');
put_keys($node, $copy);
fails_with($node, 'SELECT gdpr.puncture_at_commit(90002)',
	qr/was replaced by an older copy|was replaced while the server is running/, qr/Restart the server/,
	'an older copy put in place while running');
is(tombstones($node, 90002), 0, 'an older copy put in place while running: the transaction rolled back');
$node->restart;
is($node->safe_psql('postgres', $derive), $key, 'an older copy: works after a restart');
is($node->safe_psql('postgres', 'SELECT gdpr_test.derive(90001) IS NULL'), 't', 'an older copy: healed');

# Overwritten in place while running.
system_or_bail('cp', "$copy/$id.keystore", $path);
fails_with($node, 'SELECT gdpr.puncture_at_commit(90003)', qr/older copy|replaced|different times|truncated/, undef,
	'an older copy written over it while running');
$node->restart;
is($node->safe_psql('postgres', 'SELECT gdpr_test.derive(90001) IS NULL'), 't', 'an older copy written over it: healed');

# Rotation, with files

my $old_kek = slurp_file($kek);
my $stale = copy_keys($node);
is($node->safe_psql('postgres', 'SELECT gdpr.rotate_key_encryption_key()'), 2, 'rotated');
is($node->safe_psql('postgres', $derive), $key, 'rotated: same keys');
is($node->safe_psql('postgres', 'SELECT gdpr_test.derive(90001) IS NULL'), 't', 'rotated: same holes');
ok(!-e $kek, 'rotated: the old key is gone');
is(slurp_file($node->{keys} . "/$id.kek.2") eq $old_kek ? 1 : 0, 0, 'rotated: the key is another one');
$node->restart;
is($node->safe_psql('postgres', $derive), $key, 'rotated: also after a restart');

# A session that has the old file open goes on with the new one.
is($node->safe_psql('postgres', "$derive; SELECT gdpr.rotate_key_encryption_key(); $derive"),
	"$key\n3\n$key", 'rotated: in the session that has the file open');

# A stale copy is dead once its key is destroyed.
$node->stop;
my $newest = copy_keys($node);
system_or_bail('cp', '-a', "$stale/$id.keystore", $path);
$node->start;
fails_with($node, $derive, qr/could not open key-encryption key.*\.kek\.1"/, undef, 'a copy from before the rotation');
$node->stop;
put_keys($node, $newest);
$node->start;

# Rotation, interrupted at every operation

my $version = 3;
for my $kind ('die_before', 'die_halfway', 'die_after')
{
	my $point = 0;
	my $died = 1;

	while ($died)
	{
		$point++;
		last if $point > 60;
		$died = may_die($node, "SELECT gdpr_test.fault($point, '$kind'); SELECT gdpr.rotate_key_encryption_key()") != 0;
		my $now = $node->safe_psql('postgres', $derive);
		is($now, $key, "rotation, $kind at $point: same keys") if $now ne $key;
	}
	cmp_ok($point, '>', 3, "rotation, $kind: tried at $point operations, always the same keys");
	my @keks = glob("$node->{keys}/$id.kek.*");
	my $current = $node->safe_psql('postgres', 'SELECT kek_version FROM gdpr.keystore_status()');
	is_deeply([ map { /kek\.(\d+)$/ } @keks ], [$current], "rotation, $kind: one key remains, of the current version");
	is($node->safe_psql('postgres', 'SELECT problem IS NULL FROM gdpr.keystore_status()'), 't',
		"rotation, $kind: no problem");
}

# Rotation, failing disk

for my $kind ('enospc', 'eio')
{
	$node->psql('postgres', "SELECT gdpr_test.fault(2, '$kind', true); SELECT gdpr.rotate_key_encryption_key()");
	is($node->safe_psql('postgres', $derive), $key, "rotation, $kind: same keys");
	$node->restart;
	is($node->safe_psql('postgres', $derive), $key, "rotation, $kind: same keys after a restart");
}

# The key command

my $commanded = new_server('commanded');
my $vault = directory();
for my $version (1 .. 3)
{
	open my $file, '>', "$vault/$version" or die;
	print $file sprintf('%02x', $version) x 32;
	close $file;
}
$commanded->start;
$commanded->safe_psql('postgres', 'CREATE EXTENSION gdpr; CREATE EXTENSION gdpr_test');

sub command
{
	my ($command) = @_;
	$command =~ s/'/''/g;
	$commanded->append_conf('postgresql.conf', "gdpr.keystore_key_command = '$command'");
	$commanded->restart;
	return;
}

my $create = 'SELECT gdpr.create_keystore()';
command('exit 3');
fails_with($commanded, $create, qr/key command failed: .*3/, qr/messages are in the server's log/, 'failing command');
command('echo nonsense');
fails_with($commanded, $create, qr/key command printed no key/, qr/by hand/, 'command that prints no key');
command('yes');
fails_with($commanded, $create, qr/key command/, qr/by hand/, 'command that prints without end');
command('echo %x');
fails_with($commanded, $create, qr/unknown placeholder/, qr/%i.*%v/, 'command with an unknown placeholder');
command('sleep 100');
fails_with($commanded, "SET statement_timeout = 500; $create", qr/canceling statement due to statement timeout/,
	undef, 'command that hangs can be cancelled');
is(scalar(() = glob("$commanded->{keys}/*.keystore")), 0, 'none of them made a keystore');

command("test -n \"%i\" && cat $vault/%v");
my $vaulted = $commanded->safe_psql('postgres', $create);
is(scalar(() = glob("$commanded->{keys}/*.kek.*")), 0, 'with a command there is no key file');
my $first = $commanded->safe_psql('postgres', $derive);
is($commanded->safe_psql('postgres', 'SELECT gdpr.rotate_key_encryption_key()'), 2, 'rotated with a command');
is($commanded->safe_psql('postgres', $derive), $first, 'rotated with a command: same keys');
$commanded->restart;
is($commanded->safe_psql('postgres', $derive), $first, 'rotated with a command: after a restart');
unlink "$vault/2";
$commanded->restart;
fails_with($commanded, $derive, qr/key command failed/, qr/by hand/, 'the command lost the key');
command("printf '%%032d' 5");
fails_with($commanded, $derive, qr/does not open keystore/, qr/gdpr\.keystore_key_command/,
	'32 bytes, but of another key');

done_testing();
