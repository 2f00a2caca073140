# Certificates of erasure: signed by a key that the database does not have, verified
# with openssl alone; what they say of standbys, copies of the keystore, tokens.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();

sub openssl
{
	my (@arguments) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'openssl', @arguments ], '>', \$out, '2>', \$err);
	return ($ok, $out . $err);
}

ok((openssl('genpkey', '-algorithm', 'ed25519', '-out', "$dir/sign.pem"))[0], 'a key') or BAIL_OUT('no openssl');
openssl('pkey', '-in', "$dir/sign.pem", '-pubout', '-out', "$dir/public.pem");

my $node = new_server('main', allows_streaming => 1);
$node->start;
crm_database($node, 'crm', 12);
my $number = number_of($node, 'crm', 3);
my $erasure = $node->safe_psql('crm', "SELECT gdpr.forget($number, reason => 'request 17')");

sub fails
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $node->psql('crm', $sql);
	return $rc == 0 ? 'no error' : $err;
}

sub certificate
{
	my ($id) = @_;
	return decode_json($node->safe_psql('crm', "SELECT certificate FROM gdpr.erasure_certificate('$id', sign => false)"));
}

# Is it a time of this test?
sub between
{
	my ($time) = @_;
	return $node->safe_psql('crm', "SELECT '$time'::timestamptz BETWEEN now() - interval '10 minutes' AND now()");
}

# The standbys of a certificate, and when the last of them was heard of.
sub standbys
{
	my $standbys = certificate(@_)->{standbys};
	my $heard;

	$heard = delete $_->{heard_at} for @$standbys;
	return ($standbys, $heard);
}

# ---------- mistakes ----------

like(fails("SELECT gdpr.erasure_certificate('$erasure')"), qr/gdpr\.sign_command is not set.*HINT/s, 'no command: an error');
like(fails("SELECT gdpr.erasure_certificate('00000000-0000-4000-8000-000000000000')"), qr/there is no erasure/, 'no such erasure');
like(fails('SELECT gdpr.erasure_certificate(NULL)'), qr/is NULL/, 'NULL');
like(fails("SET ROLE app; SELECT gdpr.erasure_certificate('$erasure')"), qr/permission denied/, 'not for everybody');
like(fails("SET gdpr.sign_command = 'x'"), qr/cannot be changed now/, 'nobody sets the command in a session');
like(fails("BEGIN; SELECT gdpr.erasure_certificate(gdpr.forget(" . number_of($node, 'crm', 4) . '), sign => false); COMMIT'),
	qr/has not been carried out/, 'of an erasure that is not committed, there is none');

for my $case ([ 'false', qr/sign command failed/ ], [ 'true', qr/printed no signature/ ], [ 'echo not!base64', qr/printed no signature/ ],
	[ 'yes', qr/printed no signature|did not finish/ ], [ '/nonexistent', qr/sign command failed/ ])
{
	my ($command, $error) = @$case;

	$node->append_conf('postgresql.conf', "gdpr.sign_command = '$command'\n");
	$node->reload;
	ok(comes_true($node, 'crm', "current_setting('gdpr.sign_command') = '$command'"), "command $command");
	next if $command eq 'yes';
	like(fails("SELECT gdpr.erasure_certificate('$erasure')"), $error, "command $command: an error");
}

# ---------- signed, and verified with openssl alone ----------

