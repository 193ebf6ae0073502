/* What the files of the parser of the text form share. The lexer's arena is the model's. */
#ifndef IFD_IR_TEXT_PRIV_H
#define IFD_IR_TEXT_PRIV_H

#include "ir/ir.h"
#include "ir/lexer.h"

typedef struct ifd_parser {
  ifd_lexer lexer;
  ifd_model *model;
  int depth; /* of graphs and types being read */
} ifd_parser;

typedef IFD_VEC(ifd_attr) ifd_attr_list;

/* The elements of a constant of this type, from '{', splat or random on. */
ifd_status ifd_parse_tensor(ifd_parser *p, ifd_tensor *out, const ifd_type *type);

/* Whether a type comes next rather than a name. */
bool ifd_parse_next_is_type(ifd_parser *p);
ifd_status ifd_parse_type(ifd_parser *p, const ifd_type **out);

/* name [: type] = value, after its name. graph: where it stands, for subgraphs. type is UNDEFINED when the
 * text has only a reference without a type. */
ifd_status ifd_parse_attr(ifd_parser *p, ifd_graph *graph, const char *name, ifd_attr *out);

/* A graph from its name on, into an empty one. */
ifd_status ifd_parse_graph(ifd_parser *p, ifd_graph *graph);

/* Names of AttributeProto.AttributeType as the syntax has them. */
extern const char *const ifd_attr_type_names[];
/* The type of one element of a list type, or UNDEFINED. */
ifd_attr_type ifd_attr_element_type(ifd_attr_type type);

/* A name that must be quoted because it means something else where a name may stand. */
bool ifd_text_is_reserved(const char *name);

#endif
