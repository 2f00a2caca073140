-- Support has the same purpose, and is shown masks.
GRANT SELECT, UPDATE ON crm.contact TO crm_support;
SELECT gdpr.set_mask('crm.contact', 'first_name', 'name');
SELECT gdpr.set_mask('crm.contact', 'last_name', 'name');
SELECT gdpr.set_mask('crm.contact', 'email', 'email');
SELECT gdpr.set_mask('crm.contact', 'phone', 'phone');
SELECT gdpr.grant_purpose('service', 'crm_support', mode => 'mask');
ALTER ROLE crm_support SET gdpr.purpose = 'service';
-- Marketing writes to those who agreed, and needs their e-mail only.
GRANT SELECT ON crm.contact TO crm_marketing;
SELECT gdpr.create_purpose('newsletter', legal_basis => 'consent', categories => '{contact}',
	columns => '{crm.contact.email}', direct_marketing => true, description => 'Our monthly letter');
SELECT gdpr.grant_purpose('newsletter', 'crm_marketing');
ALTER ROLE crm_marketing SET gdpr.purpose = 'newsletter';
-- A view with just these people, and what the purpose covers.
SELECT gdpr.create_view('crm.newsletter', 'crm.contact', purpose => 'newsletter', channel => 'email');
GRANT SELECT ON crm.newsletter TO crm_marketing;
-- The application records what people decide.
GRANT EXECUTE ON FUNCTION gdpr.subject, gdpr.give_consent, gdpr.withdraw_consent TO crm_app;
