# After protect() no value of a personal column is left in the data directory:
# heap, indexes, TOAST, WAL written since, statistics, temporary files; and
# nothing that is written later leaves one there.
use strict;
use warnings;

use File::Find;
use FindBin;
use lib $FindBin::RealBin;
use GdprTest;
use Keystore;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Data checksums make hint bits write whole pages to the WAL.
my $node = new_server('main', extra => ['--data-checksums']);
$node->append_conf('postgresql.conf', <<'EOC');
wal_level = logical
wal_recycle = off
wal_keep_size = 1GB
autovacuum = off
log_statement = none
EOC
$node->start;
my $data = $node->data_dir;
my $wal_from = '';
my $filler = 'SELECT string_agg(md5(random()::text), %s) FROM generate_series(1, %d)';

# What is looked for.  Text is looked for as it is and, as pglz breaks literals
# up, with up to one byte between any two; numbers and dates in the form in
# which they are stored, and only where that has 8 bytes or more.

my %patterns;

sub text_pattern
{
	my ($marker) = @_;
	my $bytes = join('[\x00-\xff]?', map { quotemeta } split //, $marker);
	$patterns{$marker} = qr/$bytes/i;
	return;
}

sub numeric_digits
{
	my ($digits) = @_;
	return pack('s<*', unpack('(A4)*', $digits));
}

sub binary_pattern
{
	my ($name, $bytes) = @_;
	$patterns{$name} = quotemeta $bytes;
	return;
}

# The names of those that are in the data directory: "name file".
sub found
{
	my ($also_old_wal) = @_;
	my %found;
	my @names = sort keys %patterns;

	find({ no_chdir => 1, wanted => sub {
		my $file = $File::Find::name;
		return unless -f $file && -s _;
		return if !$also_old_wal && $file =~ m{/pg_wal/([0-9A-F]{24})$} && $1 lt $wal_from;
		my $bytes = slurp_file($file);
		for my $name (@names)
		{
			$found{ "$name " . substr($file, length($data) + 1) } = 1 if $bytes =~ $patterns{$name};
		}
	} }, $data);
	return sort keys %found;
}

# For diagnostics: which relation a file is.
sub name_file
{
	my ($hit) = @_;
	my ($file) = $hit =~ m{(?:base|global)/(?:\d+/)?(\d+)} or return $hit;
	return "$hit = " . $node->safe_psql('disk',
		"SELECT coalesce(string_agg(oid::regclass::text, ','), '?') FROM pg_class WHERE pg_relation_filenode(oid) = $file");
}

sub nothing_found
{
	my ($name) = @_;
	my @found = found();
	is(scalar @found, 0, $name) or diag(join("\n", map { name_file($_) } @found));
	return;
}

sub is_found_in
{
	my ($marker, $where, $name, @found) = @_;
	ok(scalar(grep { /^\Q$marker\E $where/ } @found), "control: $name") or diag(join "\n", @found);
	return;
}

sub remember_wal
{
	$node->safe_psql('disk', 'SELECT pg_switch_wal()');
	$wal_from = $node->safe_psql('disk', 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
	return;
}

sub filenode
{
	my ($relation) = @_;
	return $node->safe_psql('disk', "SELECT pg_relation_filepath('$relation')");
}

# A table with everything in it that may keep a value somewhere.

$node->safe_psql('postgres', 'CREATE DATABASE disk');
create_keystore($node, 'disk');
$node->safe_psql('disk', sprintf(<<'SQL', map { sprintf $filler, @$_ } [ q{''}, 300 ], [ q{''}, 300 ]));
CREATE ROLE app;
CREATE SCHEMA d;
CREATE TABLE d.person (
	id int PRIMARY KEY, gone text, email varchar(80) UNIQUE, login text, city text, born date, since date, number bigint,
	stamp timestamptz, amount numeric, ratio float8, code uuid, doc jsonb, raw bytea, tags text[], numbers bigint[],
	external text, pglz text, lz4 text, address inet);
ALTER TABLE d.person ALTER external SET STORAGE EXTERNAL, ALTER pglz SET COMPRESSION pglz, ALTER lz4 SET COMPRESSION lz4;
CREATE INDEX person_login ON d.person (lower(login));
CREATE INDEX ON d.person (city);
CREATE TABLE d.orders (id int PRIMARY KEY, person_id int REFERENCES d.person, note text);
CREATE TABLE d.line (id int PRIMARY KEY, order_id int REFERENCES d.orders, remark text, price numeric);
INSERT INTO d.person
	SELECT i, 'Q7droppedX', 'Q7mailX' || i || '@x.nl', 'Q7LoginX' || i, CASE WHEN i %% 3 = 0 THEN 'Q7cityX' ELSE 'Q7townX' END,
		date '1823-04-05', date '1791-11-12', 1234605616436508552, timestamptz '1907-03-04 05:06:07.891234+00', 7391285046172839,
		-1.2345678901234e-77, 'c0ffee12-3456-789a-bcde-f0123456789a', '{"Q7keyX": ["Q7docX"]}', 'Q7rawX',
		ARRAY['Q7tag1X', 'Q7tag2X'], ARRAY[1234605616436508553, i],
		CASE WHEN i %% 50 = 0 THEN 'Q7externalX' || (%s) END,
		CASE WHEN i %% 50 = 1 THEN repeat('abc', 4000) || 'Q7pglzX' || repeat('def', 200) || 'W9packedX' || (%s) END,
		CASE WHEN i %% 50 = 2 THEN repeat('abc', 4000) || 'Q7lz4X' || (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 300)) END,
		'93.184.216.34'
	FROM generate_series(1, 300) i;
INSERT INTO d.orders SELECT i, i, 'Q7noteX' || i %% 7 FROM generate_series(1, 300) i;
INSERT INTO d.line SELECT i, i, 'Q7remarkX' || i %% 5, 7391285046172839 FROM generate_series(1, 300) i;
-- dead rows, a dropped column, updated index entries
UPDATE d.person SET email = replace(email, 'mail', 'oldmail') WHERE id <= 50;
UPDATE d.person SET email = replace(email, 'oldmail', 'mail') WHERE id <= 50;
ALTER TABLE d.person DROP COLUMN gone;
VACUUM ANALYZE d.person, d.orders, d.line;
CREATE STATISTICS d.together (mcv, ndistinct) ON city, born FROM d.person;
ANALYZE d.person;
-- a sort that spills
SET work_mem = '64kB';
SELECT count(*) FROM (SELECT * FROM d.person CROSS JOIN generate_series(1, 20) ORDER BY pglz, city, login) s;
SELECT count(*) FROM pg_ls_tmpdir();
SELECT gdpr.declare_subject('d.person', key => 'id');
SELECT gdpr.declare_column('d.person', 'email', category => 'contact', searchable => true);
SELECT gdpr.declare_column('d.person', 'login', category => 'contact', searchable => true, normalization => 'lower');
SELECT gdpr.declare_column('d.person', 'city', category => 'contact', searchable => true);
SELECT gdpr.declare_column('d.person', c, category => 'private')
	FROM unnest('{born,since,number,stamp,amount,ratio,code,doc,raw,tags,numbers,external,pglz,lz4,address}'::text[]) c;
SELECT gdpr.declare_table('d.orders', via => 'person_id');
SELECT gdpr.declare_column('d.orders', 'note', category => 'content');
SELECT gdpr.declare_table('d.line', via => 'order_id');
SELECT gdpr.declare_column('d.line', 'remark', category => 'content');
SELECT gdpr.declare_column('d.line', 'price', category => 'content');
SELECT gdpr.create_purpose('all', legal_basis => 'contract', categories => '{contact,private,content}');
SELECT gdpr.grant_purpose('all', 'app');
GRANT USAGE ON SCHEMA d TO app;
GRANT ALL ON ALL TABLES IN SCHEMA d TO app;
SQL

my @texts = qw(Q7droppedX Q7mailX Q7oldmailX Q7LoginX Q7cityX Q7townX Q7keyX Q7docX Q7rawX Q7tag1X Q7tag2X
  Q7externalX Q7pglzX W9packedX Q7lz4X Q7noteX Q7remarkX);
text_pattern($_) foreach @texts;
my %binary = (
	number => pack('q<', 1234605616436508552),
	numbers => pack('q<', 1234605616436508553),
	dates => pack('l<l<', -64554, -76020),
	stamp => pack('q<', -2929460032108766),
	amount => numeric_digits('7391285046172839'),
	ratio => pack('d<', -1.2345678901234e-77),
	code => pack('H*', 'c0ffee123456789abcdef0123456789a'));
binary_pattern($_, $binary{$_}) foreach keys %binary;

$node->safe_psql('disk', 'CHECKPOINT');
my @before = found(1);
my %file = map { $_ => filenode($_) }
  qw(d.person d.person_login d.person_email_key d.line pg_statistic pg_statistic_ext_data);
my $toast = $node->safe_psql('disk',
	"SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'd.person'::regclass");
is_found_in($_, $toast, "$_ is in TOAST", @before) foreach qw(Q7externalX Q7pglzX W9packedX Q7lz4X);
is_found_in($_, $file{'d.person'}, "$_ is in the heap", @before)
  foreach qw(Q7droppedX Q7mailX Q7LoginX Q7cityX Q7docX Q7rawX Q7tag1X), sort keys %binary;
is_found_in('Q7remarkX', $file{'d.line'}, 'and in a child of a child', @before);
is_found_in('Q7mailX', $file{'d.person_email_key'}, 'in an index', @before);
is_found_in('Q7LoginX', $file{'d.person_login'}, 'in an index on an expression', @before);
is_found_in($_, $file{pg_statistic}, "$_ is in statistics", @before) foreach qw(Q7cityX Q7LoginX number);
is_found_in('Q7cityX', $file{pg_statistic_ext_data}, 'in extended statistics', @before);
is_found_in('Q7cityX', 'pg_wal/', 'in the WAL', @before);

# protect()

$node->safe_psql('disk', "CALL gdpr.protect('d.person'); CALL gdpr.protect('d.orders'); CALL gdpr.protect('d.line')");
remember_wal();
$node->safe_psql('disk', 'CHECKPOINT');
nothing_found('protect: no value is left in the data directory');
is($node->safe_psql('disk', "SET ROLE app; SET gdpr.purpose = 'all'; SELECT count(*), count(DISTINCT email) FROM d.person WHERE city = 'Q7cityX' AND lower(login) LIKE 'q7loginx%' AND born = '1823-04-05' AND amount = 7391285046172839"),
	'100|100', 'and all can be read');
isnt(filenode('d.person'), $file{'d.person'}, 'the table has a new file');
is(-s "$data/$file{'d.person'}" // 0, 0, 'the old one is gone');
is($node->safe_psql('disk', 'SELECT count(*) FROM pg_ls_tmpdir()'), 0, 'no temporary file');

# Statistics that an older transaction may need

$node->safe_psql('disk', <<'SQL');
CREATE TABLE d.late (id int PRIMARY KEY, word text);
INSERT INTO d.late SELECT i, 'Q7lateX' FROM generate_series(1, 50) i;
ANALYZE d.late;
SELECT gdpr.declare_subject('d.late'), gdpr.declare_column('d.late', 'word', category => 'private');
SQL
text_pattern('Q7lateX');
my $old = open_session($node, 'disk');
ask($old, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
my ($rc, $out, $err) = $node->psql('disk', "CALL gdpr.protect('d.late')");
like($err, qr/WARNING:  removed statistics may still be on disk.*\nHINT:  VACUUM FULL pg_catalog\.pg_statistic, pg_catalog\.pg_statistic_ext_data /,
	'protect says so when statistics have to stay for another session');
ask($old, 'COMMIT');
close_session($old);
$node->safe_psql('disk', 'VACUUM FULL pg_catalog.pg_statistic, pg_catalog.pg_statistic_ext_data');
remember_wal();
$node->safe_psql('disk', 'CHECKPOINT');
nothing_found('what the hint says removes them');

# New writes

$node->safe_psql('disk', <<'SQL');
CREATE TABLE d.control (id int PRIMARY KEY, word text);
CREATE INDEX ON d.control (word);
GRANT ALL ON d.control TO app;
SELECT pg_create_logical_replication_slot('slot', 'test_decoding');
SQL
text_pattern($_) foreach qw(Q8controlX);
remember_wal();
my $long = "(SELECT 'Q8longX' || string_agg(md5(random()::text), '') FROM generate_series(1, 400))";
$node->safe_psql('disk', <<"SQL");
SET ROLE app;
SET gdpr.purpose = 'all';
INSERT INTO d.control VALUES (1, 'Q8controlX');
INSERT INTO d.person (id, email, login, city, born, since, number, doc, tags, external)
	VALUES (1001, 'Q8insertX', 'Q8insertX', 'Q8insertX', '1823-04-05', '1791-11-12', 1234605616436508552, '{"a": "Q8insertX"}', '{Q8insertX}', $long),
		(1002, 'Q8insert2X', 'Q8insert2X', 'Q8insert2X', NULL, NULL, 1, NULL, NULL, $long);
INSERT INTO d.orders SELECT id + 1000, id, 'Q8selectX' FROM d.person WHERE id <= 20;
UPDATE d.person SET email = 'Q8updateX' || id, pglz = repeat('abc', 4000) || 'Q8updateX', number = 1234605616436508553 WHERE id BETWEEN 100 AND 120;
UPDATE d.person p SET login = 'Q8fromX' FROM d.orders o WHERE o.person_id = p.id AND p.id BETWEEN 121 AND 125;
INSERT INTO d.person (id, email, login) VALUES (200, 'Q8conflictX', 'Q8conflictX')
	ON CONFLICT (id) DO UPDATE SET email = excluded.email, login = 'Q8conflict2X';
INSERT INTO d.person (id, email) VALUES (1003, 'Q8nothingX'), (201, 'Q8nothing2X') ON CONFLICT DO NOTHING;
MERGE INTO d.person p USING (VALUES (202, 'Q8mergeX'), (1004, 'Q8merge2X')) AS s (id, word) ON p.id = s.id
	WHEN MATCHED THEN UPDATE SET city = s.word
	WHEN NOT MATCHED THEN INSERT (id, email, city) VALUES (s.id, s.word, s.word);
WITH w AS (INSERT INTO d.person (id, email) VALUES (1005, 'Q8cteX') RETURNING id, email)
	INSERT INTO d.orders (id, person_id, note) SELECT 2001, id, email FROM w;
PREPARE p (int, text) AS INSERT INTO d.person (id, email, pglz) VALUES (\$1, \$2, \$2);
EXECUTE p (1006, 'Q8preparedX');
DO \$\$ BEGIN
	INSERT INTO d.line (id, order_id, remark) VALUES (1001, 1, 'Q8plpgsqlX');
	BEGIN
		INSERT INTO d.person (id, email) VALUES (1007, 'Q8exceptionX'), (1001, 'Q8exception2X');
	EXCEPTION WHEN unique_violation THEN NULL;
	END;
END \$\$;
BEGIN;
INSERT INTO d.person (id, email, external) VALUES (1008, 'Q8rollbackX', $long);
UPDATE d.person SET city = 'Q8rollback2X' WHERE id < 20;
ROLLBACK;
COPY d.person (id, email, city, doc, external) FROM stdin;
2001	Q8copyX	Q8copyX	{"Q8copyX": 1}	Q8copyX
2002	Q8copy2X	Q8copyX	{"Q8copyX": 1}	Q8copyX
\\.
COPY d.person (id, email, city) FROM stdin WITH (FORMAT csv);
2003,Q8csvX,Q8csvX
\\.
DELETE FROM d.person WHERE id = 1002;
SQL
my @new = qw(Q8longX Q8insertX Q8insert2X Q8selectX Q8updateX Q8fromX Q8conflictX Q8conflict2X Q8nothingX Q8nothing2X
  Q8mergeX Q8merge2X Q8cteX Q8preparedX Q8plpgsqlX Q8exceptionX Q8exception2X Q8rollbackX Q8rollback2X Q8copyX Q8copy2X Q8csvX);
text_pattern($_) foreach @new;
$node->psql('disk', "SET ROLE app; SET gdpr.purpose = 'all'; INSERT INTO d.person (id, email) VALUES (3001, 'Q8mailX'), (3002, 'Q8mailX')");
text_pattern('Q8mailX');
is($node->safe_psql('disk', "SET ROLE app; SET gdpr.purpose = 'all'; SELECT string_agg(email, ' ' ORDER BY id) FROM d.person WHERE id IN (100, 200, 202, 1001, 1003, 1004, 1005, 1006, 2001, 2003)"),
	'Q8updateX100 Q8conflictX Q7mailX202@x.nl Q8insertX Q8nothingX Q8merge2X Q8cteX Q8preparedX Q8copyX Q8csvX',
	'new writes: all of them happened');
my $changes = $node->safe_psql('disk', "SELECT string_agg(data, '') FROM pg_logical_slot_get_changes('slot', NULL, NULL)");
like($changes, qr/table d\.person: UPDATE/, 'new writes: a logical replication slot shows the changes');
like($changes, qr/Q8controlX/, 'control: and values of other tables');
my @shown = grep { !/control/ && $changes =~ /$_/i } @texts, @new;
is("@shown", '', 'but no personal value');
$node->safe_psql('disk', 'VACUUM ANALYZE d.person, d.orders, d.line, d.control; CHECKPOINT');
my @after = found();
is_found_in('Q8controlX', 'pg_wal/', 'values of other tables are found in the WAL', @after);
is_found_in('Q8controlX', filenode('d.control'), 'and in their heap', @after);
my @bad = grep { !/^Q8controlX/ } @after;
is(scalar @bad, 0, 'new writes: no value in heap, index, TOAST, WAL or statistics') or diag(join "\n", map { name_file($_) } @bad);

# The whole table again, and a stopped server

$node->safe_psql('disk', 'VACUUM FULL d.person; REINDEX TABLE d.person; ALTER TABLE d.orders ADD COLUMN x int DEFAULT 7; ANALYZE d.person');
$node->stop;
@bad = grep { !/^Q8controlX/ } found();
is("@bad", '', 'rewritten, reindexed, stopped: no value either');

done_testing();
