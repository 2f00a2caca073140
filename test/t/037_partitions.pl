# Partitioned tables and inheritance trees in dumps of all kinds, and through
# logical replication: every row is where it was, sealed once, and the restored
# database goes on protecting old, new and detached partitions.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dumps = directory();
my $main = new_server('main', allows_streaming => 'logical');
$main->start;
$main->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE DATABASE crm');
create_keystore($main, 'crm');
$main->safe_psql('crm', <<'SQL');
CREATE TABLE person (id int, region text, email text, name text NOT NULL, PRIMARY KEY (id, region), CHECK (name <> 'nobody')) PARTITION BY LIST (region);
CREATE TABLE person_nl PARTITION OF person FOR VALUES IN ('nl') PARTITION BY HASH (id);
CREATE TABLE person_nl_0 PARTITION OF person_nl FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE person_de (dropped int, name text NOT NULL, email text, region text NOT NULL, id int NOT NULL, CONSTRAINT person_name_check CHECK (name <> 'nobody'), CONSTRAINT short CHECK (length(name) < 12));
ALTER TABLE person_de DROP COLUMN dropped;
ALTER TABLE person ATTACH PARTITION person_de FOR VALUES IN ('de');
CREATE TABLE person_old PARTITION OF person FOR VALUES IN ('old');
CREATE TABLE person_rest PARTITION OF person DEFAULT;
CREATE TABLE orders (id int PRIMARY KEY, person_id int, region text, note text, FOREIGN KEY (person_id, region) REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE) PARTITION BY RANGE (id);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (100);
CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (100) TO (200);
CREATE TABLE animal (id int PRIMARY KEY, owner text);
CREATE TABLE dog (breed text, PRIMARY KEY (id)) INHERITS (animal);
INSERT INTO person SELECT i, (ARRAY['nl', 'de', 'fr', 'old'])[1 + i % 4], 'mail-' || i || '@xample.test', 'Zwart-' || i FROM generate_series(1, 24) i;
INSERT INTO orders SELECT i * 6, i, (ARRAY['nl', 'de', 'fr'])[1 + i % 4], 'note-' || i || '-zw' FROM generate_series(1, 24) i WHERE i % 4 < 3;
INSERT INTO animal VALUES (1, 'owner-1-zw');
INSERT INTO dog VALUES (2, 'owner-2-zw', 'boxer');
SELECT gdpr.declare_subject('person');
SELECT gdpr.declare_column('person', 'email', 'contact', searchable => true);
SELECT gdpr.declare_column('person', 'name', 'contact');
SELECT gdpr.declare_table('orders', via => 'person_id, region');
SELECT gdpr.declare_column('orders', 'note', 'contact');
SELECT gdpr.declare_subject('animal');
SELECT gdpr.declare_column('animal', 'owner', 'contact');
SELECT gdpr.protect_now(t) FROM unnest('{person,orders,animal}'::regclass[]) t;
ALTER TABLE person DETACH PARTITION person_old;
CREATE TABLE orders_3 PARTITION OF orders FOR VALUES FROM (200) TO (300);
SELECT gdpr.create_purpose('sales', 'contract', '{contact}');
SELECT gdpr.grant_purpose('sales', 'app');
GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
SQL

sub app
{
	my ($node, $database, $sql) = @_;
	return $node->safe_psql($database, "SET ROLE app; SET gdpr.purpose = 'sales'; $sql");
}

