# The keystore directory: where it may be, whose it must be, one server each.
# A wrong one does not keep the server from starting; every use says what is
# wrong, on which path, and what to type.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('main');
my $good = $node->{keys};
my $use = 'SELECT gdpr.create_keystore()';

sub restart_with
{
	my ($directory) = @_;
	$node->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$directory'");
	$node->restart;
	return;
}

$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION gdpr; CREATE EXTENSION gdpr_test');
my $data = $node->safe_psql('postgres', 'SHOW data_directory');

# Settings

is($node->safe_psql('postgres', q{
		SELECT string_agg(name || ' ' || context, ', ' ORDER BY name)
		  FROM pg_settings WHERE name LIKE 'gdpr.%'
		   AND name IN ('gdpr.keystore_directory', 'gdpr.keystore_key_command', 'gdpr.purpose',
		                'gdpr.physical', 'gdpr.allow_plaintext_copies', 'gdpr.worker_naptime')}),
	'gdpr.allow_plaintext_copies superuser, gdpr.keystore_directory postmaster, '
	. 'gdpr.keystore_key_command sighup, gdpr.physical user, gdpr.purpose user, gdpr.worker_naptime sighup',
	'who may change which setting');
$node->safe_psql('postgres', 'CREATE ROLE plain LOGIN');
fails_with($node, 'SET ROLE plain; SHOW gdpr.keystore_key_command',
	qr/permission denied|must be superuser|must have privileges/, undef,
	'the key command is not shown to everyone');
fails_with($node, "SET gdpr.no_such_setting = 'x'", qr/invalid configuration parameter name/, undef,
	'a misspelt setting is refused');
fails_with($node, "SET ROLE plain; $use", qr/permission denied for/, undef,
	'creating a keystore is not for everyone');
for my $function ('gdpr.rotate_key_encryption_key()', 'gdpr.fork_keystore()',
	'gdpr.puncture_at_commit(70000)', 'gdpr.keystore_status()')
{
	fails_with($node, "SET ROLE plain; SELECT $function", qr/permission denied for/, undef,
		"$function is not for everyone");
}
is($node->safe_psql('postgres', q{
		SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a
		 WHERE relnamespace = 'gdpr'::regnamespace AND a.grantee = 0}),
	0, 'nothing in the schema is granted to everyone');

# A prepared plan follows gdpr.physical without error.
is($node->safe_psql('postgres', q{
		PREPARE p AS SELECT 1; EXECUTE p; SET gdpr.physical = on; EXECUTE p;
		BEGIN; SET LOCAL gdpr.physical = off; ROLLBACK; EXECUTE p}),
	"1\n1\n1", 'changing gdpr.physical re-plans, also at the end of a transaction');

# Directories

mkdir "$data/keys", 0700;
mkdir "$good/wide", 0755;
chmod 0755, "$good/wide";
open my $file, '>', "$good/file" or die;
close $file;
symlink "$data/keys", "$good/link";

