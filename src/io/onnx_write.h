/* Models to .onnx files.
 *
 * What did not change since the model was read is written from where it came: loading and saving gives an
 * equal ModelProto. Splats (tensors of one value) are written as ConstantOfShape nodes; the nodes that a node
 * came from stand in its metadata_props as "infold.from". Weights are streamed from where they lie. The file
 * appears whole or not at all; equal models give equal bytes.
 *
 * Weights go to a file of external data beside the model when one is asked for, when the message would pass
 * protobuf's 2 GiB, and when the source had external data and the model is written to another folder. In the
 * source's own folder such tensors stay where they are. In such a file every tensor starts at a page (4096
 * bytes), so that it can be mapped; tensors below 1 KiB stay in the model. */
#ifndef IFD_IO_ONNX_WRITE_H
#define IFD_IO_ONNX_WRITE_H

#include "ir/ir.h"

typedef struct ifd_write_options {
  const char *external_data; /* a path below the model's folder, or NULL */
} ifd_write_options;

/* options may be NULL. Errors: USAGE, IO, LIMIT, NO_MEMORY. */
ifd_status ifd_onnx_write_file(ifd_error *err, const ifd_model *model, const char *path,
                               const ifd_write_options *options);
/* The file's *len bytes at *out, for free. External data of the source is put into the message; the budget is
 * for the work, not for the bytes. LIMIT when they would pass 2 GiB. */
ifd_status ifd_onnx_write_memory(ifd_error *err, void **out, size_t *len, const ifd_model *model,
                                 ifd_budget *budget);

#endif
