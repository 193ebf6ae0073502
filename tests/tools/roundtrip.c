/* Loads models and saves them, for tests/io: reads lines "SOURCE<TAB>TARGET[<TAB>EXTERNAL DATA]" and answers
 * each with "ok" or the error; a TARGET of "-" saves nothing. Ends with 1 when memory is left behind. */
#include <stdio.h>
#include <string.h>

#include "io/onnx_read.h"
#include "io/onnx_write.h"

static ifd_status copy_model(ifd_error *err, const char *from, const char *to, const char *external_data,
                             ifd_budget *budget) {
  ifd_model *model;
  ifd_write_options options = {.external_data = external_data};
  TRY(ifd_onnx_read_file(err, &model, from, NULL, budget));
  ifd_status status = strcmp(to, "-") == 0 ? IFD_OK : ifd_onnx_write_file(err, model, to, &options);
  ifd_model_destroy(model);
  return status;
}

int main(void) {
  char line[8192];
  ifd_budget budget = {.limit = (size_t)2 << 30};
  while (fgets(line, sizeof line, stdin)) {
    ifd_error err = {0};
    line[strcspn(line, "\n")] = 0;
    char *from = strtok(line, "\t"), *to = strtok(NULL, "\t"), *external_data = strtok(NULL, "\t");
    if (!from || !to) return 2;
    if (copy_model(&err, from, to, external_data, &budget) == IFD_OK)
      puts("ok");
    else
      printf("%s%s\n", err.where, err.text);
    fflush(stdout);
    if (budget.used) return 1;
  }
  return 0;
}
