# Point-in-time recovery to before somebody was forgotten, with the current, a
# stale, a foreign and no keystore.  With the current one the forgotten are
# dark, are listed, and are forgotten again; so they are in a restored dump.
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
my $partly = 9;
my $main = new_server('main', allows_streaming => 1, has_archiving => 1);
$main->start;
crm_database($main, 'crm', $persons);
$main->backup('base');
my $id = $main->safe_psql('crm', 'SELECT id FROM gdpr.keystore_identity');
my $early = copy_keys($main);

# After the base backup: a person and a table more; then the moment.
app($main, 'crm', q{INSERT INTO crm.person (id, email, name, born) VALUES (50, 'late@xample.test', 'Name-50-Zwart', '1999-01-01'), (51, NULL, 'Name-51', NULL);
	INSERT INTO crm.orders VALUES (50, 50, 'address-50', 5)});
my $revealed = revealed($main, 'crm');
my %number = map { $_ => number_of($main, 'crm', $_) } $gone, $partly, 50, 51;
my $dump = directory() . '/dump';
$main->command_ok([ 'pg_dump', '-Fc', '-d', $main->connstr('crm'), '-f', $dump ], 'a dump of that moment');
$main->safe_psql('crm', q{SELECT pg_create_restore_point('before')});
$main->safe_psql('crm', "SELECT gdpr.forget($number{$gone}); SELECT gdpr.forget($number{$partly}, category => 'private'); SELECT gdpr.forget($number{50})");
app($main, 'crm', q{INSERT INTO crm.person (id, name) SELECT i, 'later' FROM generate_series(101, 110) i});
my $later = $main->safe_psql('crm', 'SELECT string_agg(gdpr.subject_number(gdpr_sealed)::text, $$,$$) FROM crm.person WHERE id > 100');
my $after = revealed($main, 'crm');
is($main->safe_psql('crm', 'SELECT count(*) FROM gdpr.dark_rows()'), 0, 'nothing is dark where it was forgotten');
is($main->safe_psql('crm', 'SELECT gdpr.forget_again()'), 0, 'and nothing is to be forgotten again');
my $keys = copy_keys($main);
$main->safe_psql('postgres', 'SELECT pg_switch_wal()');
$main->stop;

my $except = qr/${\ rows_of($gone, $persons) }|^(?:person|orders) 50$|^person $partly$/;
my $count = "SELECT count(*) FROM crm.person WHERE id IN ($gone, 50)";

