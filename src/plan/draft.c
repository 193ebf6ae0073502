#include "plan/maker.h"

/* ---- what the caller brings ---- */

static const ifd_type *type_of_datum(ifd_arena *arena, const ifd_datum *d, const ifd_type *declared) {
  if (d->kind == IFD_KIND_TENSOR) return ifd_type_of_tensor(arena, &d->tensor);
  return declared ? declared : &ifd_type_unknown;
}

static ifd_status add_given(ifd_maker *m, int slot, const ifd_datum *d) {
  const ifd_value *v = m->priv->values.v[slot];
  ifd_facts *f;
  ALLOC(m->err, f, ifd_inference_get(&m->inf, v));
  ALLOC(m->err, f->type, type_of_datum(m->inf.arena, d, v->declared ? v->declared : v->type));
  m->slots[slot] = (ifd_slot){.place = IFD_PLACE_INPUT};
  if (d->kind == IFD_KIND_TENSOR) {
    m->slots[slot].tensor = d->tensor;
    m->slots[slot].tensor.data = NULL;
    m->slots[slot].tensor.buf = NULL;
    /* A session plans for the shapes that its model declares, which nobody has given yet. */
    TRY(ifd_shape_check(m->err, &d->tensor.shape, ifd_dtype_size(d->tensor.dtype)));
  }
  return IFD_OK;
}

static ifd_status add_constants(ifd_maker *m) {
  for (int s = 0; s < m->program->n_slots; s++) {
    const ifd_datum *c = &m->program->constants[s];
    if (c->kind == IFD_KIND_UNKNOWN) continue;
    TRY(ifd_inference_set_tensor(&m->inf, m->priv->values.v[s], &c->tensor));
    m->slots[s] = (ifd_slot){.place = IFD_PLACE_CONSTANT, .tensor = c->tensor};
  }
  return IFD_OK;
}

ifd_status ifd_plan_begin(ifd_maker *m, const ifd_datum *inputs, const ifd_datum *const *captures) {
  const ifd_program *p = m->program;
  TRY(add_constants(m));
  for (int i = 0; i < p->n_inputs; i++)
    if (p->constants[p->inputs[i]].kind == IFD_KIND_UNKNOWN) TRY(add_given(m, p->inputs[i], &inputs[i]));
  for (int i = 0; i < p->captures.n; i++) TRY(add_given(m, p->captures.v[i].slot, captures[i]));
  return IFD_OK;
}

/* ---- types of outputs ---- */

static bool number_shape(const ifd_type *t, ifd_shape *shape) {
  if (t->kind != IFD_KIND_TENSOR || !t->dtype || !t->has_rank || t->rank > IFD_MAX_RANK) return false;
  shape->rank = t->rank;
  for (int i = 0; i < t->rank; i++) {
    if (!ifd_dim_is_number(t->dims[i])) return false;
    shape->dim[i] = t->dims[i];
  }
  return true;
}

static ifd_dtype run_dtype(const ifd_program *p, ifd_dtype t) {
  return p->options.float64 && t == IFD_FLOAT ? IFD_DOUBLE : t;
}

static bool known_numbers(const ifd_elements *e) {
  if (!e) return false;
  for (int i = 0; i < e->n; i++)
    if (!ifd_dim_is_number(e->d[i])) return false;
  return true;
}

/* Shape arithmetic whose result inference has already found is a constant of the plan. */
static ifd_status settle_known(ifd_maker *m, ifd_slot *slot, const ifd_elements *e) {
  ifd_tensor t;
  TRY(ifd_tensor_new(m->err, &t, &m->plan->arena, slot->tensor.dtype, &slot->tensor.shape));
  for (int i = 0; i < e->n; i++) ifd_tensor_set_i64(&t, i, e->d[i]);
  *slot = (ifd_slot){.place = IFD_PLACE_CONSTANT, .tensor = t};
  return IFD_OK;
}

