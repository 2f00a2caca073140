
# The Northwind sample company, twice: as it is, and protected.  Typical CRM
# queries give the same answers, byte for byte.  Skips itself where the data is
# absent (GDPR_NORTHWIND= says where it is).

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $data = $ENV{GDPR_NORTHWIND} || '../shared/data/northwind';
plan skip_all => "the Northwind data is not here" unless -d $data;

# --------------------------------------------------------------------------
# The data.  Its files are not quite CSV: addresses contain bare commas, so one
# column of a line takes what the others leave.
# --------------------------------------------------------------------------

# rows(FILE, NUMBER OF COLUMNS, GREEDY COLUMN): COPY text lines
sub rows
{
	my ($file, $columns, $greedy) = @_;
	open my $in, '<', "$data/$file" or die "$data/$file: $!";
	<$in>;
	my @rows;
	while (my $line = <$in>)
	{
		$line =~ s/\r?\n$//;
		my @fields;
		while ($line =~ /\G(?:"((?:[^"]|"")*)"|([^,]*))(?:,|$)/gc)
		{
			my $field = defined $1 ? $1 =~ s/""/"/gr : $2;
			push @fields, $field;
			last if pos($line) == length($line) && $line !~ /,$/;
		}
		my $extra = @fields - $columns;
		splice @fields, $greedy, $extra + 1,
		  join(',', @fields[ $greedy .. $greedy + $extra ])
		  if $extra > 0;
		die "$file: cannot read: $line" if @fields != $columns;
		push @rows, [ map { $_ eq 'NULL' ? undef : $_ } @fields ];
	}
	return \@rows;
}

sub copy_lines
{
	my ($table, $rows) = @_;
	my $out = "COPY northwind.$table FROM stdin;\n";
	for my $row (@$rows)
	{
		$out .= join("\t",
			map { defined $_ ? s/([\\\t\n\r])/\\$1/gr : '\N' } @$row) . "\n";
	}
	return $out . "\\.\n";
}

my $schema = <<'SQL';
CREATE SCHEMA northwind;
CREATE TABLE northwind.customers (
	id char(5) PRIMARY KEY, company_name varchar(40) NOT NULL, contact_name varchar(30), contact_title varchar(30),
	address varchar(60), city varchar(15), region varchar(15), postal_code varchar(10), country varchar(15),
	phone varchar(24), fax varchar(24)
);
CREATE INDEX ON northwind.customers (contact_name);
CREATE TABLE northwind.employees (
	id int PRIMARY KEY, last_name varchar(20) NOT NULL, first_name varchar(10) NOT NULL, title varchar(30),
	courtesy varchar(25), birth_date date CHECK (birth_date < '2000-01-01'), hire_date timestamp, address varchar(60),
	city varchar(15), region varchar(15), postal_code varchar(10), country varchar(15), home_phone varchar(24) UNIQUE,
	extension varchar(4), notes text, reports_to int REFERENCES northwind.employees
);
CREATE TABLE northwind.orders (
	id int PRIMARY KEY, customer_id char(5) NOT NULL REFERENCES northwind.customers,
	employee_id int NOT NULL REFERENCES northwind.employees, order_date date, required_date date, shipped_date date,
	ship_via int, freight numeric(10,2), ship_name varchar(40), ship_address varchar(60), ship_city varchar(15),
	ship_region varchar(15), ship_postal_code varchar(10), ship_country varchar(15)
);
CREATE INDEX ON northwind.orders (customer_id);
CREATE TABLE northwind.order_details (
	order_id int REFERENCES northwind.orders, product_id int, unit_price numeric(10,2) NOT NULL, quantity int NOT NULL,
	discount real NOT NULL, PRIMARY KEY (order_id, product_id)
);
CREATE VIEW northwind.directory AS
	SELECT contact_name AS name, phone, 'customer' AS kind FROM northwind.customers
	UNION ALL SELECT first_name || ' ' || last_name, home_phone, 'employee' FROM northwind.employees;
