/*
 * helper.c - the one place that starts a thread of ours.
 *
 * Such a thread is a guest in the program's process:
 *
 *   stack     glibc takes a thread's static thread-local data, which may be megabytes, from the
 *             stack that is asked for. So we ask for what the thread needs, and for that
 *   numbers   computed as usual, whatever exceptions its creator has unmasked
 *   signals   blocked before it exists, as it inherits its creator's mask (signals.h says which)
 *   profiles  it is in none, and being made it is in none
 *
 * What it is to run travels in a page of its own: no memory of the program's, and nobody waits for
 * anybody.
 */
#include <prof/prof.h>

#include <dlfcn.h>
#include <errno.h>
#include <fenv.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/error.h"
#include "base/pages.h"
#include "base/signals.h"
#include "base/thread.h"
#include "base/thread_start.h"
#include "base/withdraw.h"

enum { PAGE = 4096, LIBC_BYTES = 64 * 1024 };

/* As much as libc takes of each thread's stack. */
static size_t taken_bytes;

/* --- what libc takes -------------------------------------------------------------------------- */

static int add_tls(struct dl_phdr_info *info, size_t size, void *sum)
{
    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS)
            *(size_t *)sum += info->dlpi_phdr[i].p_memsz + info->dlpi_phdr[i].p_align;
    return 0;
}

/* It is settled when the program starts; what is loaded later has its thread-local data elsewhere,
 * or in what was put by for it. glibc has a function that tells, which is not in its headers; in a
 * static program it is not to be found, and what each object wants is added up. Asked early, as the
 * loader is: later, another thread may have it and wait for us. */
__attribute__((constructor(101))) static void ask_libc(void)
{
    size_t (*least)(const pthread_attr_t *attr);
    void *f = dlsym(RTLD_DEFAULT, "__pthread_get_minstack");
    pthread_attr_t attr;

    taken_bytes = LIBC_BYTES;
    dl_iterate_phdr(add_tls, &taken_bytes);
    if (!f) {
        dlerror(); /* the program must not be told of our failures */
    } else if (pthread_attr_init(&attr) == 0) {
        memcpy(&least, &f, sizeof(f));
        taken_bytes = least(&attr);
        pthread_attr_destroy(&attr);
    }
}

/* --- starting --------------------------------------------------------------------------------- */

static void end(void *unused)
{
    prof__helper_ends();
}

static void *begin(void *arg)
{
    struct prof_helper h = *(const struct prof_helper *)arg;
    char name[16];
    void *result;

    memcpy(name, (const char *)arg + sizeof(h), sizeof(name));
    munmap(arg, PAGE);
    fesetenv(FE_DFL_ENV);
    prof__thread_start_learn((uintptr_t)begin, (uintptr_t)arg);
    prof__helper_begins();
    prof_thread_helper();
    prctl(PR_SET_NAME, name);
    pthread_cleanup_push(end, NULL);
    result = h.run(h.arg);
    pthread_cleanup_pop(1);
    return result;
}

static void *copy(const struct prof_helper *h)
{
    void *page = prof__raw_map(PAGE);

    if (page == MAP_FAILED)
        return NULL;
    memcpy(page, h, sizeof(*h));
    snprintf((char *)page + sizeof(*h), 16, "%s", h->name ? h->name : "prof");
    return page;
}

static int create(const struct prof_helper *h, void *page, pthread_t *ret_thread)
{
    pthread_attr_t attr;
    size_t need = h->stack_bytes;
    int r = pthread_attr_init(&attr);

    if (r != 0)
        return -r;
    if (need == 0)
        pthread_attr_getstacksize(&attr, &need);
    need += taken_bytes;
    pthread_attr_setstacksize(&attr, (need + PAGE - 1) & ~(size_t)(PAGE - 1));
    if (h->detached)
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    r = pthread_create(ret_thread, &attr, begin, page);
    pthread_attr_destroy(&attr);
    return -r;
}

int prof_helper_start(const struct prof_helper *helper, pthread_t *ret_thread)
{
    struct prof_helper h = PROF_HELPER_INIT;
    struct prof__thread *t = &prof__self;
    pthread_t thread;
    int r = helper ? prof__struct_read(helper, sizeof(h), &h, sizeof(h)) : -EINVAL;

    if (r == 0 && (!h.run || (!ret_thread && !h.detached)))
        r = -EINVAL;
    if (r < 0)
        return prof_set_last_error(r, "prof_helper_start() takes a struct that begins with "
                                      "PROF_HELPER_INIT, and a place for the thread");
    bool entered = prof__enter(t); /* so that our hook takes it for ours */
    void *page = copy(&h);
    r = -ENOMEM;
    if (page) {
        uint64_t mask = prof__signals_set(PROF__SIGNALS_HELPER);

        prof__helper_expected();
        r = create(&h, page, ret_thread ? ret_thread : &thread);
        prof__signals_restore(mask);
        if (r < 0) {
            prof__helper_failed();
            munmap(page, PAGE);
        }
    }
    if (entered)
        prof__leave(t);
    return r < 0 ? prof_set_last_error(r, "cannot start a thread: %s", strerror(-r)) : 0;
}
