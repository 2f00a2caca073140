#include "mask.h"
Datum
mask_value(ColumnMap *column, Datum value, bool *isnull)
{
	*isnull = true;
	return (Datum) 0;
}
