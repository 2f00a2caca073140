# Servers with a keystore, for the TAP tests.
package Keystore;

use strict;
use warnings;

use Exporter 'import';
use File::Spec;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_server create_keystore keystore_file directory fails_with
  copy_keys put_keys read_bytes write_bytes wait_for may_die tombstones);

sub directory
{
	return File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir());
}

# A server with an empty keystore directory of its own, not started.
sub new_server
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $keys = directory();

	$node->init(%options);
	chmod 0700, $keys or die "chmod $keys: $!";
	$node->{keys} = $keys;
	$node->append_conf('postgresql.conf', <<"EOC");
shared_preload_libraries = 'gdpr'
gdpr.keystore_directory = '$keys'
gdpr.worker_naptime = 100
max_prepared_transactions = 5
restart_after_crash = on
jit = off
EOC
	return $node;
}

# Extension, test module and keystore in a database; returns the uuid.
sub create_keystore
{
	my ($node, $database) = @_;
	$database ||= 'postgres';

	$node->safe_psql($database, 'CREATE EXTENSION gdpr; CREATE EXTENSION gdpr_test');
	return $node->safe_psql($database, 'SELECT gdpr.create_keystore()');
}

sub keystore_file
{
	my ($node, $id) = @_;
	return "$node->{keys}/$id.keystore";
}

# The statement fails with a message and a hint.
sub fails_with
{
	my ($node, $sql, $message, $hint, $name, $database) = @_;
	my ($rc, $out, $err) = $node->psql($database || 'postgres', $sql);

	isnt($rc, 0, "$name: fails");
	like($err, $message, "$name: says what is wrong");
	like($err, $hint, "$name: says what to do") if defined $hint;
	return;
}

sub copy_keys
{
	my ($node) = @_;
	my $copy = directory();

	system_or_bail('cp', '-a', "$node->{keys}/.", $copy);
	return $copy;
}

# Puts a copy of the directory back in place, files it does not have removed.
sub put_keys
{
	my ($node, $copy) = @_;

	unlink grep { !/\/lock$/ } glob("$node->{keys}/*");
	for my $file (grep { !/\/lock$/ } glob("$copy/*"))
	{
		system_or_bail('cp', '-a', $file, $node->{keys});
	}
	return;
}

sub read_bytes
{
	my ($path, $offset, $length) = @_;
	my $bytes;

	open my $file, '<:raw', $path or die "$path: $!";
	seek $file, $offset, 0;
	read $file, $bytes, $length;
	close $file;
	return $bytes;
}

sub write_bytes
{
	my ($path, $offset, $bytes) = @_;

	open my $file, '+<:raw', $path or die "$path: $!";
	seek $file, $offset, 0;
	print $file $bytes;
	close $file or die "$path: $!";
	return;
}

# Polls in a server that may be restarting.
sub wait_for
{
	my ($node, $sql, $expected, $database) = @_;
	my $out = '';

	for (1 .. 300)
	{
		my ($rc, $err);
		($rc, $out, $err) = $node->psql($database || 'postgres', $sql);
		return 1 if $rc == 0 && $out eq $expected;
		select undef, undef, undef, 0.1;
	}
	diag "last answer: $out";
	return 0;
}

# A statement that may end the backend, and so make the server start again:
# returns psql's exit code, when the server is back.
sub may_die
{
	my ($node, $sql, $database) = @_;
	my $offset = -s $node->logfile;
	my ($rc) = $node->psql($database || 'postgres', $sql);

	if ($rc == 2)
	{
		for (1 .. 300)
		{
			last if slurp_file($node->logfile, $offset) =~ /database system is ready to accept connections/;
			select undef, undef, undef, 0.05;
		}
	}
	wait_for($node, 'SELECT 1', '1') or BAIL_OUT('the server does not come back');
	return $rc;
}

sub tombstones
{
	my ($node, $number) = @_;
	return $node->safe_psql('postgres',
		"SELECT count(*) FROM gdpr.tombstone WHERE number = $number");
}

1;
