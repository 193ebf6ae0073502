/* Prints everything the schema tables say, one fact a line, for test_schema_facts.py to compare with the onnx
 * package. Types are printed as kind:dtype, as the accessors see them; floats as their bits. */
#include "ops/schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_types(const ifd_schema *schema, const ifd_schema_param *param) {
  for (int kind = 0; kind < IFD_SCHEMA_N_KINDS; kind++)
    for (int dtype = -1; dtype < 70; dtype++)
      if (ifd_schema_type_allowed(schema, param, (ifd_schema_kind)kind, dtype)) printf(" %d:%d", kind, dtype);
  printf("\n");
}

static void print_params(const char *side, const ifd_schema *schema, const ifd_schema_param *params,
                         size_t n) {
  static const char *const options[] = {"Single", "Optional", "Variadic"};
  for (size_t i = 0; i < n; i++) {
    const ifd_schema_param *p = &params[i];
    const char *constraint = p->constraint < 0 ? p->type : schema->constraints[p->constraint].name;
    printf("%s %s %s %s %s %d %d", side, p->name, p->type, constraint, options[p->option], p->homogeneous,
           p->min_arity);
    print_types(schema, p);
  }
}

static void print_constraints(const ifd_schema *schema) {
  for (size_t i = 0; i < schema->n_constraints; i++) {
    printf("constraint %s", schema->constraints[i].name);
    for (int kind = 0; kind < IFD_SCHEMA_N_KINDS; kind++)
      for (int dtype = 0; dtype < 64; dtype++)
        if (ifd_type_set_has(schema->constraints[i].allowed, (ifd_schema_kind)kind, dtype))
          printf(" %d:%d", kind, dtype);
    printf("\n");
  }
}

static void print_float(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  printf(" %08" PRIx32, bits);
}

/* The numbers are those of AttributeProto.AttributeType. */
static void print_default(const ifd_schema_attr *a) {
  if (a->type == 1) print_float(a->value.f);
  if (a->type == 2) printf(" %" PRId64, a->value.i);
  if (a->type == 3) printf(" '%s'", a->value.s);
  for (size_t i = 0; i < a->n_values; i++) {
    if (a->type == 6) print_float(a->value.floats[i]);
    if (a->type == 7) printf(" %" PRId64, a->value.ints[i]);
    if (a->type == 8) printf(" '%s'", a->value.strings[i]);
  }
}

static void print_attrs(const ifd_schema *schema) {
  for (size_t i = 0; i < schema->n_attrs; i++) {
    const ifd_schema_attr *a = &schema->attrs[i];
    printf("attr %s %d required=%d default=%d", a->name, a->type, a->required, a->has_default);
    if (a->has_default) print_default(a);
    printf("\n");
  }
}

int main(void) {
  for (size_t i = 0; i < ifd_schema_count(); i++) {
    const ifd_schema *s = ifd_schema_at(i);
    printf("schema '%s' %s %d deprecated=%d function=%d", s->domain, s->name, s->since_version, s->deprecated,
           s->has_function);
    printf(" inputs %d %d outputs %d %d latest %d\n", s->min_inputs, s->max_inputs, s->min_outputs,
           s->max_outputs, ifd_schema_latest_opset(s->domain));
    print_params("in", s, s->inputs, s->n_inputs);
    print_params("out", s, s->outputs, s->n_outputs);
    print_attrs(s);
    print_constraints(s);
  }
  return 0;
}
