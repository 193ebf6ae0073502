/* What plans share. Constants in the forms that kernels read: lowering asks for them, and once a plan is made
 * they are packed together, in batches, whose sources then may go, each cut in shares for the threads of the
 * pool. And what nodes' attributes become. */
#include "plan/program_priv.h"

#include "base/os.h"
#include <string.h>

static ifd_program *root_of(ifd_program *program) {
  while (program->parent) program = program->parent;
  return program;
}

static ifd_status need(ifd_error *err, ifd_program *root, const ifd_tensor *constant, bool for_good) {
  const ifd_program_options *o = &root->options;
  return o->need ? o->need(err, o->owner, constant->data, for_good) : IFD_OK;
}

/* ---- forms ---- */

static ifd_packed *find_packed(const ifd_program_priv *priv, const ifd_packed *key) {
  ifd_packed *k = priv->n_buckets ? priv->packed[key->hash & (uint64_t)(priv->n_buckets - 1)] : NULL;
  while (k && !(k->hash == key->hash && k->from.data == key->from.data && k->how.pack == key->how.pack &&
                k->how.bytes == key->how.bytes && k->how.params_size == key->how.params_size &&
                (!k->how.params_size || memcmp(k->how.params, key->how.params, k->how.params_size) == 0)))
    k = k->next;
  return k;
}

static void link_packed(ifd_packed **buckets, int n_buckets, ifd_packed *k) {
  ifd_packed **bucket = &buckets[k->hash & (uint64_t)(n_buckets - 1)];
  k->next = *bucket;
  *bucket = k;
}

static ifd_status grow_buckets(ifd_error *err, ifd_arena *arena, ifd_program_priv *priv) {
  int n = priv->n_buckets ? 2 * priv->n_buckets : 64;
  ifd_packed **buckets;
  ALLOC(err, buckets, ifd_new_array(arena, ifd_packed *, n));
  for (int i = 0; i < priv->n_buckets; i++)
    for (ifd_packed *k = priv->packed[i], *next; k; k = next) {
      next = k->next;
      link_packed(buckets, n, k);
    }
  priv->packed = buckets;
  priv->n_buckets = n;
  return IFD_OK;
}

/* As much as there is already, in whole large pages: small ones cost more than what is packed into them, once
 * when they are first written and again in every run. Large ones that nothing is written to cost nothing. */
static ifd_status add_slab(ifd_error *err, ifd_slab **out, ifd_program *root, size_t least) {
  enum { LEAST = 1 << 16, MOST = 1 << 26, WORTH_IT = IFD_LARGE_PAGE / 4 };
  ifd_program_priv *priv = root->priv;
  ifd_slab *s;
  size_t usual = priv->slab_bytes < LEAST ? LEAST : priv->slab_bytes > MOST ? MOST : priv->slab_bytes;
  ALLOC(err, s, ifd_new(&root->arena, ifd_slab));
  s->size = least > usual ? least : usual;
  if (s->size >= WORTH_IT) s->size = (s->size + IFD_LARGE_PAGE - 1) / IFD_LARGE_PAGE * IFD_LARGE_PAGE;
  s->memory = ifd_budget_alloc(root->budget, s->size);
  if (!s->memory) s->memory = ifd_budget_alloc(root->budget, s->size = least);
  EXPECT(err, s->memory, NO_MEMORY, "out of memory for packed weights of %zu bytes", least);
  s->next = priv->slabs;
  priv->slabs = s;
  priv->slab_bytes += s->size;
  *out = s;
  return IFD_OK;
}

/* The one with the least room that is enough, or NULL. */
static ifd_slab *find_slab(const ifd_program_priv *priv, size_t size) {
  ifd_slab *best = NULL;
  for (ifd_slab *s = priv->slabs; s; s = s->next)
    if (s->size - s->used >= size && (!best || s->size - s->used < best->size - best->used)) best = s;
  return best;
}