my $all = <<'SQL';
SELECT tableoid::regclass, id, region, email, name FROM person UNION ALL SELECT tableoid::regclass, id, region, email, name FROM person_old ORDER BY id;
SELECT tableoid::regclass, id, person_id, note FROM orders ORDER BY id;
SELECT tableoid::regclass, id, owner FROM animal ORDER BY id;
SQL
my $stored = 'SET gdpr.physical = on; SELECT id, email, name, gdpr_sealed FROM person UNION ALL SELECT id, email, name, gdpr_sealed FROM person_old ORDER BY id; SELECT id, note, gdpr_sealed FROM orders ORDER BY id; SELECT id, owner, gdpr_sealed FROM animal ORDER BY id';
my $revealed = app($main, 'crm', $all);
my $sealed = $main->safe_psql('crm', $stored);
my $members = 'SELECT relation, has_rows, is_top FROM gdpr.mapped_relation ORDER BY relation::text';
my $map = $main->safe_psql('crm', $members);
my $guards = q{SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgname ~ 'gdpr' ORDER BY tgrelid::regclass::text, tgname};
my $triggers = $main->safe_psql('crm', $guards);
my $gone = $main->safe_psql('crm', q{SELECT gdpr.subject('person_old', '(3,old)')});
like($revealed, qr/person_old\|3\|old\|mail-3\@xample\.test\|Zwart-3$/m, 'control: values are read');
unlike($sealed, qr/xample|Zwart|-zw/, 'and are sealed');

my %dump_options = (
	custom => [ '-Fc' ],
	directory => [ '-Fd', '-j2' ],
	via_root => [ '-Fp', '--load-via-partition-root' ],
	inserts => [ '-Fp', '--column-inserts', '--load-via-partition-root' ],
	schema_only => [ '-Fp', '--schema-only' ],
	data_via_root => [ '-Fp', '--data-only', '--load-via-partition-root', '--disable-triggers' ],
	data_disabled => [ '-Fp', '--data-only', '--disable-triggers' ]);
$main->command_ok([ 'pg_dump', '-d', $main->connstr('crm'), @{ $dump_options{$_} }, '-f', "$dumps/$_" ], "pg_dump ($_)")
  for sort keys %dump_options;
unlike(slurp_file("$dumps/$_"), qr/xample|Zwart|-zw/, "no value is in the dump ($_)") for qw(via_root inserts data_via_root);

my $other = new_server('other', allows_streaming => 'logical');
put_keys($other, copy_keys($main));
$other->start;
$other->safe_psql('postgres', 'CREATE ROLE app LOGIN');

for my $restored ([ 'custom' ], [ 'directory' ], [ 'via_root' ], [ 'inserts' ], [ 'schema_only', 'data_via_root' ],
	[ 'schema_only', 'data_disabled' ])
{
	my $name = $restored->[-1];

	$other->safe_psql('postgres', 'DROP DATABASE IF EXISTS restored');
	$other->safe_psql('postgres', 'CREATE DATABASE restored');
	for my $file (@$restored)
	{
		$other->command_ok($file =~ /^(custom|directory)$/
			? [ 'pg_restore', '-e', $file eq 'directory' ? '-j2' : '-j1', '-d', $other->connstr('restored'), "$dumps/$file" ]
			: [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $other->connstr('restored'), '-f', "$dumps/$file" ],
			"$name: restored ($file)");
	}
	is($other->safe_psql('restored', $stored), $sealed, "$name: as it was stored, sealed once");
	is(app($other, 'restored', $all), $revealed, "$name: and read");
	is($other->safe_psql('restored', $members), $map, "$name: with its members");
	is($other->safe_psql('restored', $guards), $triggers, "$name: and their triggers");
	# and goes on
	is(app($other, 'restored', "UPDATE person SET region = 'de', name = 'moved' WHERE email = 'mail-4\@xample.test' RETURNING tableoid::regclass, id, name"),
		'person_de|4|moved', "$name: rows move");
	my ($rc, $out, $err) = $other->psql('restored', "SET ROLE app; SET gdpr.purpose = 'sales'; UPDATE person_de SET name = 'a name that is too long' WHERE id = 4");
	like($err, qr/violates check constraint "short"/, "$name: constraints of a partition hold on values");
	$other->safe_psql('restored', "CREATE TABLE person_be PARTITION OF person FOR VALUES IN ('be')");
	is(app($other, 'restored', "INSERT INTO orders VALUES (250, 4, 'de', 'new'); INSERT INTO person_old VALUES (99, 'old', 'm99', 'old'); SELECT note, name, o.tableoid::regclass FROM orders o JOIN person p ON p.id = person_id WHERE o.id = 250"),
		'new|moved|orders_3', "$name: new rows are sealed and read");
	is($other->safe_psql('restored', q{SELECT count(DISTINCT gdpr.subject_number(gdpr_sealed)) FROM (SELECT gdpr_sealed FROM orders WHERE id = 250 UNION ALL SELECT gdpr_sealed FROM person WHERE id = 4) r}),
		1, "$name: under one person");
	$other->safe_psql('restored', "SELECT gdpr.forget($gone)") if $name eq 'data_disabled';
	$other->safe_psql('restored', "ALTER TABLE person ATTACH PARTITION person_old FOR VALUES IN ('old')");
	is(app($other, 'restored', "SELECT count(*), count(email) FROM person WHERE region = 'old'"), $name eq 'data_disabled' ? '6|6' : '7|7',
		"$name: a detached partition comes back, without whom was forgotten");
	next unless $name =~ /^(directory|data_disabled)$/;
	$other->safe_psql('restored', "CALL gdpr.unprotect('orders'); CALL gdpr.unprotect('person'); CALL gdpr.unprotect('animal')");
	is($other->safe_psql('restored', "SELECT count(*) FROM person WHERE email ~ 'xample' AND name ~ 'Zwart'"), $name eq 'data_disabled' ? 22 : 23, "$name: unprotected");
	is($other->safe_psql('restored', q{SELECT conrelid::regclass, conname, conislocal, coninhcount FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace AND conrelid <> 0 AND conname IN ('short', 'person_name_check') AND conrelid::regclass::text IN ('person', 'person_de') ORDER BY 1, 2}),
		"person|person_name_check|t|0\nperson_de|person_name_check|f|1\nperson_de|short|t|0", "$name: with the constraints it had");
}


