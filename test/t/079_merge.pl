# Merged persons in dumps, on standbys, and in backups that were restored after
# they were forgotten or separated.
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
my $dumps = directory();
my $node = new_server('main', allows_streaming => 1);
$node->start;
crm_database($node, 'crm', $persons);
$node->safe_psql('crm', q{SELECT gdpr.create_purpose('news', 'consent', '{contact}');
	CREATE TABLE public.n AS SELECT id, gdpr.subject('crm.person', id::text) AS s FROM crm.person;
	CREATE FUNCTION public.n(int) RETURNS bigint LANGUAGE sql AS 'SELECT s FROM public.n WHERE id = $1';
	SELECT gdpr.give_consent(public.n(5), 'news')});
my $standing = q{SELECT string_agg(gdpr.standing(s, 'news'), ' ' ORDER BY id) FROM public.n WHERE id IN (3, 4, 5)};
my $numbers = q{SELECT string_agg((SELECT string_agg(m.id::text, '+' ORDER BY m.id) FROM public.n m WHERE m.s = ANY (gdpr.numbers_of(n.s))), ' ' ORDER BY id) FROM public.n n WHERE cardinality(gdpr.numbers_of(s)) > 1};

# A standby, and a session on it that has asked before.
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->{keys} = directory();
chmod 0700, $standby->{keys};
put_keys($standby, copy_keys($node));
$standby->adjust_conf('postgresql.conf', 'gdpr.keystore_directory', "'$standby->{keys}'");
$standby->append_conf('postgresql.conf', "gdpr.standby_audit = 'off'\n");
$standby->start;
my $session = open_session($standby, 'crm');
is(ask($session, $standing), 'no consent no consent permitted', 'standby: before the merge');
$node->safe_psql('crm', q{SELECT gdpr.merge_subjects(public.n(3), public.n(5), 'they are one, says Zwart-desk'); SELECT gdpr.merge_subjects(public.n(7), public.n(8)); SELECT gdpr.merge_subjects(public.n(9), public.n(10)); SELECT gdpr.forget(public.n(9), category => 'content')});
$node->wait_for_catchup($standby);
is(ask($session, $standing), 'permitted no consent permitted', 'standby: a session that asked before sees the merge');
is(ask($session, $numbers), '3+5 3+5 7+8 7+8 9+10 9+10', 'standby: who is one');
close_session($session);
$standby->stop;

# Dumps, of three kinds
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('crm'), '-f', "$dumps/custom" ], 'pg_dump, custom');
$node->command_ok([ 'pg_dump', '-Fd', '-j2', '-d', $node->connstr('crm'), '-f', "$dumps/directory" ], 'pg_dump, directory');
$node->command_ok([ 'pg_dump', '-Fp', '-d', $node->connstr('crm'), '-f', "$dumps/plain" ], 'pg_dump, plain');
is(index(slurp_file("$dumps/plain"), 'Zwart-desk'), -1, 'the reason of a merge is not in a dump');

sub restored
{
	my ($name) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name");
	if ($name =~ /plain/)
	{
		$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr($name), '-f', "$dumps/plain" ], "$name: restored");
	}
	elsif ($name =~ /custom/)
	{
		$node->command_ok([ 'pg_restore', '-e', '-j2', '-d', $node->connstr($name), "$dumps/custom" ], "$name: restored");
	}
	else
	{
		$node->command_ok([ 'pg_restore', '-e', '-s', '-d', $node->connstr($name), "$dumps/directory" ], "$name: the schema");
		$node->command_ok([ 'pg_restore', '-e', '-a', '-j2', '--disable-triggers', '-d', $node->connstr($name), "$dumps/directory" ], "$name: the data");
	}
	$node->safe_psql($name, 'SELECT gdpr.fork_keystore()');
	return;
}

my $ledger = 'SELECT kind, subject, other, recorded_at, details::text FROM gdpr.identity_event ORDER BY recorded_at';
for my $name (qw(custom plain parts))
{
	restored($name);
	is($node->safe_psql($name, $numbers), '3+5 3+5 7+8 7+8 9+10 9+10', "$name: who is one");
	is($node->safe_psql($name, $standing), 'permitted no consent permitted', "$name: what holds");
	is($node->safe_psql($name, $ledger), $node->safe_psql('crm', $ledger), "$name: the ledger");
	is($node->safe_psql($name, q{SELECT details ->> 'reason' FROM gdpr.identity_history(public.n(5))}), 'they are one, says Zwart-desk', "$name: the reason");
	is($node->safe_psql($name, 'SELECT count(*) FROM gdpr.dark_rows(); SELECT gdpr.forget_again()'), "0\n0", "$name: nothing is to be forgotten again");
	is($node->safe_psql($name, $numbers), '3+5 3+5 7+8 7+8 9+10 9+10', "$name: and nobody was separated");
	is($node->safe_psql($name, q{SELECT gdpr.forget(public.n(5)) IS NOT NULL; SELECT gdpr.key_is_lost(public.n(3), NULL)}), "t\nt", "$name: they are forgotten as one");
}

# After the dump: some are forgotten, others separated, and one of these forgotten, in whole or in part.
$node->safe_psql('crm', q{SELECT gdpr.forget(public.n(5));
	SELECT gdpr.unmerge_subjects(public.n(8)), gdpr.forget(public.n(8));
	SELECT gdpr.unmerge_subjects(public.n(10)), gdpr.forget(public.n(9), category => 'financial')});
for my $name (qw(custom_later plain_later))
{
	restored($name);
	is($node->safe_psql($name, $numbers), '3+5 3+5 7+8 7+8 9+10 9+10', "$name: as it was");
	is($node->safe_psql($name, q{SELECT DISTINCT n.id, category FROM gdpr.dark_rows() d JOIN public.n ON s = d.subject ORDER BY 1, 2}), "3|\n5|\n8|\n9|financial", "$name: who is dark");
	is($node->safe_psql($name, 'SELECT gdpr.forget_again()'), 3, "$name: forgotten again");
	is($node->safe_psql($name, 'SELECT count(*) FROM gdpr.dark_rows()'), 0, "$name: nothing is dark");
	is($node->safe_psql($name, 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM public.n WHERE gdpr.key_is_lost(s, NULL)'), '3 5 8', "$name: who is forgotten");
	is($node->safe_psql($name, 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM crm.person'), '1 2 4 6 7 9 10 11 12', "$name: who has a row");
	is($node->safe_psql($name, $numbers), '3+5 3+5', "$name: who was separated later is separated");
	is(app($node, $name, 'SELECT id, name, salary FROM crm.person WHERE id IN (7, 9, 10) ORDER BY id'), "7|Name-7-Zwart|1007.25\n9|Name-9-Zwart|\n10|Name-10-Zwart|1010.25", "$name: the others are read");
}
$node->stop;

done_testing();
