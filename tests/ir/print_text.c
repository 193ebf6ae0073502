/* Reads a model's text from stdin and prints it again; for test_text.py. */
#include <stdio.h>
#include <stdlib.h>

#include "ir/text.h"
#include "ops/op.h"

/* The text form needs no operator. */
const ifd_op *ifd_op_find(const char *domain, const char *name, int opset) {
  (void)domain, (void)name, (void)opset;
  return NULL;
}

static char *read_all(FILE *file, size_t *len) {
  size_t cap = 1 << 16, n;
  char *text = malloc(cap);
  for (*len = 0; text && (n = fread(text + *len, 1, cap - *len, file)); *len += n)
    if (*len + n == cap) text = realloc(text, cap *= 2);
  return text;
}

int main(void) {
  ifd_error err = {0};
  ifd_model *model;
  ifd_arena arena;
  size_t len;
  char *text = read_all(stdin, &len), *out;
  ifd_arena_init(&arena, NULL);
  ifd_status status = ifd_text_parse(&err, &model, text, len, NULL);
  if (status == IFD_OK) {
    status = ifd_text_print(&err, &out, &arena, model, NULL);
    if (status == IFD_OK) fputs(out, stdout);
    ifd_model_destroy(model);
  }
  if (status != IFD_OK) fprintf(stderr, "%s%s\n", err.where, err.text);
  ifd_arena_free(&arena);
  free(text);
  return status;
}