sub recovered
{
	my ($name, $directory, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init_from_backup($main, 'base', has_restoring => 1, standby => 0);
	$node->{keys} = directory();
	chmod 0700, $node->{keys};
	put_keys($node, $directory) if $directory;
	$node->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$node->{keys}'");
	$node->append_conf('postgresql.conf', "archive_mode = off\nrecovery_target_name = 'before'\nrecovery_target_action = promote\n");
	$node->start;
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or BAIL_OUT('recovery does not end');
	return $node;
}

# What is dark, and that it goes.
sub check_dark
{
	my ($node, $database, $name) = @_;

	same_rows(revealed($node, $database), $revealed, $except, "$name: all the others are read");
	is(app($node, $database, $count), 2, "$name: the rows of the forgotten are there");
	is(dark($node, $database, $gone, $persons), 0, "$name: dark");
	is($node->safe_psql($database, "SELECT count(*) FROM gdpr.tombstone"), 0, "$name: the database does not know");
	is($node->safe_psql($database, 'SELECT relation, subject, category, rows FROM gdpr.dark_rows() ORDER BY relation::text, subject'), join("\n",
			"crm.comment|$number{$gone}||1", "crm.message|$number{$gone}||2", "crm.order_line|$number{$gone}||2",
			"crm.orders|$number{$gone}||2", "crm.orders|$number{50}||1",
			"crm.person|$number{$gone}||1", "crm.person|$number{$partly}|private|1", "crm.person|$number{50}||1"),
		"$name: they are listed");
	like(app_fails($node, $database, "INSERT INTO crm.orders VALUES (900, $gone, 'x', 1)"), qr/was forgotten.*forget_again/s, "$name: nothing is added to them");
	is($node->safe_psql($database, 'SELECT gdpr.forget_again()'), 3, "$name: they are forgotten again");
	is($node->safe_psql($database, 'SELECT count(*) FROM gdpr.dark_rows()'), 0, "$name: then nothing is dark");
	is(app($node, $database, "$count; SELECT count(*) FROM crm.orders WHERE person_id IN ($gone, 50); SELECT count(body) FROM crm.comment WHERE person_id = $gone"), "0\n0\n0", "$name: their rows are gone");
	is(app($node, $database, "SELECT iban FROM crm.invoice WHERE id = $gone"), "NL00BANK$gone", "$name: but not what is kept by law");
	is(app($node, $database, "SELECT name, bio FROM crm.person WHERE id = $partly"), "Name-$partly-Zwart|", "$name: nor the other categories");
	is($node->safe_psql($database, "SELECT string_agg(number || coalesce('/' || category, ''), ' ' ORDER BY number) FROM gdpr.tombstone"),
		join(' ', map { $_->[0] . $_->[1] } sort { $a->[0] <=> $b->[0] } [ $number{$gone}, '' ], [ $number{$partly}, '/1' ], [ $number{50}, '' ]), "$name: the tombstones are there");
	is($node->safe_psql($database, "SELECT count(*) FROM gdpr.erasure WHERE reason LIKE '%came back%'"), 3, "$name: and the erasures");
	app($node, $database, q{INSERT INTO crm.person (id, name) SELECT i, 'fresh' FROM generate_series(301, 320) i});
	is($node->safe_psql($database, "SELECT count(*) FROM crm.person WHERE id > 300 AND gdpr.subject_number(gdpr_sealed) IN ($later)"), 0, "$name: no number of those who came later is given again");
	return;
}

my $node = recovered('current', $keys);
check_dark($node, 'crm', 'PITR, current keystore');

# The stale keystore of the time of the backup lets the forgotten live: until
# the erasures are repeated.  That is why old copies are to be destroyed.
my $stale = recovered('stale', $early);
same_rows(revealed($stale, 'crm'), $revealed, undef, 'PITR, stale keystore: everybody is read, the forgotten too');
is($stale->safe_psql('crm', 'SELECT count(*) FROM gdpr.dark_rows()'), 0, 'PITR, stale keystore: nothing is dark');
# The current one put in its place mends that.
$stale->stop;
put_keys($stale, $keys);
$stale->start;
check_dark($stale, 'crm', 'PITR, the current keystore put in place of the stale one');
$stale->stop;

my $none = recovered('none');
like(app_fails($none, 'crm', 'SELECT name FROM crm.person'), qr/keystore "[^"]+" does not exist.*HINT/s, 'PITR, no keystore: an error');
isnt($none->psql('crm', 'SELECT * FROM gdpr.dark_rows()'), 0, 'PITR, no keystore: what is dark is not known');
$none->safe_psql('postgres', 'CREATE DATABASE foreigner');
my $foreign_id = create_keystore($none, 'foreigner');
system_or_bail('cp', '-a', "$none->{keys}/$foreign_id.keystore", "$none->{keys}/$id.keystore");
system_or_bail('cp', '-a', "$none->{keys}/$foreign_id.kek.1", "$none->{keys}/$id.kek.1");
like(app_fails($none, 'crm', 'SELECT name FROM crm.person'), qr/is another keystore, $foreign_id.*HINT/s, 'PITR, a foreign keystore: an error');
unlink "$none->{keys}/$id.keystore", "$none->{keys}/$id.kek.1";
$none->safe_psql('postgres', 'DROP DATABASE foreigner');
system_or_bail("cp -a $keys/$id.* $none->{keys}/");
check_dark($none, 'crm', 'PITR, the keystore put back later');

# A dump of before, in the same server: the same.
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), $dump ], 'a dump beside it');
$node->safe_psql('restored', 'SELECT gdpr.fork_keystore()');
check_dark($node, 'restored', 'a dump, the keystore forked');

# Given back and protected again, dark rows are told apart from the living.
$node->safe_psql('postgres', 'CREATE DATABASE again');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('again'), $dump ], 'the dump once more');
$node->safe_psql('again', q{SELECT gdpr.fork_keystore(); CALL gdpr.unprotect('crm.order_line')});
my ($rc, $out, $err) = $node->psql('again', q{CALL gdpr.protect('crm.order_line')});
like($err, qr/was forgotten.*HINT:.*SELECT gdpr\.forget_again\(\)/s, 'rows of the forgotten in a table that is to be protected: the hint says what to do');
$node->safe_psql('again', q{SELECT gdpr.forget_again(); CALL gdpr.protect('crm.order_line')});
is(app($node, 'again', 'SELECT count(*), count(remark) FROM crm.order_line'), (2 * $persons - 2) . '|' . (2 * $persons - 2), 'and it can be done');

# Who may
like(app_fails($node, 'crm', 'SELECT * FROM gdpr.dark_rows()'), qr/permission denied/, 'dark_rows is not for everybody');
like(app_fails($node, 'crm', 'SELECT gdpr.forget_again()'), qr/permission denied/, 'nor forget_again');

done_testing();