# Logical replication, by root and by partition, to a subscriber that is
# partitioned otherwise and is later.
for my $via_root ('true', 'false')
{
	my $database = "subscriber_$via_root";

	$other->safe_psql('postgres', 'DROP DATABASE IF EXISTS restored');
	$other->safe_psql('postgres', "CREATE DATABASE $database");
	$other->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $other->connstr($database), '-f', "$dumps/schema_only" ], "via root $via_root: schema");
	$main->command_ok([ 'pg_dump', '-a', '-n', 'gdpr', '-d', $main->connstr('crm'), '-f', "$dumps/map" ], "via root $via_root: the map");
	$other->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $other->connstr($database), '-f', "$dumps/map" ], "via root $via_root: restored");
	$main->safe_psql('crm', "CREATE PUBLICATION p_$via_root FOR TABLE person, orders WITH (publish_via_partition_root = $via_root)");
	$other->safe_psql($database, 'ALTER TABLE person DETACH PARTITION person_nl; DROP TABLE person_nl CASCADE') if $via_root eq 'true';
	$other->safe_psql($database, "CREATE SUBSCRIPTION s_$via_root CONNECTION '" . $main->connstr . " dbname=crm' PUBLICATION p_$via_root");
	$other->wait_for_subscription_sync($main, "s_$via_root", $database);
	app($main, 'crm', "INSERT INTO person VALUES (200, 'nl', 'mail-200\@xample.test', 'new'); UPDATE person SET region = 'de', name = 'moved' WHERE id = 200; UPDATE person SET email = 'changed' WHERE id = 4; DELETE FROM person WHERE id = 8");
	$main->wait_for_catchup("s_$via_root");
	my $rows = 'SELECT id, region, email, name FROM person ORDER BY id; SELECT id, note FROM orders ORDER BY id';
	is(app($other, $database, $rows), app($main, 'crm', $rows), "via root $via_root: the subscriber reads what the publisher does");
	is($other->safe_psql($database, 'SET gdpr.physical = on; SELECT id, email, name, gdpr_sealed FROM person ORDER BY id'),
		$main->safe_psql('crm', 'SET gdpr.physical = on; SELECT id, email, name, gdpr_sealed FROM person ORDER BY id'), "via root $via_root: as it is stored there");
	$other->safe_psql($database, "DROP SUBSCRIPTION s_$via_root");
	$other->safe_psql('postgres', "DROP DATABASE $database");
	app($main, 'crm', "DELETE FROM person WHERE id = 200; INSERT INTO person VALUES (8, 'nl', 'mail-8', 'again')");
}

done_testing();
