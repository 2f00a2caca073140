#ifndef GDPR_MASK_H
#define GDPR_MASK_H
#include "postgres.h"
#include "datamap.h"
extern Datum mask_value(ColumnMap *column, Datum value, bool *isnull);
#endif