CREATE VIEW northwind.late AS
	SELECT o.*, c.contact_name FROM northwind.orders o JOIN northwind.customers c ON c.id = o.customer_id
	WHERE o.shipped_date > o.required_date;
GRANT USAGE ON SCHEMA northwind TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA northwind TO crm_app;
SQL

my $customers = rows('customers.csv', 11, 4);
my $employees = rows('employees.csv', 18, 15);
my $orders = rows('orders.csv', 14, 9);
my $details = rows('order-details.csv', 5, 4);

# Photographs and their paths stay out; managers come before their reports.
$employees = [ map { [ @$_[ 0 .. 13, 15, 16 ] ] } @$employees ];
$employees = [ sort { (defined $a->[15]) <=> (defined $b->[15]) || ($a->[15] // 0) <=> ($b->[15] // 0) || $a->[0] <=> $b->[0] } @$employees ];

# An order of a customer who is not in the customers' file cannot be loaded.
my %known = map { $_->[0] => 1 } @$customers;
$orders = [ grep { $known{ $_->[1] } } @$orders ];
my %ordered = map { $_->[0] => 1 } @$orders;
$details = [ grep { $ordered{ $_->[0] } } @$details ];

# --------------------------------------------------------------------------
# Two databases.  Text is bytes (UTF-8) throughout.
# --------------------------------------------------------------------------

my $node = PostgreSQL::Test::Cluster->new('northwind');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
my $keystore = $node->basedir . '/keystore';
mkdir $keystore, 0700 or die "$keystore: $!";
$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'gdpr'
gdpr.keystore_directory = '$keystore'
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE crm_app LOGIN');

my $load = $schema
  . copy_lines('customers', $customers)
  . copy_lines('employees', $employees)
  . copy_lines('orders', $orders)
  . copy_lines('order_details', $details)
  . "ANALYZE;\n";
for my $database (qw(plain sealed))
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, $load);
}

$node->safe_psql('sealed', <<'SQL');
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore();
SELECT gdpr.declare_subject('northwind.customers', key => 'id');
SELECT gdpr.declare_subject('northwind.employees', key => 'id');
SELECT gdpr.declare_table('northwind.orders', via => 'customer_id');
SELECT gdpr.declare_table('northwind.order_details', via => 'order_id');
SELECT gdpr.declare_column('northwind.customers', 'contact_name', category => 'identity', searchable => true);
SELECT gdpr.declare_column('northwind.customers', 'address', category => 'contact');
SELECT gdpr.declare_column('northwind.customers', 'phone', category => 'contact', searchable => true);
SELECT gdpr.declare_column('northwind.customers', 'fax', category => 'contact');
SELECT gdpr.declare_column('northwind.employees', 'last_name', category => 'identity');
SELECT gdpr.declare_column('northwind.employees', 'first_name', category => 'identity');
SELECT gdpr.declare_column('northwind.employees', 'birth_date', category => 'identity');
SELECT gdpr.declare_column('northwind.employees', 'address', category => 'contact');
SELECT gdpr.declare_column('northwind.employees', 'home_phone', category => 'contact', searchable => true);
SELECT gdpr.declare_column('northwind.employees', 'notes', category => 'content');
SELECT gdpr.declare_column('northwind.orders', 'ship_name', category => 'contact');
SELECT gdpr.declare_column('northwind.orders', 'ship_address', category => 'contact');
SQL

# protect() commits as it goes: each call is a statement of its own.
for my $table (qw(customers employees orders order_details))
{
	my ($status, $out, $err) =
	  $node->psql('sealed', "CALL gdpr.protect('northwind.$table')");
	is($status, 0, "$table is protected") or diag $err;
}
$node->safe_psql('sealed', <<'SQL');
SELECT gdpr.create_purpose('service', legal_basis => 'contract', categories => '{identity,contact,content}');
SELECT gdpr.grant_purpose('service', 'crm_app');
ALTER ROLE crm_app IN DATABASE sealed SET gdpr.purpose = 'service';
ANALYZE;
SQL

# --------------------------------------------------------------------------
# The queries
# --------------------------------------------------------------------------

my @queries = (
	[ 'a customer by key', q{SELECT company_name, contact_name, phone, fax FROM customers WHERE id = 'BLAUS'} ],
	[ 'a customer by name', q{SELECT id, contact_name, address FROM customers WHERE contact_name = 'Frédérique Citeaux'} ],
	[ 'customers by a list of names', q{SELECT id, contact_name FROM customers WHERE contact_name IN ('Hanna Moos', 'Yang Wang', 'Nobody', NULL) ORDER BY id} ],
	[ 'customers by an array of phones', q{SELECT id, phone FROM customers WHERE phone = ANY (ARRAY['030-0074321', '0621-08460']) ORDER BY phone} ],
	[ 'search with LIKE and ILIKE', q{SELECT contact_name, phone FROM customers WHERE contact_name LIKE 'A%' OR contact_name ILIKE '%ö%' ORDER BY contact_name} ],
	[ 'search with a regular expression', q{SELECT id, phone FROM customers WHERE phone ~ '^\(1\)' ORDER BY id} ],
	[ 'sorting by a sealed column', q{SELECT contact_name FROM customers ORDER BY contact_name DESC, id LIMIT 10 OFFSET 5} ],
	[ 'who has no fax', q{SELECT id, contact_name FROM customers WHERE fax IS NULL ORDER BY id} ],
	[ 'counts and NULLs', q{SELECT count(*), count(fax), count(DISTINCT contact_name), count(*) FILTER (WHERE phone LIKE '(5)%') FROM customers} ],
	[ 'aggregates over sealed dates', q{SELECT min(birth_date), max(birth_date), count(DISTINCT date_part('year', birth_date)) FROM employees} ],
	[ 'a range of dates', q{SELECT first_name, birth_date FROM employees WHERE birth_date BETWEEN '1950-01-01' AND '1963-12-31' ORDER BY birth_date} ],
	[ 'string_agg with ORDER BY', q{SELECT country, string_agg(contact_name, '; ' ORDER BY contact_name) FROM customers GROUP BY country ORDER BY country} ],
	[ 'GROUP BY a sealed expression, HAVING', q{SELECT left(contact_name, 1) AS letter, count(*) FROM customers GROUP BY 1 HAVING count(*) > 3 ORDER BY 2 DESC, 1} ],
	[ 'best customers, joined', q{SELECT c.contact_name, c.phone, round(sum(d.unit_price * d.quantity * (1 - d.discount)::numeric), 2) AS spent FROM customers c JOIN orders o ON o.customer_id = c.id JOIN order_details d ON d.order_id = o.id GROUP BY c.id, c.contact_name, c.phone ORDER BY spent DESC, c.id LIMIT 10} ],
	[ 'customers without an order, anti-join', q{SELECT c.id, c.contact_name FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id) ORDER BY c.id} ],
	[ 'outer join with NULL rows', q{SELECT c.contact_name, o.id, o.ship_name FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.order_date >= '1998-05-01' WHERE c.country IN ('France', 'Germany') ORDER BY c.id, o.id} ],
	[ 'full join of two protected tables', q{SELECT c.id, c.contact_name, e.id, e.last_name FROM customers c FULL JOIN employees e ON e.city = c.city WHERE c.id IS NULL OR c.country = 'UK' ORDER BY c.id, e.id} ],
	[ 'self-join: who reports to whom', q{SELECT e.first_name || ' ' || e.last_name AS name, b.first_name || ' ' || b.last_name AS boss FROM employees e LEFT JOIN employees b ON b.id = e.reports_to ORDER BY e.id} ],
	[ 'recursive CTE', q{WITH RECURSIVE chain AS (SELECT id, last_name::text AS path, 1 AS depth FROM employees WHERE reports_to IS NULL UNION ALL SELECT e.id, chain.path || ' > ' || e.last_name, depth + 1 FROM employees e JOIN chain ON chain.id = e.reports_to) SELECT depth, path FROM chain ORDER BY path} ],
	[ 'window: rank and running sum', q{SELECT o.id, c.contact_name, o.freight, rank() OVER (PARTITION BY c.id ORDER BY o.freight DESC, o.id), sum(o.freight) OVER (PARTITION BY c.id ORDER BY o.order_date, o.id) FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.city = 'London' ORDER BY o.id} ],
	[ 'window over a sealed column', q{SELECT contact_name, lag(contact_name) OVER (ORDER BY contact_name, id), ntile(4) OVER (ORDER BY contact_name, id) FROM customers WHERE country = 'Brazil' ORDER BY contact_name, id} ],
	[ 'correlated subquery', q{SELECT c.contact_name, (SELECT max(o.ship_address) FROM orders o WHERE o.customer_id = c.id AND o.ship_name <> c.contact_name) AS ship_to FROM customers c WHERE c.country = 'Spain' ORDER BY c.id} ],
	[ 'LATERAL: the last order of each', q{SELECT c.id, c.contact_name, l.id, l.ship_address FROM customers c CROSS JOIN LATERAL (SELECT o.id, o.ship_address FROM orders o WHERE o.customer_id = c.id ORDER BY o.order_date DESC, o.id DESC LIMIT 1) l WHERE c.country = 'Germany' ORDER BY c.id} ],
	[ 'UNION, INTERSECT, EXCEPT', q{(SELECT contact_name AS n FROM customers WHERE country = 'Mexico' UNION SELECT last_name FROM employees) EXCEPT SELECT contact_name FROM customers WHERE id = 'ANATR' ORDER BY n} ],
	[ 'DISTINCT ON', q{SELECT DISTINCT ON (country) country, contact_name, phone FROM customers ORDER BY country, contact_name, id} ],
	[ 'GROUPING SETS', q{SELECT country, contact_title, count(contact_name), min(contact_name) FROM customers WHERE country IN ('USA', 'UK') GROUP BY ROLLUP (country, contact_title) ORDER BY country, contact_title} ],
	[ 'CASE, COALESCE, string functions', q{SELECT id, CASE WHEN fax IS NULL THEN 'phone ' || phone ELSE 'fax ' || fax END, upper(coalesce(fax, contact_name)), length(address), split_part(contact_name, ' ', 2) FROM customers WHERE country = 'Italy' OR city = 'México D.F.' ORDER BY id} ],
	[ 'a view over two protected tables', q{SELECT * FROM directory WHERE name ~ '^[MN]' ORDER BY name, kind} ],
	[ 'a view that joins', q{SELECT id, contact_name, ship_name, ship_address FROM late ORDER BY shipped_date - required_date DESC, id LIMIT 15} ],
	[ 'JSON of a person', q{SELECT json_build_object('id', id, 'name', contact_name, 'phone', phone), jsonb_agg(address) OVER (ORDER BY id) FROM customers WHERE country = 'Austria' ORDER BY id} ],
	[ 'a prepared statement', q{PREPARE by_name(text) AS SELECT id, phone FROM customers WHERE contact_name = $1; EXECUTE by_name('Thomas Hardy'); EXECUTE by_name('Maria Anders'); EXECUTE by_name('x'); EXECUTE by_name('Yang Wang'); EXECUTE by_name('Hanna Moos'); EXECUTE by_name('Ann Devon'); EXECUTE by_name('Thomas Hardy')} ],
	[ 'a cursor', q{BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id, contact_name FROM customers ORDER BY contact_name, id; FETCH 3 FROM c; MOVE 20 IN c; FETCH 2 FROM c; FETCH PRIOR FROM c; COMMIT} ],
	[ 'COPY (query) TO', q{COPY (SELECT id, contact_name, address, phone FROM customers WHERE country = 'France' ORDER BY id) TO STDOUT (FORMAT csv, HEADER)} ],
	[ 'update, returning, rolled back', q{BEGIN; UPDATE customers SET phone = '+49 30 123', fax = NULL WHERE contact_name = 'Maria Anders' RETURNING id, phone, fax, address; SELECT contact_name, phone, fax FROM customers WHERE phone = '+49 30 123'; ROLLBACK; SELECT phone, fax FROM customers WHERE id = 'ALFKI'} ],
	[ 'update from another table', q{BEGIN; UPDATE orders o SET ship_name = c.contact_name FROM customers c WHERE c.id = o.customer_id AND c.country = 'Norway' RETURNING o.id, ship_name; ROLLBACK} ],
	[ 'update of a sealed column by itself', q{BEGIN; UPDATE employees SET last_name = upper(last_name), birth_date = birth_date + 1 WHERE title LIKE 'Sales%'; SELECT id, last_name, first_name, birth_date, home_phone FROM employees ORDER BY id; ROLLBACK} ],
	[ 'insert, and delete of an order', q{BEGIN; INSERT INTO customers (id, company_name, contact_name, phone) VALUES ('ZZZZZ', 'Zuletzt', 'Zoë Žižková', '') RETURNING id, contact_name, phone, fax; INSERT INTO orders (id, customer_id, employee_id, ship_name) VALUES (1, 'ZZZZZ', 1, 'Zoë'); SELECT c.contact_name, o.ship_name FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = 'ZZZZZ'; DELETE FROM orders WHERE id = 1 RETURNING ship_name; ROLLBACK; SELECT count(*) FROM customers} ],
	[ 'upsert', q{BEGIN; INSERT INTO customers (id, company_name, contact_name, phone) VALUES ('ALFKI', 'Alfreds', 'Mario Anders', '1') ON CONFLICT (id) DO UPDATE SET contact_name = excluded.contact_name, phone = customers.phone || '/' || excluded.phone RETURNING id, company_name, contact_name, phone; ROLLBACK} ],
	[ 'a CTE that writes', q{BEGIN; WITH moved AS (UPDATE customers SET address = 'c/o ' || address WHERE city = 'London' RETURNING id, contact_name, address) SELECT m.contact_name, m.address, c.address FROM moved m JOIN customers c USING (id) ORDER BY id; ROLLBACK} ],
	[ 'a unique value twice is refused', q{\set ON_ERROR_STOP 0
\set VERBOSITY sqlstate
UPDATE employees SET home_phone = '(206) 555-9482' WHERE id = 1} ],
	[ 'a CHECK on a sealed column is kept', q{\set ON_ERROR_STOP 0
\set VERBOSITY sqlstate
UPDATE employees SET birth_date = '2020-01-01' WHERE id = 1} ],
	[ 'NOT NULL on a sealed column is kept', q{\set ON_ERROR_STOP 0
\set VERBOSITY sqlstate
UPDATE employees SET last_name = NULL WHERE id = 1} ]);

