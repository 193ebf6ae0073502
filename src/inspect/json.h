/* Building JSON with jansson: texts of a model may hold any bytes, numbers may be no JSON numbers. */
#ifndef IFD_INSPECT_JSON_H
#define IFD_INSPECT_JSON_H

#include "inspect/survey.h"

#include <jansson.h>

/* A string; what is no UTF-8, and DEL, becomes '?'. NULL gives null. */
json_t *ifd_json_text(const char *text);
/* A number; null for NaN and infinities. Whole numbers are written as integers. */
json_t *ifd_json_number(double x);
/* The list with one more item, the object with one more member; both are taken over. NULL when out of memory,
 * so that a failure anywhere is one of the whole. */
json_t *ifd_json_append(json_t *list, json_t *item);
json_t *ifd_json_set(json_t *object, const char *name, json_t *value);
/* What a survey knows: totals, operators, normalization, weights by type. Lists of nodes and weights when
 * asked for. NULL when out of memory. */
json_t *ifd_json_survey(const ifd_survey *survey, bool details);
/* Writes and drops the value; NO_MEMORY when it is NULL. */
ifd_status ifd_json_print(ifd_error *err, json_t *value, FILE *to);

#endif
