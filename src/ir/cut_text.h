/* Text into a caller's array: what does not fit is cut, the end is always there. */
#ifndef IFD_IR_CUT_TEXT_H
#define IFD_IR_CUT_TEXT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

typedef struct ifd_cut_text {
  char *text;
  size_t n, at; /* at >= n once something was cut */
} ifd_cut_text;

static inline ifd_cut_text ifd_cut_text_begin(char *text, size_t n) {
  if (n) *text = '\0';
  return (ifd_cut_text){text, n, 0};
}

__attribute__((format(printf, 2, 3))) static inline void ifd_cut_text_put(ifd_cut_text *t, const char *format,
                                                                          ...) {
  if (t->at >= t->n) return;
  va_list args;
  va_start(args, format);
  int len = vsnprintf(t->text + t->at, t->n - t->at, format, args);
  va_end(args);
  if (len > 0) t->at += (size_t)len;
}

#endif
