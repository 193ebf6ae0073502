/* infold verify: two models on the same inputs, or one model's bits. */
#include "cli.h"

#include <stdlib.h>

typedef struct verify_record {
  model_options model;
  const char *inputs, *certificate;
  texts batches;
  long seed, threads;
  double tolerance, seconds;
  int bits;
} verify_record;

static const option options[] = {
    {"--inputs", NULL, "DIR|FILE.npz", "inputs to run on (default: random ones)", OPTION_TEXT,
     offsetof(verify_record, inputs)},
    {"--batch", NULL, "1,3", "numbers for a free first dimension", OPTION_NAMES,
     offsetof(verify_record, batches)},
    {"--tolerance", NULL, "X", "allowed difference, as part of an output's largest value (1e-4)", OPTION_REAL,
     offsetof(verify_record, tolerance)},
    {"--seconds", NULL, "S", "give up after this time (default: no limit)", OPTION_REAL,
     offsetof(verify_record, seconds)},
    {"--seed", NULL, "N", "of random inputs", OPTION_NUMBER, offsetof(verify_record, seed), 0, LONG_MAX},
    {"--bits", NULL, NULL, "one model: the same bits for any batch, threads and instruction set", OPTION_FLAG,
     offsetof(verify_record, bits)},
    {"--certificate", NULL, "FILE", "check a certificate of 'infold optimize': hashes, then errors, again",
     OPTION_TEXT, offsetof(verify_record, certificate)},
    {"--threads", NULL, "N", "threads to use", OPTION_NUMBER, offsetof(verify_record, threads), 1, 4096},
    MODEL_OPTIONS(verify_record),
    {0}};

enum { MAX_BATCHES = 64 };

static int read_batches(const texts *names, int64_t *batches) {
  for (int i = 0; i < names->n; i++) {
    char *end;
    batches[i % MAX_BATCHES] = strtoll(names->v[i], &end, 10);
    if (*end || end == names->v[i] || batches[i % MAX_BATCHES] < 0 || i >= MAX_BATCHES)
      return cli_usage("verify: --batch takes up to %d whole numbers such as 1,3, not '%s'", MAX_BATCHES,
                       names->v[i]);
  }
  return 0;
}

static int compare(verify_record *r, const infold_model *a, const infold_model *b, const char *path) {
  int64_t batches[MAX_BATCHES];
  infold_error err;
  char *text;
  int code = read_batches(&r->batches, batches);
  if (code) return code;
  infold_verify_options verify = {.inputs = r->inputs,
                                  .batches = batches,
                                  .n_batches = r->batches.n,
                                  .seed = (uint64_t)r->seed,
                                  .tolerance = r->tolerance,
                                  .threads = (int)r->threads,
                                  .max_memory = r->model.max_memory,
                                  .max_seconds = r->seconds};
  cli_begin("verifying", path);
  infold_status status = infold_verify_models(&err, &text, a, b, &verify);
  cli_end();
  return cli_give(status, &err, &text, path);
}

static int check_bits(verify_record *r, const infold_model *model, const char *path) {
  infold_verify_options verify = {
      .inputs = r->inputs, .seed = (uint64_t)r->seed, .max_memory = r->model.max_memory};
  infold_error err;
  char *text;
  cli_begin("comparing bits", path);
  infold_status status = infold_verify_bits(&err, &text, model, &verify);
  cli_end();
  return cli_give(status, &err, &text, path);
}

/* The models lie where the certificate says, unless they are given. */
static int check_certificate(verify_record *r, char **args, int n_args) {
  infold_verify_options verify = {
      .threads = (int)r->threads, .max_memory = r->model.max_memory, .max_seconds = r->seconds};
  infold_error err;
  char *text;
  if (n_args == 1) return cli_usage("verify: --certificate takes no model, or both");
  cli_begin("checking", r->certificate);
  infold_status status = infold_verify_certificate(&err, &text, r->certificate, n_args ? args[0] : NULL,
                                                   n_args ? args[1] : NULL, &verify);
  cli_end();
  return cli_give(status, &err, &text, r->certificate);
}

static int run(void *record, char **args, int n_args) {
  verify_record *r = record;
  infold_model *a = NULL, *b = NULL;
  if (r->certificate) return check_certificate(r, args, n_args);
  if (n_args != (r->bits ? 1 : 2)) return cli_usage("verify: takes two models, or one with --bits");
  if (r->bits) {
    int failed = cli_load(&a, args[0], &r->model);
    if (!failed) failed = check_bits(r, a, args[0]);
    infold_destroy_model(a);
    return failed;
  }
  int code = cli_load(&a, args[0], &r->model);
  if (!code) code = cli_load(&b, args[1], &r->model);
  if (!code) code = compare(r, a, b, args[1]);
  infold_destroy_model(a);
  infold_destroy_model(b);
  return code;
}

const command cmd_verify = {.name = "verify",
                            .arguments = "A.onnx [B.onnx]",
                            .summary = "runs two models and compares their outputs",
                            .min_args = 0,
                            .max_args = 2,
                            .options = options,
                            .record_size = sizeof(verify_record),
                            .run = run};