static ifd_status place(ifd_error *err, void **out, ifd_program *root, size_t bytes) {
  size_t size = (bytes + 63) & ~(size_t)63;
  EXPECT(err, bytes <= SIZE_MAX / 2, NO_MEMORY, "out of memory for packed weights of %zu bytes", bytes);
  ifd_slab *s = find_slab(root->priv, size);
  if (!s) TRY(add_slab(err, &s, root, size));
  *out = s->memory + s->used;
  s->used += size;
  if (s->size < IFD_LARGE_PAGE) ifd_memory_populate(*out, size);
  return IFD_OK;
}

static ifd_status add_packed(ifd_error *err, ifd_packed **out, ifd_program *root, const ifd_packed *key) {
  ifd_program_priv *priv = root->priv;
  ifd_packed *k;
  if (priv->n_packed == priv->n_buckets) TRY(grow_buckets(err, &root->arena, priv));
  ALLOC(err, k, ifd_arena_memdup(&root->arena, key, sizeof *key));
  ALLOC(err, k->how.params, ifd_arena_memdup(&root->arena, key->how.params, key->how.params_size));
  TRY(place(err, &k->memory, root, k->how.bytes));
  link_packed(priv->packed, priv->n_buckets, k);
  priv->n_packed++;
  *(priv->due ? &priv->last_due->next_due : &priv->due) = k;
  priv->last_due = k;
  *out = k;
  return IFD_OK;
}

static uint64_t hash_of(const ifd_packed *k) {
  uint64_t hash = ifd_hash_mix((uint64_t)(uintptr_t)k->from.data, (uint64_t)(uintptr_t)k->how.pack);
  return ifd_hash_mix(ifd_hash_mix(hash, k->how.bytes), ifd_hash_bytes(k->how.params, k->how.params_size));
}

ifd_status ifd_program_pack(ifd_error *err, const void **out, ifd_program *program, const ifd_tensor *from,
                            const ifd_packing *how) {
  ifd_program *root = root_of(program);
  ifd_program_priv *priv = root->priv;
  ifd_packed key = {.from = *from, .how = *how};
  ifd_status status = IFD_OK;
  if (priv->guesses && !how->any_shape) {
    *out = priv; /* it will not be read */
    return IFD_OK;
  }
  key.hash = hash_of(&key);
  pthread_mutex_lock(&priv->pack_lock);
  ifd_packed *k = find_packed(priv, &key);
  if (!k) status = add_packed(err, &k, root, &key);
  if (status == IFD_OK) *out = k->memory;
  pthread_mutex_unlock(&priv->pack_lock);
  return status;
}

ifd_status ifd_program_need(ifd_error *err, ifd_program *program, const ifd_tensor *constant) {
  ifd_program *root = root_of(program);
  ifd_program_priv *priv = root->priv;
  if (priv->guesses) return IFD_OK;
  pthread_mutex_lock(&priv->pack_lock);
  ifd_status status = need(err, root, constant, true);
  pthread_mutex_unlock(&priv->pack_lock);
  return status;
}

/* ---- what is made of attributes ---- */

static ifd_status make(ifd_error *err, ifd_program_node *n, ifd_budget *budget, ifd_make *make_of) {
  ifd_arena_init(&n->kept, budget);
  ifd_status status = make_of(err, &n->kept, n->node, &n->made);
  if (status == IFD_OK) return IFD_OK;
  n->made = NULL;
  ifd_arena_free(&n->kept);
  return status;
}

ifd_status ifd_program_make_once(ifd_error *err, const void **out, ifd_program *program, const ifd_node *node,
                                 ifd_make *make_of) {
  ifd_program_priv *priv = root_of(program)->priv;
  ifd_program_node *n = ifd_program_node_of(program, node);
  pthread_mutex_lock(&priv->pack_lock);
  ifd_status status = n->made ? IFD_OK : make(err, n, program->budget, make_of);
  *out = n->made;
  pthread_mutex_unlock(&priv->pack_lock);
  return status;
}

