/* infold inspect: what is in a model. */
#include "cli.h"

enum { N_VIEWS = 6 };

typedef struct inspect_record {
  model_options model;
  int nodes, weights, norms, json, dot, text;
} inspect_record;

static const option options[] = {
    {"--nodes", NULL, NULL, "a table of the nodes with inferred types", OPTION_FLAG,
     offsetof(inspect_record, nodes)},
    {"--weights", NULL, NULL, "a table of the initializers with statistics", OPTION_FLAG,
     offsetof(inspect_record, weights)},
    {"--norms", NULL, NULL, "a table of the normalizations: over what, by whose statistics", OPTION_FLAG,
     offsetof(inspect_record, norms)},
    {"--json", NULL, NULL, "all of it as JSON", OPTION_FLAG, offsetof(inspect_record, json)},
    {"--dot", NULL, NULL, "the graph for Graphviz", OPTION_FLAG, offsetof(inspect_record, dot)},
    {"--text", NULL, NULL, "the model in ONNX's textual syntax", OPTION_FLAG, offsetof(inspect_record, text)},
    MODEL_OPTIONS(inspect_record),
    {0}};

static int print(const infold_model *model, const char *path, const char *what) {
  infold_error err;
  char *text;
  cli_begin("inspecting", path);
  infold_status status = infold_inspect_model(&err, &text, model, what, cli_width());
  cli_end();
  return cli_give(status, &err, &text, path);
}

static int run(void *record, char **args, int n_args) {
  inspect_record *r = record;
  const struct {
    const char *what;
    int wanted;
  } views[N_VIEWS] = {{"nodes", r->nodes}, {"weights", r->weights}, {"norms", r->norms},
                      {"json", r->json},   {"dot", r->dot},         {"text", r->text}};
  infold_model *model;
  int printed = 0, code = cli_load(&model, args[0], &r->model);
  (void)n_args;
  for (int i = 0; !code && i < N_VIEWS; i++) {
    if (!views[i].wanted) continue;
    if (printed++) cli_print("\n");
    code = print(model, args[0], views[i].what);
  }
  if (!code && !printed) code = print(model, args[0], "summary");
  infold_destroy_model(model);
  return code;
}

const command cmd_inspect = {.name = "inspect",
                             .arguments = "MODEL",
                             .summary = "says what is in a model",
                             .min_args = 1,
                             .max_args = 1,
                             .options = options,
                             .record_size = sizeof(inspect_record),
                             .run = run};
