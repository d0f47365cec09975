/*
 * real_pthread.h - libc's own functions that wait for other threads, behind ours.
 *
 * Two tables of the same shape. A hook is a jump through prof__pthread_door, whose entries are
 * switched: to libc's functions while no rate is on, so that being hooked costs one jump, and to
 * the watching ones else. Those call libc's through prof__pthread_real. As in real.h, entries can
 * be called at any time; before anything has been looked up they do that first.
 */
#ifndef PROF_HOOKS_REAL_PTHREAD_H
#define PROF_HOOKS_REAL_PTHREAD_H

#include <pthread.h>
#include <semaphore.h>
#include <threads.h>
#include <time.h>

#include "base/compiler.h"

/* clang-format off */

/* Those that are hooked: DOOR(name, parameters, arguments). All return int. */
#define PROF__PTHREAD_HOOKED(DOOR)                                                                 \
    DOOR(pthread_mutex_lock, (pthread_mutex_t *m), (m))                                            \
    DOOR(pthread_mutex_unlock, (pthread_mutex_t *m), (m))                                          \
    DOOR(pthread_mutex_timedlock, (pthread_mutex_t *m, const struct timespec *t), (m, t))          \
    DOOR(pthread_mutex_clocklock,                                                                  \
         (pthread_mutex_t *m, clockid_t clock, const struct timespec *t), (m, clock, t))           \
    DOOR(pthread_rwlock_rdlock, (pthread_rwlock_t *l), (l))                                        \
    DOOR(pthread_rwlock_wrlock, (pthread_rwlock_t *l), (l))                                        \
    DOOR(pthread_rwlock_timedrdlock, (pthread_rwlock_t *l, const struct timespec *t), (l, t))      \
    DOOR(pthread_rwlock_timedwrlock, (pthread_rwlock_t *l, const struct timespec *t), (l, t))      \
    DOOR(pthread_rwlock_clockrdlock,                                                               \
         (pthread_rwlock_t *l, clockid_t clock, const struct timespec *t), (l, clock, t))          \
    DOOR(pthread_rwlock_clockwrlock,                                                               \
         (pthread_rwlock_t *l, clockid_t clock, const struct timespec *t), (l, clock, t))          \
    DOOR(pthread_rwlock_unlock, (pthread_rwlock_t *l), (l))                                        \
    DOOR(pthread_cond_wait, (pthread_cond_t *c, pthread_mutex_t *m), (c, m))                       \
    DOOR(pthread_cond_timedwait,                                                                   \
         (pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t), (c, m, t))             \
    DOOR(pthread_cond_clockwait,                                                                   \
         (pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock, const struct timespec *t),       \
         (c, m, clock, t))                                                                         \
    DOOR(pthread_cond_signal, (pthread_cond_t *c), (c))                                            \
    DOOR(pthread_cond_broadcast, (pthread_cond_t *c), (c))                                         \
    DOOR(sem_post, (sem_t *s), (s))                                                                \
    DOOR(sem_wait, (sem_t *s), (s))                                                                \
    DOOR(sem_timedwait, (sem_t *s, const struct timespec *t), (s, t))                              \
    DOOR(sem_clockwait, (sem_t *s, clockid_t clock, const struct timespec *t), (s, clock, t))      \
    DOOR(pthread_barrier_wait, (pthread_barrier_t *b), (b))                                        \
    DOOR(pthread_join, (pthread_t thread, void **ret), (thread, ret))                              \
    DOOR(pthread_timedjoin_np, (pthread_t thread, void **ret, const struct timespec *t),           \
         (thread, ret, t))                                                                         \
    DOOR(pthread_clockjoin_np,                                                                     \
         (pthread_t thread, void **ret, clockid_t clock, const struct timespec *t),                \
         (thread, ret, clock, t))                                                                  \
    DOOR(mtx_lock, (mtx_t *m), (m))                                                                \
    DOOR(mtx_timedlock, (mtx_t *m, const struct timespec *t), (m, t))                              \
    DOOR(mtx_unlock, (mtx_t *m), (m))                                                              \
    DOOR(cnd_signal, (cnd_t *c), (c))                                                              \
    DOOR(cnd_broadcast, (cnd_t *c), (c))                                                           \
    DOOR(cnd_wait, (cnd_t *c, mtx_t *m), (c, m))                                                   \
    DOOR(cnd_timedwait, (cnd_t *c, mtx_t *m, const struct timespec *t), (c, m, t))                 \
    DOOR(thrd_join, (thrd_t thread, int *ret), (thread, ret))

/* Those that only the watching functions call. They never wait, so there is nothing to record. */
#define PROF__PTHREAD_TRIES(DOOR)                                                                  \
    DOOR(pthread_mutex_trylock, (pthread_mutex_t *m), (m))                                         \
    DOOR(pthread_rwlock_tryrdlock, (pthread_rwlock_t *l), (l))                                     \
    DOOR(pthread_rwlock_trywrlock, (pthread_rwlock_t *l), (l))                                     \
    DOOR(sem_trywait, (sem_t *s), (s))                                                             \
    DOOR(pthread_tryjoin_np, (pthread_t thread, void **ret), (thread, ret))                        \
    DOOR(mtx_trylock, (mtx_t *m), (m))

#define PROF__PTHREAD_DECLARE(name, parameters, arguments) int (*name) parameters;
struct prof__pthread {
    PROF__PTHREAD_HOOKED(PROF__PTHREAD_DECLARE)
    PROF__PTHREAD_TRIES(PROF__PTHREAD_DECLARE)
};
#undef PROF__PTHREAD_DECLARE

/* The functions that watch, one for each that is hooked; hook_mutex.c, hook_wait.c, hook_c11.c. */
#define PROF__PTHREAD_DECLARE(name, parameters, arguments) int prof__watch_##name parameters;
PROF__PTHREAD_HOOKED(PROF__PTHREAD_DECLARE)
#undef PROF__PTHREAD_DECLARE

/* clang-format on */

/* Words, each read by one jump; written by any number of threads that look up or switch. */
extern struct prof__pthread prof__pthread_door __attribute__((visibility("hidden")));
extern struct prof__pthread prof__pthread_real __attribute__((visibility("hidden")));

/* What a hook of this name ends up in, or NULL; for the other copy of the hooks (real.h). */
void *prof__pthread_real_of(const char *name);

#endif
