/* Rooms: memory for pieces of data of 64 kB and more, which are given back by themselves. A room is as large
 * as all before it, in whole large pages: memory in small pages takes several times as long to get and to
 * give back. Of a room only what is written to costs anything. Pieces are whole small pages, so that nothing
 * is left of one whose pages went. */
#ifndef IFD_BASE_ROOMS_H
#define IFD_BASE_ROOMS_H

#include "base/budget.h"

typedef struct ifd_rooms {
  struct ifd_room *first; /* the last one made */
  size_t bytes;
} ifd_rooms;

/* Whether data of [data, data + size) is wanted. */
typedef bool ifd_keeps(void *context, const void *data, size_t size);

/* A piece of at least `size` bytes, aligned to 64, not zeroed; NULL when the budget or the machine refuses.
 */
void *ifd_rooms_take(ifd_rooms *rooms, ifd_budget *budget, size_t size);
/* Takes back the pieces that are not kept; what they leave is taken again, and a room without any goes. */
void ifd_rooms_collect(ifd_rooms *rooms, ifd_budget *budget, ifd_keeps *keeps, void *context);
/* Lets go of the pages of what no piece takes. */
void ifd_rooms_trim(const ifd_rooms *rooms);
void ifd_rooms_free(ifd_rooms *rooms, ifd_budget *budget);

#endif
