/**
 * prof.h - profiles of a running native program, in the words of Go's runtime/pprof.
 *
 * A profile is a set of call stacks with values: bytes allocated, nanoseconds waited. The library
 * keeps a registry of them ("heap", "allocs", and more); each can be written at any time as
 * gzipped pprof protobuf, which `go tool pprof` and the continuous profilers read.
 *
 * What fills them:
 *   - linking libprof-hooks, or preloading libprof-preload.so, replaces malloc and its family;
 *   - or the program feeds its own allocator through prof_heap_alloc() and prof_heap_free().
 * Linking libprof alone replaces nothing.
 *
 * Rules for every call here, unless its comment says otherwise:
 *   Errors   0 or a count on success, else a negative errno; prof_last_error() has a sentence.
 *            Nothing prints, aborts or exits.
 *   Threads  any thread, any number at once.
 *   Signals  not from a signal handler.
 *   errno    may change, as with any library call.
 */
#ifndef PROF_PROF_H
#define PROF_PROF_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include <prof/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Version of this header; prof_version() tells that of the library. */
#define PROF_VERSION_MAJOR 0
#define PROF_VERSION_MINOR 1
#define PROF_VERSION_PATCH 0

/** Version of the library that was found at run time, "0.1.0". Signals: safe. */
PROF_API const char *prof_version(void);

/**
 * The memory that libprof's profiles are made of, range by range: for what writes less than all
 * memory when the program crashes, as Breakpad (RegisterAppMemory) and Crashpad do. With it, and
 * the stacks and modules that such dumps have, the profiles can be had from the dump; a core file
 * has it anyway. Up to 16 MiB in some dozens of ranges, page-aligned or not.
 *
 * @param each  told each range; `start` is readable for as long as the process lives
 *
 * Returns: 0, or -EINVAL: no `each`.
 * Signals: may be called from a handler, also after a crash: it takes no lock and allocates
 * nothing.
 */
PROF_API int prof_dump_ranges(void (*each)(const void *start, size_t size, void *arg), void *arg);

/**
 * One English sentence on why the calling thread's last failed libprof call failed; "" when none
 * has. Valid until that thread's next libprof call.
 */
PROF_API const char *prof_last_error(void);

/**
 * Set that sentence, printf-like, and return `error`: for libraries built on libprof, as
 * libprof-http is. Signals: safe as far as vsnprintf() is.
 */
