/*
 * prof.c - lifecycle: what is set up before the program runs, and what of it is left out.
 *
 * Nothing needs to be started. A constructor registers the built-in profiles; should a hook or a
 * caller come before it, recording works all the same, since the tables are valid when zero.
 */
#include <prof/prof.h>

#include <assert.h>
#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <string.h>

#include "base/reserve.h"
#include "base/sampler.h"
#include "base/settings.h"
#include "base/slot.h"
#include "base/thread.h"
#include "process/last_thread.h"
#include "process/write.h"
#include "profile/builtin.h"
#include "record/collect_code.h"
#include "record/collect_heap.h"
#include "scan/scan.h"
#include "symbol/elf_file.h"
#include "symbol/modules.h"
#include "table/root.h"
#include "table/tables.h"
#include "trace/recorder.h"
#include "unwind/stack.h"

enum { LEAST_RESERVE = 2 << 20 }; /* bytes, for one profile when there is no more memory */

/* Of what this code is in: the notes that it was linked with. In bytes, as it is the whole file
 * that begins there. */
extern const char __ehdr_start[] __attribute__((weak, visibility("hidden")));

static void note_build_id(void)
{
    struct prof__tables_root *root = &prof__tables_root;
    const char *file = __ehdr_start, *base = file;
    uint8_t id[PROF__BUILD_ID_MAX];

    if (!file)
        return;
    const ElfW(Ehdr) *head = (const void *)file;
    const ElfW(Phdr) *p = (const void *)(file + head->e_phoff);
    for (int i = 0; i < head->e_phnum; i++)
        if (p[i].p_type == PT_LOAD && p[i].p_offset == 0)
            base = file - p[i].p_vaddr;
    for (int i = 0; i < head->e_phnum && !root->build_id_bytes; i++)
        if (p[i].p_type == PT_NOTE)
            root->build_id_bytes =
                prof__elf_note_build_id(base + p[i].p_vaddr, p[i].p_memsz, p[i].p_align, id);
    root->build_id_bytes = PROF_MIN(root->build_id_bytes, (uint64_t)PROF__TABLES_ROOT_BUILD_ID);
    memcpy(root->build_id, id, root->build_id_bytes);
}

/* After the libraries that libprof needs, before everybody else's constructors where it can be. */
__attribute__((constructor(101))) static void start(void)
{
    struct prof__settings settings;
    bool entered = prof__enter(&prof__self);

    prof__settings_read(&settings, true);
    size_t limit = PROF__TABLES_LIMIT;
    if (settings.memory_limit >= 0) {
        limit = (size_t)settings.memory_limit;
        prof__stack_table_set_limit(limit / 4 * 3);
        prof__rows_set_limit(limit / 4);
    }
    prof__windows_set_limit(limit);
    prof__reserve_init(PROF_MAX(limit / 2, (size_t)LEAST_RESERVE));
    prof__stack_init();
    prof__tables_root.heap_rate = &prof__heap_interval;
    note_build_id();
    for (size_t i = 0; prof__builtin[i]; i++)
        prof__registry_add(prof__builtin[i]);
    prof__scan_init();
    prof__trace_recorder_init(settings.trace_ns);
    prof__last_thread_init();
    if (entered)
        prof__leave(&prof__self);
}

int prof_dump_ranges(void (*each)(const void *start, size_t size, void *arg), void *arg)
{
    if (!each)
        return prof_set_last_error(-EINVAL, "prof_dump_ranges() without a function to tell");
    prof__tables_root_each(each, arg);
    return 0;
}

const char *prof_version(void)
{
#define STRING(x)  STRING_(x)
#define STRING_(x) #x
    return STRING(PROF_VERSION_MAJOR) "." STRING(PROF_VERSION_MINOR) "." STRING(PROF_VERSION_PATCH);
}

void prof_thread_hide(void)
{
    struct prof__slot *s = prof__slot_mine();

    if (s)
        atomic_store_explicit(&s->hidden, true, memory_order_relaxed);
    prof__self.busy = PROF__HIDDEN;
    prof__self.bytes_left = UINT64_MAX / 2; /* so that the slow path is not taken in vain */
}

/* `hiding` is read as a frame is, for where the profiler was entered from. */
static_assert(offsetof(struct prof_hiding, from) == sizeof(void *), "as a frame record");

void prof_hide_begin(struct prof_hiding *hiding)
{
    hiding->from = __builtin_return_address(0);
    hiding->began = prof__enter_at(&prof__self, (uintptr_t)hiding);
}

void prof_hide_end(const struct prof_hiding *hiding)
{
    if (hiding->began)
        prof__leave(&prof__self);
}

void prof_thread_helper(void)
{
    prof_thread_hide();
    struct prof__slot *s = prof__slot_mine_if_any();
    if (s)
        atomic_store(&s->helper, true);
    prof__last_thread_helper();
}

void prof__code_before_unload(void)
{
    prof__modules_before_unload();
}

void prof__code_after_unload(void)
{
    prof__modules_after_unload();
    prof__stack_code_unloaded();
}
