/* Ways to show a survey: each prints it to a stream. */
#ifndef IFD_INSPECT_VIEW_H
#define IFD_INSPECT_VIEW_H

#include "inspect/survey.h"
#include "inspect/table.h"

ifd_status ifd_view_summary(const ifd_survey *survey, FILE *to, int width);
ifd_status ifd_view_nodes(const ifd_survey *survey, FILE *to, int width);
ifd_status ifd_view_weights(const ifd_survey *survey, FILE *to, int width);
/* Every normalization: what it goes over, and whose statistics it uses. */
ifd_status ifd_view_norms(const ifd_survey *survey, FILE *to, int width);
/* ONNX's textual syntax, big constants shortened. */
ifd_status ifd_view_text(const ifd_survey *survey, FILE *to, int width);
/* All of it. */
ifd_status ifd_view_json(const ifd_survey *survey, FILE *to, int width);
/* For Graphviz: nodes are boxes, subgraphs clusters; weights are not drawn. */
ifd_status ifd_view_dot(const ifd_survey *survey, FILE *to, int width);

typedef struct ifd_view {
  const char *name;
  ifd_status (*print)(const ifd_survey *survey, FILE *to, int width);
} ifd_view;

/* All of the above by name; NULL when there is none. */
const ifd_view *ifd_view_find(const char *name);

#endif