my @refused = (
	[ '', qr/gdpr\.keystore_directory is not set/, qr/mkdir -m 0700 .*postgresql\.conf/, 'not set' ],
	[ 'keys', qr/"keys" is not an absolute path/, qr/absolute path/, 'relative' ],
	[ "$good/none", qr/"\Q$good\E\/none" does not exist/, qr/mkdir -m 0700 '\Q$good\E\/none'/, 'missing' ],
	[ "$good/file", qr/"\Q$good\E\/file" is not a directory/, qr/directory of its own/, 'a file' ],
	[ "$good/wide", qr/"\Q$good\E\/wide" has mode 0755/, qr/chmod 0700 '\Q$good\E\/wide'/, 'mode' ],
	[ '/usr', qr/"\/usr" is not owned by the server's user/, qr/chown -R --reference=.* '\/usr'/, 'owner' ],
	[ "$data/keys", qr/overlaps the data directory/, qr/move one of the two.*gdpr\.keystore_directory/, 'inside the data directory' ],
	[ "$good/link", qr/overlaps the data directory/, qr/move one of the two/, 'a link into the data directory' ],
	[ $data, qr/overlaps the data directory/, qr/move one of the two/, 'the data directory itself' ]);
for my $case (@refused)
{
	my ($directory, $message, $hint, $name) = @$case;
	my $log = -s $node->logfile;

	restart_with($directory);
	fails_with($node, $use, $message, $hint, $name);
	like(slurp_file($node->logfile, $log), qr/WARNING.*$message/, "$name: the log says it at the start")
	  unless $directory eq '';
	like($node->safe_psql('postgres', 'SELECT problem FROM gdpr.keystore_status()'), $message,
		"$name: keystore_status() says it");
}
chmod 0700, "$good/wide";
restart_with("$good/wide");
$node->{keys} = "$good/wide";

# What happens to the directory while the server is running

my $id = $node->safe_psql('postgres', $use);
ok(-f keystore_file($node, $id), 'the keystore is a file in the directory');
is((stat keystore_file($node, $id))[2] & 07777, 0600, 'of mode 0600');
is((stat "$good/wide/$id.kek.1")[2] & 07777, 0600, 'and so is its key');

chmod 0755, "$good/wide";
fails_with($node, 'SELECT gdpr_test.derive(70000)', qr/has mode 0755/, qr/chmod 0700/,
	'mode changed while running');
chmod 0700, "$good/wide";
is($node->safe_psql('postgres', 'SELECT gdpr_test.derive(70000) IS NOT NULL'), 't',
	'and works again without a restart');

mkdir "$good/wide/space", 0700;
$node->safe_psql('postgres', "CREATE TABLESPACE inside LOCATION '$good/wide/space'");
fails_with($node, 'SELECT gdpr_test.derive(70000)', qr/overlaps the tablespace directory/,
	qr/move one of the two/, 'a tablespace created inside it later');
$node->safe_psql('postgres', 'DROP TABLESPACE inside');

mkdir "$good/outer", 0700;
mkdir "$good/outer/keys", 0700;
$node->safe_psql('postgres', "CREATE TABLESPACE around LOCATION '$good/outer'");
restart_with("$good/outer/keys");
fails_with($node, 'SELECT gdpr_test.derive(70000)', qr/overlaps the tablespace directory/,
	qr/move one of the two/, 'inside a tablespace');
$node->safe_psql('postgres', 'DROP TABLESPACE around');
restart_with("$good/wide");

rename "$good/wide", "$good/away";
system_or_bail('cp', '-a', "$good/away", "$good/wide");
fails_with($node, 'SELECT gdpr_test.derive(70000)', qr/was replaced while the server is running/,
	qr/Restart the server/, 'replaced while running');
system_or_bail('rm', '-r', "$good/wide");
rename "$good/away", "$good/wide";
is($node->safe_psql('postgres', 'SELECT gdpr_test.derive(70000) IS NOT NULL'), 't', 'put back');

# One server each

my $second = new_server('second');
$second->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$good/wide'");
$second->start;
$second->safe_psql('postgres', 'CREATE EXTENSION gdpr');
fails_with($second, $use, qr/used by another running server/, qr/cp -a '\Q$good\E\/wide'/,
	'held by another server');

# The lock lives as long as any process of the first server.
$node->stop('immediate');
$second->restart;
like($second->safe_psql('postgres', $use), qr/^[0-9a-f-]{36}$/, 'free when that has stopped');
$second->stop;
$node->start;

# A crash of a backend does not lose the lock, nor the keystore.
$node->psql('postgres', 'SELECT gdpr_test.fault(1); SELECT gdpr.puncture_at_commit(80000)');
ok(wait_for($node, 'SELECT gdpr_test.derive(70000) IS NOT NULL', 't'),
	'works after a backend has crashed');
$second->start;
like($second->safe_psql('postgres', 'SELECT problem FROM gdpr.keystore_status()'),
	qr/used by another running server/, 'and still holds the directory');

done_testing();