static ifd_status settle_output(ifd_maker *m, int s, bool *is_static, bool *known) {
  ifd_facts *f;
  ifd_slot *slot = &m->slots[s];
  ALLOC(m->err, f, ifd_inference_get(&m->inf, m->priv->values.v[s]));
  if (f->type->kind == IFD_KIND_TENSOR && run_dtype(m->program, f->type->dtype) != f->type->dtype) {
    ifd_type *wide;
    ALLOC(m->err, wide, ifd_arena_memdup(m->inf.arena, f->type, sizeof *wide));
    wide->dtype = run_dtype(m->program, wide->dtype);
    f->type = wide;
  }
  *slot = (ifd_slot){.place = IFD_PLACE_DYNAMIC};
  if (!number_shape(f->type, &slot->tensor.shape)) {
    *is_static = *known = false;
    return IFD_OK;
  }
  slot->tensor.dtype = f->type->dtype;
  TRY(ifd_shape_check(m->err, &slot->tensor.shape, ifd_dtype_size(slot->tensor.dtype)));
  slot->bytes = ifd_tensor_bytes(&slot->tensor);
  bool fits = known_numbers(f->elements) && f->elements->n == ifd_tensor_count(&slot->tensor) &&
              (ifd_dtype_is_integer(f->type->dtype) || f->type->dtype == IFD_BOOL);
  if (fits) TRY(settle_known(m, slot, f->elements));
  *known &= fits;
  return IFD_OK;
}

static bool inputs_are_static(const ifd_maker *m, const ifd_program_node *n) {
  for (int i = 0; i < n->node->n_inputs; i++)
    if (n->in[i] >= 0 && m->slots[n->in[i]].place == IFD_PLACE_DYNAMIC) return false;
  return true;
}

/* ---- drafts ---- */

/* A view of an input costs nothing: its slot is an alias and there is no step. */
static bool settle_view(ifd_maker *m, const ifd_program_node *n) {
  if (!(n->node->op->flags & IFD_OP_VIEW) || n->out[0] < 0 || m->is_output[n->out[0]]) return false;
  const ifd_slot *root = &m->slots[ifd_slot_root(m, n->in[0])], *out = &m->slots[n->out[0]];
  if (!ifd_slot_is_memory(root) || root->tensor.splat || out->place == IFD_PLACE_CONSTANT) return false;
  /* A shape that does not fit is for the evaluation to refuse. */
  if (ifd_tensor_count(&out->tensor) != ifd_tensor_count(&m->slots[n->in[0]].tensor)) return false;
  ifd_slot_alias(m, n->out[0], n->in[0], 0);
  return true;
}

static void place_outputs(ifd_maker *m, const ifd_program_node *n) {
  for (int i = 0; i < n->node->n_outputs; i++) {
    if (n->out[i] < 0) continue;
    ifd_slot *s = &m->slots[n->out[i]];
    bool plain = s->tensor.dtype && s->tensor.dtype != IFD_STRING && s->place != IFD_PLACE_CONSTANT;
    if (plain) s->place = m->is_output[n->out[i]] ? IFD_PLACE_OUTPUT : IFD_PLACE_SLAB;
  }
}

ifd_status ifd_plan_draft(ifd_maker *m, const ifd_program_node *n) {
  bool is_static = inputs_are_static(m, n), known = true;
  TRY(ifd_infer_node(&m->inf, n->node));
  for (int i = 0; i < n->node->n_outputs; i++)
    if (n->out[i] >= 0) TRY(settle_output(m, n->out[i], &is_static, &known));
  if (known && n->node->n_outputs && !(n->node->op->flags & IFD_OP_IMPURE)) return IFD_OK;
  if (is_static && settle_view(m, n)) return IFD_OK;
  if (is_static)
    place_outputs(m, n);
  else {
    for (int i = 0; i < n->node->n_outputs; i++)
      if (n->out[i] >= 0) m->slots[n->out[i]].place = IFD_PLACE_DYNAMIC;
    m->plan->all_static = false;
  }
  m->drafts[m->n_drafts++] = (ifd_draft){.n = n, .is_static = is_static, .region = -1};
  return IFD_OK;
}