# openssl signs files only
my $command = qq{f=\$(mktemp) && cat > "\$f" && openssl pkeyutl -sign -inkey $dir/sign.pem -rawin -in "\$f" | base64; rm -f "\$f"};
$node->append_conf('postgresql.conf', "gdpr.sign_command = '$command'\n");
$node->reload;
ok(comes_true($node, 'crm', "current_setting('gdpr.sign_command') ~ 'pkeyutl'"), 'a command that signs');
my $files = "\\o $dir/certificate.json\nSELECT certificate FROM c;\n\\o $dir/signature\nSELECT signature FROM c;\n\\o $dir/secret\nSELECT secret FROM c;\n\\o\n";
$node->safe_psql('crm', "CREATE TEMP TABLE c AS SELECT * FROM gdpr.erasure_certificate('$erasure', identifier => 'jan\@example.nl');\n$files");
my $verify = "base64 -d < $dir/signature > $dir/signature.bin && openssl pkeyutl -verify -pubin -inkey $dir/public.pem -rawin -in $dir/certificate.json -sigfile $dir/signature.bin";
is(system('sh', '-c', "$verify > /dev/null"), 0, 'the signature verifies with openssl alone');
my $text = slurp_file("$dir/certificate.json");
my $secret = slurp_file("$dir/secret");
chomp $secret;
for my $change ([ 'delete', 'keep' ], [ '"rows": 1', '"rows": 2' ], [ "\n", '' ])
{
	my ($from, $to) = @$change;
	(my $forged = $text) =~ s/\Q$from\E/$to/ or BAIL_OUT("nothing to forge: $from in $text");

	unlink "$dir/certificate.json";
	append_to_file("$dir/certificate.json", $forged);
	isnt(system('sh', '-c', "$verify > /dev/null 2>&1"), 0, "a certificate that was changed does not");
}
my $c = decode_json($text);
is($c->{erasure}, $erasure, 'it names the erasure');
is($c->{type}, 'gdpr erasure certificate', 'says what it is');
ok($c->{live_system}{key_destroyed}, 'says that the key is destroyed');
is($c->{category}, undef, 'of everything');
ok((grep { $_->{relation} eq 'crm.person' && $_->{action} =~ /delete|erase/ && $_->{rows} == 1 } @{ $c->{relations} }), 'what was deleted');
unlike($text, qr/Name-3|mail-3|request 17|\b$number\b|jan\@example/, 'and nothing of the person');
my $expected = $node->safe_psql('crm', "SELECT encode(sha256(convert_to('gdpr-cert' || '$secret' || 'jan\@example.nl', 'UTF8')), 'hex')");
is($c->{person}, $expected, 'the person can prove whose it is');
isnt(decode_json($node->safe_psql('crm', "SELECT certificate FROM gdpr.erasure_certificate('$erasure', 'jan\@example.nl')"))->{person}, $expected,
	'each with a secret of its own');

# ---------- of one category ----------

my $other = number_of($node, 'crm', 5);
my $category = $node->safe_psql('crm', "SELECT category FROM gdpr.data_map WHERE relation = 'crm.person'::regclass AND \"column\" = 'email'");
my $part = $node->safe_psql('crm', "SELECT gdpr.forget($other, category => '$category')");
is(certificate($part)->{category}, $category, 'of one category: says which');

# ---------- copies of the keystore, tokens ----------

ok(!certificate($erasure)->{copies_of_the_keystore}{useless}, 'copies of the keystore are of use');
is(certificate($erasure)->{copies_of_the_keystore}{useless_since}, undef, '... since never');
$node->safe_psql('crm', 'SELECT gdpr.rotate_key_encryption_key()');
ok(certificate($erasure)->{copies_of_the_keystore}{useless}, '... until the key-encryption key is rotated');
is(between(certificate($erasure)->{copies_of_the_keystore}{useless_since}), 't', '... and says since when, at the latest');
is(certificate($erasure)->{tokens_in_backups}{destroyed_at}, undef, 'tokens in backups can be compared');
$node->safe_psql('crm', 'CALL gdpr.rotate_tokens()');
isnt(certificate($erasure)->{tokens_in_backups}{destroyed_at}, undef, '... until they are rotated');
my $late = $node->safe_psql('crm', 'SELECT gdpr.forget(' . number_of($node, 'crm', 6) . ')');
ok(!certificate($late)->{copies_of_the_keystore}{useless}, 'of what was forgotten later, copies are of use again');
is(certificate($late)->{tokens_in_backups}{destroyed_at}, undef, '... and tokens');

# ---------- standbys ----------

is_deeply((standbys($late))[0], [], 'no standby');
$node->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('elsewhere')");
is_deeply((standbys($late))[0], [ { name => 'elsewhere', has_replayed => JSON::PP::false } ], 'one that is not connected, but has a slot');
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->{keys} = directory();
chmod 0700, $standby->{keys};
put_keys($standby, copy_keys($node));
$standby->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$standby->{keys}'");
$standby->append_conf('postgresql.conf', "primary_slot_name = 'elsewhere'\n");
$standby->start;
ok(comes_true($node, 'postgres', "EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')"), 'a standby');
my ($standbys, $heard) = standbys($late);
is_deeply($standbys, [ { name => 'elsewhere', has_replayed => JSON::PP::true } ], '... has replayed the erasure');
is(between($heard), 't', '... and was heard of now');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$node->safe_psql('crm', 'CREATE TABLE something ()');
is_deeply((standbys($late))[0], [ { name => 'elsewhere', has_replayed => JSON::PP::false } ], '... which waits: has not');
$standby->stop;
$node->stop;
done_testing();
