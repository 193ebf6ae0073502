#include "base/rooms.h"

#include "base/os.h"

/* The pieces of a room lie side by side, in order, free ones apart from each other. */
typedef struct piece {
  struct piece *next;
  char *at;
  size_t size;
  bool taken;
} piece;

typedef struct ifd_room {
  struct ifd_room *next;
  size_t size;
  piece first;
} room;

enum { PAGE = 4096, LEAST = 16 * PAGE, MOST = 1 << 26, WORTH_IT = IFD_LARGE_PAGE / 2 };

static size_t round_up(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

/* ---- rooms ---- */

static size_t size_of_next(const ifd_rooms *rooms, const ifd_budget *budget, size_t least) {
  size_t usual = rooms->bytes < MOST ? rooms->bytes : MOST;
  if (budget && budget->spills) return least; /* a file has room for all of it from the start */
#ifdef __SANITIZE_ADDRESS__                   /* it watches pieces best that are freed by themselves */
  return least;
#endif
  if (usual < least) usual = least;
  return usual < WORTH_IT ? usual : round_up(usual, IFD_LARGE_PAGE);
}

static piece *add_room(ifd_rooms *rooms, ifd_budget *budget, size_t least) {
  room *r = ifd_budget_alloc(budget, sizeof *r);
  if (!r) return NULL;
  *r = (room){.next = rooms->first, .size = size_of_next(rooms, budget, least)};
  r->first.at = ifd_budget_alloc(budget, r->size);
  if (!r->first.at) r->first.at = ifd_budget_alloc(budget, r->size = least);
  if (!r->first.at) {
    ifd_budget_free(budget, r, sizeof *r);
    return NULL;
  }
  r->first.size = r->size;
  rooms->first = r;
  rooms->bytes += r->size;
  return &r->first;
}

static void free_room(ifd_rooms *rooms, ifd_budget *budget, room *r) {
  for (piece *p = r->first.next, *next; p; p = next) {
    next = p->next;
    ifd_budget_free(budget, p, sizeof *p);
  }
  rooms->bytes -= r->size;
  ifd_budget_free(budget, r->first.at, r->size);
  ifd_budget_free(budget, r, sizeof *r);
}

void ifd_rooms_free(ifd_rooms *rooms, ifd_budget *budget) {
  for (room *r = rooms->first, *next; r; r = next) {
    next = r->next;
    free_room(rooms, budget, r);
  }
  rooms->first = NULL;
}

/* ---- pieces ---- */

/* The smallest that fits, and the room that it is in; or NULL. */
static piece *find_free(const ifd_rooms *rooms, size_t size, const room **in) {
  piece *best = NULL;
  for (room *r = rooms->first; r; r = r->next)
    for (piece *p = &r->first; p; p = p->next)
      if (!p->taken && p->size >= size && (!best || p->size < best->size)) best = p, *in = r;
  return best;
}

void *ifd_rooms_take(ifd_rooms *rooms, ifd_budget *budget, size_t size) {
  const room *in = NULL;
  if (size > SIZE_MAX / 2) return NULL;
  size = round_up(size, PAGE);
  piece *p = find_free(rooms, size, &in);
  if (!p && !(p = add_room(rooms, budget, size))) return NULL;
  if (!in) in = rooms->first;
  piece *rest = p->size - size < LEAST ? NULL : ifd_budget_alloc(budget, sizeof *rest);
  if (rest) {
    *rest = (piece){.next = p->next, .at = p->at + size, .size = p->size - size};
    p->next = rest;
    p->size = size;
  }
  p->taken = true;
  if (in->size < IFD_LARGE_PAGE) ifd_memory_populate(p->at, size);
  return p->at;
}

/* Whether any piece of the room is left. */
static bool collect(room *r, ifd_budget *budget, ifd_keeps *keeps, void *context) {
  for (piece *p = &r->first, *last = NULL, *next; p; p = next) {
    next = p->next;
    p->taken = p->taken && keeps(context, p->at, p->size);
    if (last && !last->taken && !p->taken) {
      last->size += p->size;
      last->next = next;
      ifd_budget_free(budget, p, sizeof *p);
    } else {
      last = p;
    }
  }
  return r->first.taken || r->first.next;
}

void ifd_rooms_collect(ifd_rooms *rooms, ifd_budget *budget, ifd_keeps *keeps, void *context) {
  for (room **link = &rooms->first, *r; (r = *link);) {
    if (collect(r, budget, keeps, context)) {
      link = &r->next;
      continue;
    }
    *link = r->next;
    free_room(rooms, budget, r);
  }
}

void ifd_rooms_trim(const ifd_rooms *rooms) {
  for (const room *r = rooms->first; r; r = r->next)
    for (const piece *p = &r->first; p; p = p->next)
      if (!p->taken) ifd_memory_let_go(p->at, p->size);
}
