/* The files that a model borrows bytes from: its own and those of external data.
 *
 * Each file is mapped once, however many tensors lie in it, and stays mapped until the model goes. External
 * data is confined to a folder (base/os.h). For src/io/ alone. */
#ifndef IFD_IO_EXTERNAL_DATA_H
#define IFD_IO_EXTERNAL_DATA_H

#include "base/os.h"
#include "io/onnx_read.h"
#include "onnx.pb-c.h"

typedef struct ifd_files ifd_files;

/* No file yet. The external data of a model at `path` (NULL: in memory) is looked for as the options say.
 * Lives in the arena; must be released before that goes. */
ifd_status ifd_files_new(ifd_error *err, ifd_files **out, ifd_arena *arena, const char *path,
                         const ifd_read_options *options);
/* Unmaps all of them. */
void ifd_files_release(ifd_files *files);
ifd_status ifd_files_map_model(ifd_error *err, ifd_files *files, const char *path, const void **data,
                               size_t *len);
/* The `len` bytes that external_data of a tensor names: location, offset (0 when absent), length (must be len
 * when given); other keys are ignored. */
ifd_status ifd_files_find(ifd_error *err, const void **out, ifd_files *files, const Onnx__TensorProto *proto,
                          size_t len);
/* The i-th file in the order of mapping; *location is NULL for the model's own. False past the last one. */
bool ifd_files_get(const ifd_files *files, int i, const char **location, const void **data, size_t *len);
/* Lets go of pages of a mapped file, of all files where p is NULL; see ifd_model_let_go. */
void ifd_files_let_go(const ifd_files *files, const void *p, size_t len);

#endif
