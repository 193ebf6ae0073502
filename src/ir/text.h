/* The text form: ONNX's own textual syntax (onnx.parser), so that graphs can be written in tests and read in
 * diffs. <ir_version: 8, opset_import: ["" : 17]> g (float[N,3] x) => (float[N,4] y) <float[3,4] w = {1, 2,
 * …}> { y = MatMul(x, w)  z = Clip<…>(y, , m) } Extension of ours: `= splat 0.5` gives all elements one
 * value, `= random 7` seeded normal values (scaled 0.1), so that tests stay short; printing writes small
 * constants in full, big ones as `= {…}` with a count and a hash. */
#ifndef IFD_IR_TEXT_H
#define IFD_IR_TEXT_H

#include "ir/ir.h"

/* A model from its text. Errors name line and column. */
ifd_status ifd_text_parse(ifd_error *err, ifd_model **out, const char *text, size_t len, ifd_budget *budget);

typedef struct ifd_text_options {
  bool types;       /* a comment with each node's inferred output types */
  int max_elements; /* constants with more are shown shortened; 0: all are written whole */
} ifd_text_options;
/* The text of a model in `arena`, deterministic. */
ifd_status ifd_text_print(ifd_error *err, char **out, ifd_arena *arena, const ifd_model *model,
                          const ifd_text_options *options);

#endif