/* ---- packing ---- */

enum { BATCH = 64, BATCH_BYTES = 1 << 22, SHARE_BYTES = 1 << 18, MOST_SHARES = 64 };

/* A form in the making. */
typedef struct work {
  ifd_packed *packed;
  void *dense; /* its source, written out for it, or NULL */
  size_t dense_bytes;
  int n_shares, first_task;
} work;

typedef struct batch {
  ifd_program *root;
  int n, n_tasks;
  work works[BATCH];
} batch;

static bool is_dense(const ifd_packed *k) {
  const ifd_tensor *t = &k->from;
  return !(t->splat && !k->how.takes_splat) && !(t->packed && ifd_dtypes[t->dtype].bits < 8);
}

static ifd_status write_out(ifd_error *err, ifd_program *root, work *w) {
  const ifd_tensor *t = &w->packed->from;
  w->dense_bytes = (size_t)ifd_tensor_count(t) * ifd_dtype_size(t->dtype);
  ALLOC(err, w->dense, ifd_budget_alloc(root->budget, w->dense_bytes));
  ifd_tensor_expand(t, w->dense);
  return IFD_OK;
}

/* The next forms that are due: as many as keep what is read for them small. */
static ifd_status begin(ifd_error *err, batch *b, ifd_packed *due) {
  size_t bytes = 0;
  for (ifd_packed *k = due; k && b->n < BATCH && bytes < BATCH_BYTES; k = k->next_due) {
    size_t shares = k->how.pack ? k->how.bytes / SHARE_BYTES + 1 : 1;
    work *w = &b->works[b->n++];
    *w = (work){.packed = k, .n_shares = shares < MOST_SHARES ? (int)shares : MOST_SHARES};
    w->first_task = b->n_tasks;
    b->n_tasks += w->n_shares;
    bytes += k->how.bytes;
    TRY(need(err, b->root, &k->from, false));
    if (k->how.pack && !is_dense(k)) TRY(write_out(err, b->root, w));
  }
  return IFD_OK;
}

static void pack_share(void *context, int task, int worker) {
  const batch *b = context;
  const work *w = b->works;
  (void)worker;
  while (task >= w->first_task + w->n_shares) w++;
  const ifd_packed *k = w->packed;
  if (k->how.pack)
    k->how.pack(k->memory, w->dense ? w->dense : k->from.data, k->how.params, task - w->first_task,
                w->n_shares);
  else
    ifd_tensor_expand(&k->from, k->memory);
}

static void end(batch *b, bool packed) {
  const ifd_program_options *o = &b->root->options;
  for (int i = 0; i < b->n; i++) {
    const work *w = &b->works[i];
    ifd_budget_free(b->root->budget, w->dense, w->dense_bytes);
    if (packed && o->let_go)
      o->let_go(o->owner, w->packed->from.data, ifd_tensor_stored_bytes(&w->packed->from));
  }
  if (packed && o->let_go) o->let_go(o->owner, NULL, 0);
}

static ifd_status pack_due(ifd_error *err, ifd_program *root) {
  ifd_program_priv *priv = root->priv;
  while (priv->due) {
    batch b = {.root = root};
    ifd_status status = begin(err, &b, priv->due);
    if (status == IFD_OK) ifd_pool_run(root->options.pool, b.n_tasks, pack_share, &b);
    end(&b, status == IFD_OK);
    TRY(status);
    priv->due = b.works[b.n - 1].packed->next_due;
  }
  return IFD_OK;
}

ifd_status ifd_program_pack_due(ifd_error *err, ifd_program *program) {
  ifd_program *root = root_of(program);
  ifd_program_priv *priv = root->priv;
  pthread_mutex_lock(&priv->pack_lock);
  ifd_status status = pack_due(err, root);
  pthread_mutex_unlock(&priv->pack_lock);
  return status;
}
