# A thousand connections that all use keys: what each keeps is bounded, and all
# lose a person that one of them forgets.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $connections = 1000;
my ($limit) = `ulimit -n` =~ /(\d+)/;
$connections = 200 if defined $limit && $limit < 1100;

my $node = new_server('main');
$node->append_conf('postgresql.conf', "max_connections = " . ($connections + 20) . "\nfsync = off\nshared_buffers = 32MB\nautovacuum = off\n");
$node->start;
create_keystore($node, 'postgres');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE person (id int PRIMARY KEY, name text);
INSERT INTO person SELECT i, 'Name ' || i FROM generate_series(1, 300) i;
SELECT gdpr.declare_subject('person'); SELECT gdpr.declare_column('person', 'name', 'contact');
SELECT gdpr.protect_now('person');
SELECT gdpr.create_purpose('all', 'contract', '{contact}'); SELECT gdpr.grant_purpose('all', current_user);
CREATE TABLE seen (bytes bigint);
SQL

# Every connection reads, says what it keeps, waits, and reads again, in a
# snapshot in which the person's row still is: what it should, or a division by
# zero ends it.
my $tmp = PostgreSQL::Test::Utils::tempdir();
open my $script, '>', "$tmp/script" or die;
print $script <<'SQL';
SET gdpr.purpose = 'all';
\set own random(2, 300)
SELECT 1 / (count(name) = 300)::int FROM person;
INSERT INTO seen SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name LIKE 'gdpr%';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT 1 / (count(name) = 300)::int FROM person;
SELECT pg_advisory_lock_shared(7);
SELECT 1 / (count(*) = 1 AND count(name) = 0)::int FROM person WHERE id = 1;
SELECT 1 / (count(name) = 1)::int FROM person WHERE id = :own;
SELECT 1 / (count(*) = 300 AND count(name) = 299)::int FROM person;
COMMIT;
SQL
close $script;

my ($out, $err) = ("", "");
my ($in, $answer, $problem) = ('', '', '');
my $holder = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
	'<', \$in, '>', \$answer, '2>', \$problem, IPC::Run::timeout(300));
$in .= "SELECT pg_advisory_lock(7);\n\\echo held\n";
$holder->pump until $answer =~ /held/;

my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', $connections, '-j', 2, '-t', 1, '-f', "$tmp/script", '-h', $node->host, '-p', $node->port, 'postgres' ],
	'>', \$out, '2>', \$err, IPC::Run::timeout(300));
ok(wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'}, $connections), "$connections connections have read");
is($node->safe_psql('postgres', 'SELECT count(*), max(bytes) < 2 * 1024 * 1024 FROM seen'), "$connections|t", 'each keeps less than 2 MB');
note('bytes: ' . $node->safe_psql('postgres', 'SELECT min(bytes), max(bytes) FROM seen'));
my $started = time;
$node->safe_psql('postgres', q{SELECT gdpr.forget(gdpr.subject('person', '1'))});
cmp_ok(time - $started, '<', 60, 'forget does not wait for them');
$in .= "SELECT pg_advisory_unlock(7);\n\\echo released\n";
$holder->pump until $answer =~ /released/;
$bench->finish;
unlike($err, qr/aborted|ERROR/, 'none of them reads a person that was forgotten, all read the others');
like($out, qr{number of transactions actually processed: $connections/$connections}, 'all of them ended well') or diag($err);
$in .= "\\q\n";
$holder->finish;
$node->stop;
done_testing();
