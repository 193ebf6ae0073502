/* Ways to show a survey: each prints it to a stream. */
#ifndef IFD_INSPECT_VIEW_H
#define IFD_INSPECT_VIEW_H

#include "inspect/survey.h"
#include "inspect/table.h"

/* what: "summary", "nodes", "weights", "norms" (what each normalization goes over, and whose statistics it
 * uses), "text" (ONNX's textual syntax, big constants shortened), "json" (all of it) or "dot"; USAGE
 * otherwise. */
ifd_status ifd_survey_print(const ifd_survey *survey, const char *what, FILE *to, int width);

/* Those that are files of their own. */
ifd_status ifd_survey_summary(const ifd_survey *survey, FILE *to, int width);
ifd_status ifd_survey_json(const ifd_survey *survey, FILE *to, int width);
/* For Graphviz: nodes are boxes, subgraphs clusters; weights are not drawn. */
ifd_status ifd_survey_dot(const ifd_survey *survey, FILE *to, int width);

#endif
