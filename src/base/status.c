#include "base/status.h"

#include <stdio.h>
#include <string.h>

static const struct {
  int exit_code;
  const char *text;
} statuses[] = {
#define X(name, exit_code, text) {exit_code, text},
    IFD_STATUS_LIST(X)
#undef X
};

const char *ifd_status_text(ifd_status code) { return statuses[code].text; }
int ifd_status_exit_code(ifd_status code) { return statuses[code].exit_code; }

void ifd_error_clear(ifd_error *err) {
  err->code = IFD_OK;
  err->where[0] = err->text[0] = 0;
}

/* What a file says may end on a terminal: control bytes become '?'. */
static void make_printable(char *s) {
  for (; *s; s++)
    if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = '?';
}

ifd_status ifd_error_set(ifd_error *err, ifd_status code, const char *format, ...) {
  if (!err || err->code != IFD_OK) return err ? err->code : code;
  va_list args;
  va_start(args, format);
  vsnprintf(err->text, sizeof err->text, format, args);
  va_end(args);
  make_printable(err->text);
  err->code = code;
  return code;
}

void ifd_error_add(ifd_error *err, const char *format, ...) {
  char prefix[sizeof err->where], old[sizeof err->where];
  va_list args;
  va_start(args, format);
  vsnprintf(prefix, sizeof prefix, format, args);
  va_end(args);
  make_printable(prefix);
  memcpy(old, err->where, sizeof old);
  int len = snprintf(err->where, sizeof err->where, "%s: %s", prefix, old);
  if (len >= (int)sizeof err->where) memcpy(err->where + sizeof err->where - 4, "...", 4);
}
