/*
 * symbol.c - the names of addresses, for `go tool pprof` on a profile without names.
 *
 * A million bytes of them can be asked at once: they are looked up in turns of some thousand, with
 * one deadline for all, and others are served between them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "handlers.h"

#define MAX_NAME 4096
#define BATCH    4096            /* addresses looked up at a time; bounds the memory that takes */
#define LIMIT_NS (4 * SECOND_NS) /* for all of them: what is not known by then is left out */

static int add_symbol(void *exchange, uint64_t address, const char *name)
{
    struct prof__exchange *x = exchange;

    return prof__buffer_printf(&x->reply.body, "%#llx %.*s\n", (unsigned long long)address,
                               MAX_NAME, name);
}

/* The next address of a list with '+' between them; 0 for what is none. Takes it off the list. */
static uint64_t next_address(const char **words, size_t *size)
{
    const char *plus = memchr(*words, '+', *size);
    size_t word = plus ? (size_t)(plus - *words) : *size;
    uint64_t address = 0;

    if (prof__parse_address(*words, word, &address) < 0)
        address = 0;
    word += plus != NULL;
    *words += word;
    *size -= word;
    return address;
}

/* The next batch. What was looked up once is found at once, so that a client whose time was too
 * short may ask again. */
static int look_up_batch(struct prof__exchange *x)
{
    uint64_t *batch = malloc(BATCH * sizeof(*batch));
    int r = batch ? 0 : refused(x, -ENOMEM, "out of memory");
    size_t n = 0;

    while (r == 0 && x->words_size > 0 && n < BATCH) {
        batch[n] = next_address(&x->words, &x->words_size);
        n += batch[n] != 0;
    }
    if (r == 0)
        r = prof_symbols_until(batch, n, (int64_t)x->deadline_ns, add_symbol, x);
    free(batch);
    if (r > 0 || (r == 0 && x->words_size > 0 && now_ns() >= x->deadline_ns))
        return prof__buffer_puts(&x->reply.body, "# time is up: names are missing\n");
    return r == 0 && x->words_size > 0 ? PROF__WAIT : r;
}

/* One line for each address with a name; others are passed over. Every line ends in a newline, or
 * pprof loses it. The addresses are those of instructions already. */
int prof__serve_symbol(struct prof__exchange *x)
{
    bool post = x->upload_limit > 0;

    x->words = post ? x->upload.data : x->target.query;
    x->words_size = post ? x->upload.size : strlen(x->words);
    x->deadline_ns = now_ns() + LIMIT_NS;
    x->go_on = look_up_batch;
    int r = prof__buffer_puts(&x->reply.body, "num_symbols: 1\n");
    text_reply(x);
    return r < 0 ? r : look_up_batch(x);
}
