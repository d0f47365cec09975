/*
 * mhd_loaded.c - libmicrohttpd, in libprof-http.so (mhd.h).
 *
 * Each function here has the name of one of libmicrohttpd's, is seen by libprof-http only, and
 * calls that. Those with variable arguments take them as libprof-http gives them.
 */
#include "mhd.h"

#include <dlfcn.h>
#include <errno.h>
#include <microhttpd.h>
#include <prof/prof.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* clang-format off */
#define CALL(result, name, parameters, arguments)                   \
    static __typeof__(name) *real_##name;                           \
    result name parameters { return real_##name arguments; }
#define CALL_VOID(name, parameters, arguments)                      \
    static __typeof__(name) *real_##name;                           \
    void name parameters { real_##name arguments; }
#define PLACE(name) { #name, &real_##name }
/* clang-format on */

CALL(enum MHD_Result, MHD_add_connection,
     (struct MHD_Daemon * d, MHD_socket fd, const struct sockaddr *peer, socklen_t size),
     (d, fd, peer, size))
CALL(enum MHD_Result, MHD_add_response_header,
     (struct MHD_Response * r, const char *name, const char *value), (r, name, value))
CALL(struct MHD_Response *, MHD_create_response_from_buffer,
     (size_t n, void *buffer, enum MHD_ResponseMemoryMode mode), (n, buffer, mode))
CALL(struct MHD_Response *, MHD_create_response_from_buffer_with_free_callback,
     (size_t n, void *buffer, MHD_ContentReaderFreeCallback let_go), (n, buffer, let_go))
CALL(struct MHD_Response *, MHD_create_response_from_callback,
     (uint64_t size, size_t block, MHD_ContentReaderCallback read, void *arg,
      MHD_ContentReaderFreeCallback let_go),
     (size, block, read, arg, let_go))
CALL_VOID(MHD_destroy_response, (struct MHD_Response * r), (r))
CALL(int, MHD_get_connection_values,
     (struct MHD_Connection * c, enum MHD_ValueKind kind, MHD_KeyValueIterator each, void *arg),
     (c, kind, each, arg))
CALL(int, MHD_get_connection_values_n,
     (struct MHD_Connection * c, enum MHD_ValueKind kind, MHD_KeyValueIteratorN each, void *arg),
     (c, kind, each, arg))
CALL(enum MHD_Result, MHD_get_timeout, (struct MHD_Daemon * d, MHD_UNSIGNED_LONG_LONG *ms), (d, ms))
CALL(const char *, MHD_lookup_connection_value,
     (struct MHD_Connection * c, enum MHD_ValueKind kind, const char *key), (c, kind, key))
CALL(enum MHD_Result, MHD_queue_response,
     (struct MHD_Connection * c, unsigned status, struct MHD_Response *r), (c, status, r))
CALL_VOID(MHD_resume_connection, (struct MHD_Connection * c), (c))
CALL(enum MHD_Result, MHD_run, (struct MHD_Daemon * d), (d))
CALL_VOID(MHD_set_panic_func, (MHD_PanicCallback escape, void *arg), (escape, arg))
CALL_VOID(MHD_stop_daemon, (struct MHD_Daemon * d), (d))
CALL_VOID(MHD_suspend_connection, (struct MHD_Connection * c), (c))

/* No more arguments. */
CALL(const union MHD_ConnectionInfo *, MHD_get_connection_info,
     (struct MHD_Connection * c, enum MHD_ConnectionInfoType type, ...), (c, type))
CALL(const union MHD_DaemonInfo *, MHD_get_daemon_info,
     (struct MHD_Daemon * d, enum MHD_DaemonInfoType type, ...), (d, type))
/* No options. */
CALL(enum MHD_Result, MHD_set_response_options,
     (struct MHD_Response * r, enum MHD_ResponseFlags flags, ...), (r, flags, MHD_RO_END))

/* Options in one array. */
static __typeof__(MHD_start_daemon) *real_MHD_start_daemon;

struct MHD_Daemon *MHD_start_daemon(unsigned flags, uint16_t port, MHD_AcceptPolicyCallback accept,
                                    void *accept_arg, MHD_AccessHandlerCallback access,
                                    void *access_arg, ...)
{
    va_list args;

    va_start(args, access_arg);
    bool is_array = va_arg(args, int) == MHD_OPTION_ARRAY;
    struct MHD_OptionItem *options = is_array ? va_arg(args, struct MHD_OptionItem *) : NULL;
    va_end(args);
    return options ? real_MHD_start_daemon(flags, port, accept, accept_arg, access, access_arg,
                                           MHD_OPTION_ARRAY, options, MHD_OPTION_END)
                   : NULL;
}

/* --- opening it ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void *pointer; /* to the pointer to that function */
} functions[] = {
    PLACE(MHD_add_connection),
    PLACE(MHD_add_response_header),
    PLACE(MHD_create_response_from_buffer),
    PLACE(MHD_create_response_from_buffer_with_free_callback),
    PLACE(MHD_create_response_from_callback),
    PLACE(MHD_destroy_response),
    PLACE(MHD_get_connection_info),
    PLACE(MHD_get_connection_values),
    PLACE(MHD_get_connection_values_n),
    PLACE(MHD_get_daemon_info),
    PLACE(MHD_get_timeout),
    PLACE(MHD_lookup_connection_value),
    PLACE(MHD_queue_response),
    PLACE(MHD_resume_connection),
    PLACE(MHD_run),
    PLACE(MHD_set_panic_func),
    PLACE(MHD_set_response_options),
    PLACE(MHD_start_daemon),
    PLACE(MHD_stop_daemon),
    PLACE(MHD_suspend_connection),
};

static char missing[200]; /* why; "": it is there */

/* As early as the loader would: later, somebody may have the loader for long. Lazily, as otherwise
 * all that it brings is bound at once. */
__attribute__((constructor(101))) static void open_it(void)
{
    struct prof_hiding hiding;

    prof_hide_begin(&hiding);
    void *handle = dlopen(PROF__SONAME_MICROHTTPD, RTLD_LAZY | RTLD_LOCAL), *f = handle;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]) && f; i++) {
        f = dlsym(handle, functions[i].name);
        memcpy(functions[i].pointer, &f, sizeof(f));
    }
    if (!f) {
        const char *why = dlerror(); /* and the program is not told of our failures */
        snprintf(missing, sizeof(missing), "%s", why ? why : "it lacks a function");
    }
    prof_hide_end(&hiding);
}

/*
 * GnuTLS has a destructor with a thread-local variable, whose memory ld.so takes when it is first
 * used, in the thread that ends the program; and ld.so ends the program with status 127 where there
 * is none (RLIMIT_AS). So room for it is kept from the first start on: addresses only.
 */
enum { ROOM = 2 * 1024 * 1024 }; /* malloc asks for 1 MiB where the heap's end cannot grow */

static void *room;

static void give_room(void)
{
    munmap(room, ROOM);
}

static void keep_room(void)
{
    static atomic_flag kept = ATOMIC_FLAG_INIT;

    if (atomic_flag_test_and_set(&kept))
        return;
    void *p = mmap(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    room = p;
    if (p != MAP_FAILED && atexit(give_room) != 0)
        give_room();
}

int prof__mhd_need(void)
{
    if (!*missing)
        keep_room();
    return *missing ? prof_set_last_error(-ENOSYS,
                                          "serving takes libmicrohttpd (Debian: libmicrohttpd12), "
                                          "which cannot be loaded: %s",
                                          missing)
                    : 0;
}
