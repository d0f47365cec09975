/*
 * resident.h - how much of each mapping is in memory, as the kernel counts it for RSS.
 */
#ifndef PROF_IMAGE_RESIDENT_H
#define PROF_IMAGE_RESIDENT_H

#include "image/image.h"

struct prof__resident {
    struct prof__image_map map;
    uint64_t resident, swapped; /* bytes */
    uint64_t huge;              /* of those resident, anonymous ones in transparent huge pages */
    uint64_t hugetlb;           /* in reserved huge pages, which are not among the resident */
};

/*
 * All mappings by rising address, in memory from `a`: by /proc/self/smaps, which goes through all
 * page tables, so a second for each 100 GiB or so that are resident. Where there is none the pages
 * of image->map are counted by presence(), and *ret_counted is set: what is in huge pages is then
 * not known. 0, -ENOMEM or another negative errno.
 */
int prof__resident_read(struct prof__image *image, struct prof__arena *a,
                        struct prof__resident **ret, size_t *ret_n, bool *ret_counted);

/* Bytes of page tables of the process; 0: not known. */
uint64_t prof__resident_page_tables(void);

#endif
