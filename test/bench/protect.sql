-- The data map of the sealed tables; run calls protect() itself.
SELECT gdpr.declare_subject('sealed.person', key => 'id');
SELECT gdpr.declare_column('sealed.person', 'name', category => 'identity');
SELECT gdpr.declare_column('sealed.person', 'born', category => 'identity');
SELECT gdpr.declare_column('sealed.person', 'email', category => 'contact', searchable => true);
SELECT gdpr.declare_column('sealed.person', 'phone', category => 'contact');
SELECT gdpr.declare_table('sealed.entry', via => 'person_id');
SELECT gdpr.declare_column('sealed.entry', 'note', category => 'content');
SELECT gdpr.declare_subject('sealed.loading', key => 'id');
SELECT gdpr.declare_column('sealed.loading', 'name', category => 'identity');
SELECT gdpr.declare_column('sealed.loading', 'born', category => 'identity');
SELECT gdpr.declare_column('sealed.loading', 'email', category => 'contact', searchable => true);
SELECT gdpr.declare_column('sealed.loading', 'phone', category => 'contact');
SELECT gdpr.create_purpose('bench', legal_basis => 'contract', categories => '{identity,contact,content}');
SELECT gdpr.grant_purpose('bench', 'bench');
ALTER ROLE bench SET gdpr.purpose = 'bench';
