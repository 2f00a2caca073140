-- Each row of contact is a person.
SELECT gdpr.declare_subject('crm.contact', key => 'id');
-- These rows belong to the person that their foreign key leads to, order lines by way of their order.
SELECT gdpr.declare_table('crm.orders', via => 'contact_id');
SELECT gdpr.declare_table('crm.order_line', via => 'order_id');
SELECT gdpr.declare_table('crm.message', via => 'contact_id');
-- Which columns are personal, and of what kind.
SELECT gdpr.declare_column('crm.contact', 'first_name', category => 'identity');
SELECT gdpr.declare_column('crm.contact', 'last_name', category => 'identity');
SELECT gdpr.declare_column('crm.contact', 'born', category => 'identity');
SELECT gdpr.declare_column('crm.contact', 'email', category => 'contact', searchable => true);
SELECT gdpr.declare_column('crm.contact', 'phone', category => 'contact');
SELECT gdpr.declare_column('crm.contact', 'iban', category => 'financial');
SELECT gdpr.declare_column('crm.contact', 'notes', category => 'content');
SELECT gdpr.declare_column('crm.orders', 'deliver_to', category => 'contact');
SELECT gdpr.declare_column('crm.order_line', 'engraving', category => 'content');
SELECT gdpr.declare_column('crm.message', 'subject', category => 'content');
SELECT gdpr.declare_column('crm.message', 'body', category => 'content');
-- Why the application may read them.
SELECT gdpr.create_purpose('service', legal_basis => 'contract', categories => '{identity,contact,financial,content}',
	description => 'Taking and delivering orders');
SELECT gdpr.grant_purpose('service', 'crm_app');
ALTER ROLE crm_app SET gdpr.purpose = 'service';