for my $query (@queries)
{
	my ($name, $sql) = @$query;
	my $script = "\\set ON_ERROR_STOP 1\nSET search_path = northwind;\n$sql;\n";

	my %answer;
	for my $database (qw(plain sealed))
	{
		my ($out, $err) = ('', '');
		my $psql = [ 'psql', '-X', '-A', '-q', '-d', $node->connstr($database) . ' user=crm_app', '-f', '-' ];
		my $fine = IPC::Run::run($psql, '<', \$script, '>', \$out, '2>', \$err);
		$answer{$database} = ($fine ? '' : "failed\n") . "$out$err";
	}
	isnt($answer{plain}, '', "$name: there is an answer")
	  if $answer{plain} eq '';
	unlike($answer{plain}, qr/^failed/, "$name: works unprotected")
	  if $answer{plain} =~ /^failed/;
	is($answer{sealed}, $answer{plain}, $name);
}

# The comparison means something only if the data is sealed.
my $file = $node->data_dir . '/'
  . $node->safe_psql('sealed', "SELECT pg_relation_filepath('northwind.customers')");
$node->safe_psql('sealed', 'CHECKPOINT');
my $heap = slurp_file($file);
ok(index($heap, 'ALFKI') >= 0 && index($heap, 'Maria Anders') < 0,
	'names are not in the protected table');

$node->stop;
done_testing();
