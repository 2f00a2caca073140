/*
 * datamap_policies.c
 *		The policies of retention, as far as they say under which month of
 *		expiry values are sealed (expiry.c).
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "datamap.h"
#include "datamap_internal.h"

void
datamap_add_policy(TableMap *table, const Datum *values, const bool *isnull)
{
	ExpiryMap  *policy;
	int32		typmod = -1;

	if (table->expiries == NULL)
		table->expiries = palloc(sizeof(ExpiryMap));
	else
		table->expiries = repalloc(table->expiries,
								   sizeof(ExpiryMap) * (table->nexpiries + 1));
	policy = &table->expiries[table->nexpiries++];
	memset(policy, 0, sizeof(*policy));
	policy->category = isnull[RP_CATEGORY] ? -1 : DatumGetInt16(values[RP_CATEGORY]);
	policy->shred = strcmp(TextDatumGetCString(values[RP_ACTION]), "shred") == 0;
	policy->keep = palloc(sizeof(Interval));
	*policy->keep = *DatumGetIntervalP(values[RP_KEEP]);
	policy->time_zone = DatumGetTextPCopy(values[RP_TIME_ZONE]);
	if (policy->shred && !isnull[RP_SINCE_COLUMN])
		policy->attnum = get_attnum(table->relid,
									NameStr(*DatumGetName(values[RP_SINCE_COLUMN])));
	if (policy->attnum != InvalidAttrNumber)
		policy->typid = getBaseTypeAndTypmod(get_atttype(table->relid, policy->attnum),
											 &typmod);
}

void
datamap_translate_policies(TableMap *member)
{
	size_t		size = sizeof(ExpiryMap) * Max(member->nexpiries, 1);
	ExpiryMap  *expiries = palloc0(size);
	int			i;

	if (member->nexpiries > 0)
		memcpy(expiries, member->expiries, sizeof(ExpiryMap) * member->nexpiries);
	member->expiries = expiries;
	for (i = 0; i < member->nexpiries; i++)
	{
		char	   *name = expiries[i].attnum == InvalidAttrNumber ? NULL :
			get_attname(member->root->relid, expiries[i].attnum, true);

		/* one that is missing is no limit */
		expiries[i].attnum = name == NULL ? InvalidAttrNumber :
			get_attnum(member->relid, name);
	}
}
