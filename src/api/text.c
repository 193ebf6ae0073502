/* Texts that callers get, which they free. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

ifd_status ifd_api_text(ifd_error *err, char **out, const char *text) {
  *out = strdup(text);
  EXPECT(err, *out, NO_MEMORY, "out of memory");
  return IFD_OK;
}

ifd_status ifd_api_text_end(ifd_error *err, FILE *f, char **out, ifd_status status) {
  bool whole = f && !ferror(f);
  if (f && fclose(f) != 0) whole = false;
  if (status == IFD_OK && (!whole || !*out)) status = ifd_error_set(err, IFD_NO_MEMORY, "out of memory");
  if (status != IFD_OK) {
    free(*out);
    *out = NULL;
  }
  return status;
}

infold_status ifd_api_write(infold_error *to, char **out, ifd_api_writer *write, const void *of,
                            const char *what, int width) {
  ifd_error err = {0};
  size_t len;
  *out = NULL;
  FILE *f = open_memstream(out, &len);
  ifd_status status = f ? write(&err, f, of, what, width) : IFD_OK;
  return ifd_api_report(to, &err, NULL, ifd_api_text_end(&err, f, out, status));
}
