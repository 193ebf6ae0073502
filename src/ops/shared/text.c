#include "ops/shared/text.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tensor/convert.h"

/* This thread reads and writes numbers with a point until `leave`. */
static locale_t enter_c_locale(locale_t *c) {
  *c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  return *c ? uselocale(*c) : (locale_t)0;
}

static void leave_c_locale(locale_t c, locale_t before) {
  if (!c) return;
  uselocale(before);
  freelocale(c);
}

/* ---- to text ---- */

static const void *element(ifd_dtype t, const void *data, int64_t i) {
  return (const char *)data + i * (int64_t)ifd_dtype_size(t);
}

/* Whether x with so many digits is still the element at p. */
static bool reads_back(double x, int n_digits, ifd_dtype t, const void *p) {
  char text[48], bytes[16] = {0};
  snprintf(text, sizeof text, "%.*e", n_digits - 1, x);
  if (t == IFD_DOUBLE) {
    double wide = strtod(text, NULL);
    memcpy(bytes, &wide, sizeof wide);
  } else {
    float narrow = strtof(text, NULL);
    ifd_store_f32(t, bytes, &narrow, 1);
  }
  return memcmp(bytes, p, ifd_dtype_size(t)) == 0;
}

/* The fewest digits that x reads back from. What so many do not hold, fewer do not either: they would be
 * farther off. Only from a power of two, whose neighbours are not equally far, may fewer lie on the better
 * side. */
static int fewest_digits(double x, ifd_dtype t, const void *p) {
  int exponent, digits = 1, many = t == IFD_DOUBLE ? 14 : 6;
  if (fabs(frexp(x, &exponent)) != 0.5 && !reads_back(x, many, t, p)) digits = many + 1;
  while (digits < 17 && !reads_back(x, digits, t, p)) digits++;
  return digits;
}

/* x with so many digits: "d.ddde±xx", or, where the exponent is small enough, plain and padded with zeros. */
static void spell(char *out, size_t size, double x, int n_digits) {
  char digits[48];
  snprintf(out, size, "%.*e", n_digits - 1, x);
  const char *s = out + (*out == '-');
  int n = 0, exponent = atoi(strchr(s, 'e') + 1);
  if (exponent < -4 || exponent >= 16) return;
  for (; *s != 'e'; s++)
    if (*s != '.') digits[n++] = *s;
  while (n <= exponent + 1) digits[n++] = '0';
  digits[n] = 0;
  const char *sign = *out == '-' ? "-" : "";
  if (exponent < 0)
    snprintf(out, size, "%s0.%.*s%s", sign, -exponent - 1, "000", digits);
  else
    snprintf(out, size, "%s%.*s.%s", sign, exponent + 1, digits, digits + exponent + 1);
}

static void float_text(char *out, size_t size, ifd_dtype t, const void *p) {
  double x;
  ifd_load_f64(t, p, &x, 1);
  if (isnan(x) || isinf(x)) {
    snprintf(out, size, "%s", isnan(x) ? "NaN" : x < 0 ? "-INF" : "INF");
    return;
  }
  spell(out, size, x, fewest_digits(x, t, p));
}

static void integer_text(char *out, size_t size, ifd_dtype t, const void *p) {
  int64_t v;
  ifd_load_i64(t, p, &v, 1);
  if (t == IFD_UINT64)
    snprintf(out, size, "%llu", (unsigned long long)v);
  else
    snprintf(out, size, "%lld", (long long)v);
}

ifd_str ifd_number_text(ifd_arena *arena, ifd_dtype t, const void *data, int64_t i) {
  char text[64] = "";
  const void *p = element(t, data, i);
  if (t == IFD_BOOL) {
    snprintf(text, sizeof text, "%s", *(const uint8_t *)p ? "True" : "False");
  } else if (ifd_dtype_is_float(t)) {
    locale_t c, before = enter_c_locale(&c);
    float_text(text, sizeof text, t, p);
    leave_c_locale(c, before);
  } else {
    integer_text(text, sizeof text, t, p);
  }
  size_t len = strlen(text);
  const char *copy = ifd_arena_strndup(arena, text, len);
  return (ifd_str){copy, copy ? len : 0};
}

/* ---- from text ---- */

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* A terminated copy without space around it, or false: nothing C would take for more than a decimal number
 * is let through (hexadecimal, "infinity", "nan(…)"). */
static bool copy_trimmed(ifd_str text, char *out, size_t size) {
  const char *s = text.s;
  size_t n = text.len;
  while (n && is_space(s[n - 1])) n--;
  while (n && is_space(*s)) s++, n--;
  if (n == 0 || n >= size || memchr(s, 0, n)) return false;
  memcpy(out, s, n);
  out[n] = 0;
  return true;
}

static bool parse_float(const char *s, ifd_dtype t, void *p) {
  const char *body = s + (*s == '+' || *s == '-');
  bool special = strcasecmp(body, "inf") == 0 || strcasecmp(body, "nan") == 0;
  if (!special && strspn(s, "+-.0123456789eE") != strlen(s)) return false;
  char *end;
  if (t == IFD_DOUBLE) {
    *(double *)p = strtod(s, &end);
  } else {
    float x = strtof(s, &end);
    ifd_store_f32(t, p, &x, 1);
  }
  return *end == 0 && end != s;
}

static bool parse_integer(const char *s, ifd_dtype t, void *p) {
  char *end;
  errno = 0;
  int64_t v = t == IFD_UINT64 && *s != '-' ? (int64_t)strtoull(s, &end, 10) : strtoll(s, &end, 10);
  if (end == s || *end || errno) {
    double x;
    if (!parse_float(s, IFD_DOUBLE, &x)) return false;
    ifd_store_f64(t, p, &x, 1);
  } else {
    ifd_store_i64(t, p, &v, 1);
  }
  return true;
}

bool ifd_number_parse(ifd_str text, ifd_dtype t, void *data, int64_t i) {
  char s[512];
  void *p = (char *)data + i * (int64_t)ifd_dtype_size(t);
  if (!copy_trimmed(text, s, sizeof s)) return false;
  if (t == IFD_BOOL && (strcasecmp(s, "true") == 0 || strcasecmp(s, "false") == 0)) {
    *(uint8_t *)p = *s == 't' || *s == 'T';
    return true;
  }
  locale_t c, before = enter_c_locale(&c);
  bool ok = ifd_dtype_is_float(t) ? parse_float(s, t, p) : parse_integer(s, t, p);
  leave_c_locale(c, before);
  return ok;
}
