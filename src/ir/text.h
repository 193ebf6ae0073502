/* The text form: ONNX's own textual syntax (docs/Syntax.md of ONNX, the one of onnx.parser), so that graphs
 * can be written in tests and read in diffs:
 *
 *   <ir_version: 8, opset_import: ["" : 17]>
 *   g (float[N,3] x) => (float[N,4] y) <float[3,4] w = {1, 2, …}, float[N,4] z>
 *   { z = MatMul (x, w)  y = Clip <…> (z, , m) }
 *
 * What is printed is read by onnx.parser, too, but for these extensions of ours:
 * - `= splat 0.5` gives all elements one value; a splat is printed so;
 * - `= random 7` gives seeded elements: floats nearly normal, scaled by 0.1, integers of 4 bits;
 * - an element with a point or exponent in a tensor of a float type narrower than 32 bits is a number and is
 *   rounded; an integer is, as in ONNX, the bits of the element;
 * - quotes around any name, domains and operators included; \xHH in strings;
 * - graphs, tensors and sparse tensors in lists;
 * - big constants, when shortening is asked for, as a count and a hash, which cannot be read back.
 * Names are defined above where they are read. */
#ifndef IFD_IR_TEXT_H
#define IFD_IR_TEXT_H

#include "ir/ir.h"

/* A model from its text. BAD_FILE or BAD_MODEL with line and column. */
ifd_status ifd_text_parse(ifd_error *err, ifd_model **out, const char *text, size_t len, ifd_budget *budget);

typedef struct ifd_text_options {
  bool types;       /* a comment with each node's inferred output types */
  int max_elements; /* constants with more are shown shortened; 0: all are written whole */
} ifd_text_options;
/* The text of a model in `arena`, deterministic; options may be NULL. Reading it back and printing again
 * gives the same text. */
ifd_status ifd_text_print(ifd_error *err, char **out, ifd_arena *arena, const ifd_model *model,
                          const ifd_text_options *options);

#endif
