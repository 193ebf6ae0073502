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

/* Digits, the first of them before the point, times ten to the exponent. */
typedef struct decimal {
  char digits[24];
  int n, exponent;
} decimal;

enum { FLOAT_DIGITS = 9, MOST_DIGITS = 17 }; /* that float and double always read back from */

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

static bool is_power_of_two(double x) {
  int exponent;
  return fabs(frexp(x, &exponent)) == 0.5;
}

/* The fewest digits that x reads back from. What so many do not hold, fewer do not either: they would be
 * farther off. Only from a power of two, whose neighbours are not equally far, may fewer lie on the better
 * side. */
static int fewest_digits(double x, ifd_dtype t, const void *p) {
  int digits = 1, many = t == IFD_DOUBLE ? 14 : 6;
  if (!is_power_of_two(x) && !reads_back(x, many, t, p)) digits = many + 1;
  while (digits < MOST_DIGITS && !reads_back(x, digits, t, p)) digits++;
  return digits;
}

/* The element x at p with the fewest digits. */
static decimal shortest(double x, ifd_dtype t, const void *p) {
  char text[48];
  decimal d = {.n = 0};
  snprintf(text, sizeof text, "%.*e", fewest_digits(x, t, p) - 1, fabs(x));
  for (const char *s = text; *s != 'e'; s++)
    if (*s != '.') d.digits[d.n++] = *s;
  d.exponent = atoi(strchr(text, 'e') + 1);
  return d;
}

/* ---- the same of floats, where the rounding of double leaves no doubt ---- */

/* Powers of ten that double has exactly: products and quotients by them are off by their own rounding alone.
 */
enum { EXACT_TENS = 22 };
static const double tens[EXACT_TENS + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                            1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                            1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static double times_ten(double x, int k) { return k < 0 ? x / tens[-k] : x * tens[k]; }

/* Whether x lies in the middle between two floats, so that it may have been rounded there from either side.
 */
static bool is_between_floats(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (bits & 0x1fffffff) == 0x10000000;
}

typedef enum verdict { NO, YES, IN_DOUBT } verdict;

/* *digits: x rounded to n digits, the first of them of ten to the exponent; whether they read back as the
 * element x at p. */
static verdict holds(uint64_t *digits, double x, int n, int exponent, ifd_dtype t, const void *p) {
  const int k = n - 1 - exponent;
  char bytes[16] = {0};
  const double scaled = times_ten(fabs(x), k), back = times_ten(floor(scaled + 0.5), -k);
  const float narrow = (float)copysign(back, x);
  if (fabs(scaled - floor(scaled) - 0.5) < 1e-6 || is_between_floats(back)) return IN_DOUBT;
  *digits = (uint64_t)(scaled + 0.5);
  ifd_store_f32(t, bytes, &narrow, 1);
  return memcmp(bytes, p, ifd_dtype_size(t)) == 0 ? YES : NO;
}

static bool shortest_float(decimal *d, double x, ifd_dtype t, const void *p) {
  const double size = fabs(x);
  if (t == IFD_DOUBLE || size < 1e-13 || size >= 1e20) return false;
  int exponent = (int)floor(log10(size)), n = 0;
  if (times_ten(size, -exponent) >= 10) exponent++;
  if (times_ten(size, -exponent) < 1) exponent--;
  uint64_t digits;
  verdict v = is_power_of_two(x) ? YES : holds(&digits, x, 6, exponent, t, p);
  if (v == NO) n = 6;
  for (v = v == IN_DOUBT ? v : NO; v == NO && n < FLOAT_DIGITS;) v = holds(&digits, x, ++n, exponent, t, p);
  if (v != YES) return false;
  const bool carried = (double)digits >= tens[n]; /* 9.9… became 10 */
  *d = (decimal){.n = n, .exponent = exponent + carried};
  if (carried) digits /= 10;
  for (int i = n - 1; i >= 0; i--, digits /= 10) d->digits[i] = (char)('0' + digits % 10);
  return true;
}

/* "d.ddde±xx", or, where the exponent is small enough, plain and padded with zeros. */
static void spell(char *to, size_t size, bool negative, const decimal *d) {
  int i = 0;
  if (negative) *to++ = '-';
  if (d->exponent < -4 || d->exponent >= 16) {
    snprintf(to, size - 1, "%c%s%.*se%+03d", d->digits[0], d->n > 1 ? "." : "", d->n - 1, d->digits + 1,
             d->exponent);
    return;
  }
  if (d->exponent < 0) *to++ = '0';
  for (; i <= d->exponent; i++) *to++ = i < d->n ? d->digits[i] : '0';
  *to++ = '.';
  for (int k = d->exponent + 1; k < 0; k++) *to++ = '0';
  if (i == d->n || d->exponent >= d->n) *to++ = '0';
  for (; i < d->n; i++) *to++ = d->digits[i];
  *to = 0;
}

static void float_text(char *out, size_t size, ifd_dtype t, const void *p) {
  double x;
  decimal d;
  ifd_load_f64(t, p, &x, 1);
  if (isnan(x) || isinf(x)) {
    snprintf(out, size, "%s", isnan(x) ? "NaN" : x < 0 ? "-INF" : "INF");
    return;
  }
  if (!shortest_float(&d, x, t, p)) {
    locale_t c, before = enter_c_locale(&c);
    d = shortest(x, t, p);
    leave_c_locale(c, before);
  }
  spell(out, size, signbit(x), &d);
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
    float_text(text, sizeof text, t, p);
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