PROF_API int prof_set_last_error(int error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* --- rates ---------------------------------------------------------------------------------- */

/**
 * Mean bytes allocated between two heap samples. 1 records every block exactly, 0 switches heap
 * sampling off, the default is 524288 (512 KiB). A negative value only reads.
 *
 * May be changed at any time, from any thread: each sample carries the weight of the rate that it
 * was taken at, so neither what is already counted nor what follows is bent. Another thread takes
 * up the new rate at its next sample, or after 1 MiB of allocations if that comes first.
 *
 * Returns: the previous rate, or -EINVAL above 2^40.
 * Environment: LIBPROF_HEAP_RATE sets the rate at start.
 */
PROF_API int64_t prof_set_heap_rate(int64_t bytes);

/**
 * Mean nanoseconds of waiting between two samples of the block profile. 1 records every wait, 0,
 * the default, switches it off. A wait of d ns is recorded if d >= ns, and else with probability
 * d / ns, then standing for ns / d waits: so totals are right at any rate, as in Go. A negative
 * value only reads.
 *
 * May be changed at any time: what is already counted stays as it is.
 *
 * Returns: the previous rate, or -EINVAL above 2^40.
 * Environment: LIBPROF_BLOCK_RATE sets the rate at start.
 */
PROF_API int64_t prof_set_block_rate(int64_t ns);

/**
 * Record one in `n` of the unlocks that others were waiting for, standing for n of them. 1 records
 * every one, 0, the default, switches the mutex profile off. A negative value only reads.
 *
 * May be changed at any time: what is already counted stays as it is.
 *
 * Returns: the previous n, or -EINVAL above 2^31 - 1.
 * Environment: LIBPROF_MUTEX_FRACTION sets it at start.
 */
PROF_API int64_t prof_set_mutex_fraction(int64_t n);

/**
 * Samples per second of CPU time of each thread, 1 to 250, the default is 100. A negative value
 * only reads. Takes effect when a CPU profile begins and no other is under way, so that one profile
 * has one rate.
 *
 * Returns: the previous rate, or -EINVAL.
 * Environment: LIBPROF_CPU_RATE sets the rate at start.
 */
PROF_API int prof_set_cpu_rate(int hz);

/* --- the registry --------------------------------------------------------------------------- */

/** A named profile. Lives until the process ends. */
struct prof_profile;

/** The profile of that name, or NULL. The CPU profile, as in Go, is not in the registry. */
PROF_API struct prof_profile *prof_lookup(const char *name);

/**
 * All profiles, sorted by name: fills at most `cap` entries of `out` and returns how many there
 * are. prof_profiles(NULL, 0) just counts.
 */
PROF_API size_t prof_profiles(struct prof_profile **out, size_t cap);

/** Its name; "" for NULL. */
PROF_API const char *prof_profile_name(const struct prof_profile *p);

/** One line on what it shows; "" for NULL and for custom profiles. */
PROF_API const char *prof_profile_description(const struct prof_profile *p);

/** Number of distinct call stacks in it now, or -EINVAL for NULL. */
PROF_API int64_t prof_profile_count(const struct prof_profile *p);

/**
 * Why the profile is empty or incomplete and what to do about it, in one or more sentences, each
 * ending in a newline: "heap sampling is off; ...". Nothing to say gives "".
 * Returns the length it takes without the final NUL, as snprintf() does.
 */
PROF_API int prof_profile_status(const struct prof_profile *p, char *buf, size_t size);

/* --- profiles of your own -------------------------------------------------------------------- */

/**
 * Make a profile: a set of keys, each with the call stack that added it. For what is opened and
 * should be closed: connections, transactions, locks held. The name shows in the URL; by Go's
 * convention it starts with a path of your own, "example.org/pool.conns".
 *
 * Returns: 0, -EINVAL for an empty name or one with blanks, control characters, quotation marks, or
 *          a part "." or "..", -EEXIST when the name is taken, by a profile or by what else a
 *          server has there ("cmdline", "ui/x"), -ENOMEM. A profile is never freed.
 */
PROF_API int prof_profile_new(const char *name, struct prof_profile **ret_profile);

/**
 * For servers: from now on no profile can be made under that name, nor, if it ends in a slash,
 * under one that begins with it, since what is asked for there is something else. One that was made
 * before stays. `name` is kept, not copied.
 *
 * Returns: 0, -EINVAL, -ENOSPC when there are 64.
 */
PROF_API int prof_profile_reserve(const char *name);

/**
 * Put `key` (any non-NULL pointer; it is never followed) into the set, under the caller's stack
 * less its innermost `skip` frames. With skip 0 the first frame is the caller of this function.
 * A skip past the end of the stack is counted under one pseudo frame.
 *
 * Returns: 0, -EINVAL, -EEXIST when the key is in the set already, -EPERM for a built-in profile,
 *          -ENOMEM.
 */
PROF_API int prof_profile_add(struct prof_profile *p, const void *key, int skip);

/** Take `key` out. One that is not there, or a built-in profile, is no error. */
PROF_API int prof_profile_remove(struct prof_profile *p, const void *key);

/* --- writing -------------------------------------------------------------------------------- */

/** Takes `size` bytes of output; a negative return stops the writer, which then returns it. */
typedef int prof_sink_fn(void *arg, const void *data, size_t size);

/** How to write a profile. Start from PROF_WRITE_OPTIONS_INIT; zero is the default everywhere. */
struct prof_write_options {
    size_t size;          /* sizeof(struct prof_write_options) */
    int debug;            /* 0: gzipped pprof protobuf. 1: the legacy text that pprof also reads.
                             2: text with more detail where there is any, else as 1 */
    int no_symbols;       /* not 0: addresses and build ids only, names left to the reader */
    uint64_t max_samples; /* at most so many samples, the largest; the rest becomes one sample,
                             told in a comment. 0: no limit */
    const char *folded;   /* not NULL: folded stacks, "main;serve;parse 4096", of the sample type of
                             that name; "" is the one shown first. `debug` then has no meaning */
    int64_t min_age_s;    /* heap: only blocks in use for so many seconds at least, */
    int64_t max_age_s;    /* and at most; 0: no limit. Samples then have the label age_seconds, and
                             their allocated values are those in use */
    const struct prof_scan_options *scan; /* leaks, holders: how to look; NULL: the defaults */
    const char *names;  /* how functions are named. NULL or "short": for people, without parameters,
                           long arguments of templates as <...>. "full": with all that c++filt
                           shows. "mangled": as the linker has them. Protobuf has the linker's
                           names as well, in system_name */
    int all_code;       /* not 0: the table of functions that text starts with charges allocators,
                           containers and libraries with what they took. 0: the program's own
                           functions that called them */
    int json;           /* not 0: JSON, of the profile that has it, "memory". -ENOTSUP of others */
    prof_sink_fn *bare; /* not NULL: the same profile is given to this sink first, as gzipped
                           protobuf without names, which takes no files and little time: for who
                           may not live long enough for the names. Then comes a call with NULL and
                           0 bytes: it is complete; a negative return leaves the rest out. Not for
                           leaks and holders */
    void *bare_arg;
    const char *comment; /* one more of the profile's comments; NULL: none */
};
#define PROF_WRITE_OPTIONS_INIT                                                                    \
    {                                                                                              \
        sizeof(struct prof_write_options), 0, 0, 0, NULL, 0, 0, NULL, NULL, 0, 0, NULL, NULL, NULL \
    }

/**
 * Write the profile, as it is now, to `sink`.
 *
 * @param opts  NULL for gzipped pprof protobuf with symbols
 *
 * Values:  heap, allocs: objects and bytes, scaled up from the samples, allocated since the start
 *          of the process and in use now.
 * Returns: 0, or -EINVAL, -E2BIG (options of a newer library set something this one does not
 *          know), -ENOMEM, or what the sink returned.
 * Memory:  from the kernel; when that has none, from a reserve that one writer can have at a time.
 *          The profile is then without names, or has the largest stacks only, and a comment says
 *          so.
 * Threads: recording goes on meanwhile; symbolizing is done by one thread at a time.
 * Blocks:  while debug information is read from disk, the first time an object is seen.
 * Source:  profile.proto of google/pprof; text as in its legacy_profile.go.
 */
PROF_API int prof_profile_write(struct prof_profile *p, const struct prof_write_options *opts,
                                prof_sink_fn *sink, void *arg);

/** The same to a file descriptor, which stays open. -EIO and the like as write(2) gives them. */
PROF_API int prof_profile_write_fd(struct prof_profile *p, int fd, int debug);

/**
 * The same to a file, created with mode 0600 or replaced. It is written beside its final name and
 * renamed when complete, so a reader never sees half a profile, and on an error nothing is left.
 * Any number of threads may write one path at once: one of them has the last word. A pipe, terminal
 * or device is written to, and never replaced.
 */
PROF_API int prof_profile_write_file(struct prof_profile *p, const char *path, int debug);

/** prof_profile_write_file() of "heap", as Go's WriteHeapProfile. */
PROF_API int prof_write_heap(const char *path);

/* --- windows: what happened between two moments ---------------------------------------------- */

/** The state of one profile when the window was opened. Any number may be open at once. */
struct prof_window;

/**
 * Open a window on the profile of that name. It holds some 100 bytes for each row of the profile
 * until it is closed; all that are open together at most four times LIBPROF_MEMORY_LIMIT, 64 MiB by
 * default, unless it is the only one.
 *
 * Returns: 0, -EINVAL, -ENOENT: no such profile, -ENOTSUP: it has no windows, -EAGAIN: too much is
 *          held by others, -ENOMEM, or why it could not be started.
 */
PROF_API int prof_window_open(const char *name, struct prof_window **ret_window);

/**
 * Write what has come since prof_window_open(): the difference of every value, so in-use bytes may
 * be negative. May be called more than once; each call reports from the opening on.
 * Returns as prof_profile_write().
 */
PROF_API int prof_window_write(struct prof_window *w, const struct prof_write_options *opts,
                               prof_sink_fn *sink, void *arg);

/** The same to a file, as prof_profile_write_file(). */
PROF_API int prof_window_write_file(struct prof_window *w, const char *path, int debug);

/** Give the window up. NULL is allowed. */
PROF_API void prof_window_close(struct prof_window *w);

/* --- the CPU profile -------------------------------------------------------------------------- */

/**
 * Profile the CPU from now until prof_cpu_stop(), which then writes gzipped pprof protobuf to
 * `sink`. The same as a window on "profile", of which there can be any number at the same time;
 * this is one that the whole process shares, as Go's StartCPUProfile.
 *
 * Values:  samples, and nanoseconds of CPU time, user and system. Every thread of the process is
 *          sampled on its own CPU clock. The time of those that block SIGPROF, or of which no
 *          sample could be taken for another reason, is told without a stack; the profile's
 *          comments say why.
 * Signals: a SIGPROF handler is installed and stays. Its signals find no thread in a system call
 *          (Linux 5.9). If the program has one of its own it is left alone.
 * Returns: 0, -EBUSY when one is under way or the program uses SIGPROF, -EAGAIN when the kernel
 *          has no timers left (RLIMIT_SIGPENDING), -EPERM and the like when it refuses them.
 */
PROF_API int prof_cpu_start(prof_sink_fn *sink, void *arg);

/** End it, and write. Returns: 0, -EALREADY when none is under way, or what the sink returned. */
PROF_API int prof_cpu_stop(void);

/* --- labels ----------------------------------------------------------------------------------- */

/**
 * From now on what the calling thread does carries the label `key` = `value`, in the profiles of
 * CPU, threads and heap, until prof_labels_pop(). Pushing a key again overrides its value until the
 * pop. A thread created meanwhile begins with its creator's labels, if libprof-hooks is there.
 *
 * Strings are copied: a key up to 128 bytes, a value up to 512, longer ones are cut. Distinct
 * values are kept for ever, 4 MiB of them, so use names of which there are hundreds: a tenant, a
 * kind of request, not its number.
 *
 * The key "bytes" is shown as "exported_bytes" where samples have the size of their blocks under
 * that name (heap, allocs): two values of one key in a sample make some collectors reject the
 * profile.
 *
 * Each push wants its pop, whatever it returned.
 * Returns: 0, -EINVAL for NULL, an empty key, and keys that begin with "pprof::", which are
 *          reserved; -E2BIG below 32 others; -ENOSPC when there is no room for a new value, which
 *          is then shown as "[other]".
 */
PROF_API int prof_labels_push(const char *key, const char *value);

/** Back to before the last push. Returns: 0, or -EINVAL when there was none in this thread. */
PROF_API int prof_labels_pop(void);

/* --- memory: where it is ---------------------------------------------------------------------- */

/*
 * The profile "memory" cuts RSS, and what is swapped out, into what each part is for: heap in use,
 * what malloc holds beyond it, stacks of threads, variables, code, files, shared memory, mappings,
 * libprof itself. Values are the bytes mapped, huge (in huge pages), swapped and resident; a stack
 * is whose it is and what it is; labels are `kind` and `advice`, a sentence on what can be done
 * about it. debug=1 is text, the largest first; prof_write_options.json is
 *
 *   { resident_bytes, swapped_bytes, huge_bytes, mapped_bytes, notes: [ sentence ],
 *     kinds: [ { kind, is, advice, and the four numbers,
 *                parts: [ { name, and the four numbers } ] } ] }
 *
 * The sum of resident is `Rss` of /proc/self/smaps_rollup. glibc's heap is walked as for leaks: no
 * lock of malloc's is taken, and prof_write_options.scan says how fast, and when to give up.
 * Memory: a thirtieth of the heap with glibc's malloc, 1 MiB, given back before
 *         prof_profile_write() returns; where the cgroup leaves less than twice that, the heap is
 *         not walked and is told as a whole.
 * Blocks: some milliseconds for each 100 MiB that are resident, a second for each GiB of small
 *         blocks in glibc's heap.
 * Source: proc(5), smaps and pagemap; malloc/malloc.c of glibc, "A chunk of memory".
 */

/* --- leaks and holders: who still points at it ------------------------------------------------ */

/**
 * How the profiles "leaks" and "holders" look through the memory of the process, given to
 * prof_profile_write() in prof_write_options.scan. Start from PROF_SCAN_OPTIONS_INIT; zero is the
 * default everywhere.
 *
 * leaks: the sampled blocks in use that nothing points to any more. Writing the profile runs the
 * detection, as Go's goroutineleak does. Values are inuse_objects and inuse_space, by the samples'
 * own weights; stacks are those of allocation; the label `kind` is
 *   unreferenced      no word anywhere points into the block
 *   only from leaked  what points into it is itself not in use
 *   possible          it hangs from a block that what could not be looked at may point into,
 *                     such as a register of a thread that waits
 * and age_seconds a lower bound of its age. Without leaks the profile is valid and empty. Comments
 * say what was looked at, and what could not be.
 *
 * holders: for the blocks whose site matches `site`, who points at them. A stack reads from the
 * function that allocated outward: `block 320 B of session_new`, `block 64 B (not sampled)`, and
 * outermost the root: `global g_server+0x8 (svc)`, `thread worker`, `tls of worker`, `epoll fd 7`,
 * `mapping memfd:shm`.
 *
 * The program goes on meanwhile. Nothing is forked, stopped or traced; threads that wait are not
 * disturbed; memory is read through the kernel, present pages only. As it moves, several passes
 * are made and only what all agree on is told.
 *
 * Memory:  a thirtieth of the heap with glibc's malloc, 140 bytes for each sampled block, 1 MiB;
 *          for holders 64 MiB more at most. Given back before prof_profile_write() returns.
 *          -ENOBUFS where that is more than half of what its cgroup leaves the process.
 * Threads: one scan at a time; a second waits for the first.
 * Blocks:  a second, and for each GiB of memory half a second of processor time a pass, at half of
 *          one processor.
 * Returns: as prof_profile_write(), and -ECANCELED when `cancelled` said so.
 */
struct prof_scan_options {
    size_t size;      /* sizeof(struct prof_scan_options) */
    int64_t age_s;    /* only blocks that are at least so old. 0: 60, or with exact_s 1; negative:
                         of any age */
    int passes;       /* 0: 3 for leaks, 2 for holders */
    int interval_ms;  /* between them. 0: 300 */
    int cpu_percent;  /* of one processor, at most. 0: 50 */
    int swap;         /* not 0: read swapped pages too, which brings them in. Else there are no
                         verdicts while there are any */
    int exact_s;      /* first sample every block for so many seconds, and tell of those only */
    const char *site; /* holders: an extended regular expression that the name of the function that
                         allocated matches, allocators' own and containers' left aside. NULL: all */
    int depth;        /* holders: blocks on the way to the root, at most. 0: 16 */
    int (*cancelled)(void *arg); /* asked every few milliseconds: not 0 ends it. NULL: never */
    void *cancel_arg;
};
#define PROF_SCAN_OPTIONS_INIT                                                  \
    {                                                                           \
        sizeof(struct prof_scan_options), 0, 0, 0, 0, 0, 0, NULL, 0, NULL, NULL \
    }

/**
 * Memory from `address` on may hold pointers that the scan would not come by, or not understand:
 * memory of a device that the program maps and writes to, a table that holds pointers in another
 * form and keeps plain copies here. It is read as a root. The region is named by its address: the
 * same again replaces its size.
 *
 * Returns: 0, -EINVAL for NULL or a size of 0, -ENOSPC above 256 regions.
 */
PROF_API int prof_heap_root(const void *address, size_t size);

/** It is no root any more. Returns: 0, or -ENOENT. */
PROF_API int prof_heap_root_remove(const void *address);

/**
 * The block at `p` is meant to stay although nothing points to it: it is in use, and what it points
 * to with it. Good for the address, whatever block is there: meant for blocks that are never freed.
 *
 * Returns: 0, -EINVAL for NULL, -ENOSPC above 4096 blocks.
 */
PROF_API int prof_heap_ignore(const void *p);

/* --- feeding the heap profile from your own allocator ---------------------------------------- */

/**
 * Say that the program's own allocator (pool, arena, device memory) has handed out, or taken back,
 * the block at `p`. Sampled like malloc, at the rate of prof_set_heap_rate(), under the caller's
 * stack. `p` is only a name for the block and is never read.
 *
 * Returns: 0, or -EINVAL for NULL. Freeing a block that was never fed, or twice, is harmless and
 *          counted where it can be seen.
 * Signals: safe.
 */
PROF_API int prof_heap_alloc(const void *p, size_t size);
PROF_API int prof_heap_free(const void *p);

/* --- feeding the block and mutex profiles from your own locks -------------------------------- */

/**
 * The caller has waited `wait_ns` nanoseconds for something that libprof cannot see: a futex of
 * the program's own, a spin lock, a remote peer. Sampled at the rate of prof_set_block_rate(),
 * under the caller's stack less its innermost `skip` frames; 0 starts at the caller.
 *
 * Returns: 0, also when the profile is off, or -EINVAL for a negative argument.
 * Signals: safe.
 */
PROF_API int prof_block_record(int64_t wait_ns, int skip);

/**
 * The caller has released a lock that `waiters` threads had waited for, `wait_ns` nanoseconds
 * together. To be called after the release, so that it does not hold them up any longer. Count
 * every waiter and every nanosecond once: at the release that ended its wait. Sampled as
 * prof_set_mutex_fraction() says; the rest is as for prof_block_record().
 */
PROF_API int prof_mutex_record(int64_t wait_ns, int waiters, int skip);

/* --- numbers for monitors --------------------------------------------------------------------- */

/** Sums over all profiles since the start of the process. Start from PROF_STATS_INIT. */
struct prof_stats {
    size_t size;                     /* sizeof(struct prof_stats) */
    uint64_t heap_allocated_objects; /* estimates from the samples, as in the profiles */
    uint64_t heap_allocated_bytes;
    uint64_t heap_inuse_objects;
    uint64_t heap_inuse_bytes;
    uint64_t mutex_contentions; /* 0 while they are off, like the next three */
    uint64_t mutex_wait_ns;
    uint64_t block_events;
    uint64_t block_wait_ns;
    uint64_t cpu_samples;  /* taken while a CPU profile was under way */
    uint64_t stacks;       /* distinct ones held now */
    uint64_t memory_bytes; /* libprof's own, mapped now */
    /* What is missing, by reason; 0 is what one wants to see: */
    uint64_t lost_stacks;      /* samples without their stack: its table is full */
    uint64_t lost_rows;        /* samples under [lost: table full] for want of a row */
    uint64_t lost_live_blocks; /* blocks in use that are not in heap: out of memory */
    uint64_t lost_labels;      /* values shown as [other] */
    uint64_t lost_waits;       /* waits not in mutex: too many locks contended at a time */
    /* Stacks that end early, by reason, as the pseudo frame at their end tells: */
    uint64_t cut_too_deep;
    uint64_t cut_no_info;       /* code without unwind information */
    uint64_t cut_unreadable;    /* a frame outside of the stack */
    uint64_t lost_little_stack; /* samples not taken: too little was left of the thread's stack */
    /* What can be seen: */
    uint64_t heap_watched;          /* 1: the process's malloc() is; 0: only what is fed */
    uint64_t heap_bypassed_objects; /* loaded ones that call another malloc, by name in the comments
                                       of the profile */
};
#define PROF_STATS_INIT                                                                           \
    {                                                                                             \
        sizeof(struct prof_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
            0                                                                                     \
    }

#ifdef __cplusplus /* where g++ -Wshadow objects to a function named as a struct */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
/**
 * Fill in `ret`, of which only `size` is read. A field that this version of the library does not
 * know becomes 0. All but in-use values, `stacks` and `memory_bytes` never fall.
 *
 * Returns: 0, or -EINVAL.
 * Blocks:  no; it takes some microseconds for each thousand distinct stacks.
 */
PROF_API int prof_stats(struct prof_stats *ret);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif

/* --- deadlocks ------------------------------------------------------------------------------- */

/**
 * Threads that wait for each other's locks in a circle, each without a time-out, so that none of
 * them can ever go on. Copies sentences about them, at most size - 1 bytes and a NUL; buf may be
 * NULL if size is 0. Who holds a read lock is not known, so a circle through readers is not found.
 *
 * Returns: how many such threads there are, 0 in a sound program; -EINVAL, -ENOENT without /proc,
 *          -ENOMEM.
 * Blocks:  no; it takes some microseconds for each thread. No thread is disturbed.
 */
PROF_API int prof_deadlocks(char *buf, size_t size);

/* --- odds and ends --------------------------------------------------------------------------- */

/**
 * The function at a code address, mangled as the linker knows it. Copies at most size - 1 bytes
 * and a NUL. Returns its whole length, or -ENOENT when there is none, -EINVAL.
 * `address` is that of an instruction, not a return address.
 */
PROF_API int prof_symbol(uint64_t address, char *buf, size_t size);

/** Is told the name found for an address; `name` is good until it returns. A negative return ends
 * prof_symbols(). */
typedef int prof_symbol_fn(void *arg, uint64_t address, const char *name);

/**
 * prof_symbol() of many addresses at once: each file is read once for all of them. `each` is
 * called for every address that has a name, in the order of address[], and again for one that is
 * there again. It may call libprof.
 *
 * Returns: 0, -EINVAL, -ENOMEM, or what `each` returned.
 * Memory:  some 100 bytes for each address, and the names, until it returns.
 * Blocks:  while symbols are read from disk; one thread at a time does that.
 */
PROF_API int prof_symbols(const uint64_t *address, size_t n, prof_symbol_fn *each, void *arg);

/**
 * The same until `until_ns` of CLOCK_MONOTONIC, in nanoseconds; 0: for the five seconds that
 * prof_symbols() takes at most. Names whose turn has not come by then are passed over. What was
 * looked up is kept, so another call gets further.
 *
 * Returns: 1 when time was up, else as prof_symbols().
 */
PROF_API int prof_symbols_until(const uint64_t *address, size_t n, int64_t until_ns,
                                prof_symbol_fn *each, void *arg);

/**
 * The source file of the function at a code address, as its debug information names it; where
 * functions were inlined there, depth 0 is the innermost. Copies at most size - 1 bytes and a NUL.
 * Returns its whole length, or -ENOENT when none is known, -EINVAL. Blocks as prof_symbols().
 */
PROF_API int prof_source_file(uint64_t address, unsigned depth, char *buf, size_t size);

/** Leave the calling thread out of every profile from now on: for a program's own monitors. */
PROF_API void prof_thread_hide(void);

/** Between prof_hide_begin() and prof_hide_end(): a local variable, and libprof's to write. */
struct prof_hiding {
    int began;
    void *from;
};

/**
 * Leave out of every profile what the calling thread does until prof_hide_end(): for calls into a
 * program's own monitor by threads of the program's. To be ended by the same function, of which
 * `hiding` is a local variable; if it is left by longjmp() or an exception instead, hiding ends
 * with it. One within another counts for nothing.
 *
 * Signals: safe in a handler.
 */
PROF_API void prof_hide_begin(struct prof_hiding *hiding);
PROF_API void prof_hide_end(const struct prof_hiding *hiding);

/**
 * Hide the calling thread, and do not let it keep the process alive. When main() leaves by
 * pthread_exit(), a process ends with the last of its threads; this one then does not count, like
 * those of libprof itself. Calls exit(0) from a thread of its own when all others have ended.
 */
PROF_API void prof_thread_helper(void);

/** A thread to be started by prof_helper_start(). */
struct prof_helper {
    size_t size;        /* sizeof(struct prof_helper); PROF_HELPER_INIT sets it */
    const char *name;   /* at most 15 bytes count, as ps shows it */
    size_t stack_bytes; /* what `run` needs; 0: as much as the program's threads have */
    void *(*run)(void *arg);
    void *arg;
    int detached; /* not to be joined */
};
#define PROF_HELPER_INIT                                   \
    {                                                      \
        sizeof(struct prof_helper), NULL, 0, NULL, NULL, 0 \
    }

/**
 * Start a thread that watches a program from inside, such as one that serves or sends profiles: a
 * guest, of which the program is to notice nothing. From its first instruction on it is as
 * prof_thread_helper() makes it; it takes none of the program's signals, but for those by which a
 * fault of its own shows; and its stack has what it needs whatever the program's thread-local data
 * takes of it.
 *
 * Returns: 0, -EINVAL, -EAGAIN, -ENOMEM. `ret_thread` may be NULL if it is detached.
 */
PROF_API int prof_helper_start(const struct prof_helper *helper, pthread_t *ret_thread);

/**
 * In a helper's thread, whenever it wakes: give up the capabilities that the main thread has given
 * up since. capset() changes one thread, and a helper that can more than the program is not only a
 * risk: setuid(), which libc does in every thread, may succeed here and fail there, and then libc
 * ends the process. A few system calls.
 */
PROF_API void prof_helper_follow(void);

/**
 * Some calls the kernel allows only to a process of one thread, as if such helpers counted:
 * unshare(CLONE_NEWUSER), setns(). Others change one thread, of which libc wants all to be equal:
 * capset(), and then setuid(). When the program makes such a call, and libprof-hooks sees it, the
 * helpers leave before and come back after, started by the thread that made the call, and so with
 * its credentials and namespaces. Whoever starts a helper that lives for long says how:
 *
 * @param leave      have the helper's thread end, and keep what it needs to go on. 0 when it is
 *                   about to end, or a negative errno when not within `timeout_ms`, and so it stays
 * @param come_back  start it again. 0, or a negative errno with the sentence of prof_last_error()
 *
 * Both are called by a thread of the program's, with signals blocked; `leave` also when there is
 * no such thread, `come_back` after each `leave` that gave 0. Those who say so first leave last.
 *
 * Returns: 0, -EINVAL, or -ENOSPC when there are 64 already.
 */
PROF_API int prof_helper_can_leave(int (*leave)(int timeout_ms), int (*come_back)(void));

/**
 * As pthread_atfork(), for the locks that such helpers share with the program's threads: `prepare`
 * runs after all handlers of the program's, right before the process is copied, the other two right
 * after, with signals blocked. Each may be NULL. A lock that is taken there must not be held while
 * anything is allocated, since an allocator has taken its own by then.
 *
 * Without libprof-hooks, handlers that were registered before libprof was loaded run in between.
 *
 * Returns: 0, or -ENOSPC when there are 16 already.
 */
PROF_API int prof_helper_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

#ifdef __cplusplus
}
#endif

#endif
