/*
 * test_symbol_time.c - looking names up ends when its time is up, whatever a file holds and whoever
 * else is at it, and gives what it has by then: lines, or names of symbols, or nothing.
 *
 *   test_symbol_time LIBRARY LIBRARY-WITH-COMPRESSED-DWARF
 */
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "check.h"
#include "symbol/deadline.h"
#include "symbol/dwarf_lines.h"
#include "symbol/symbol_query.h"
#include "symbol/symbolize.h"
#include "symbol_fixture.h"
#include "temp_dir.h"

#define MS INT64_C(1000000)

/* The module of a file that is loaded at its own addresses. */
static struct prof__module own_module(const char *path)
{
    struct prof__module m = module_of(path, path);

    m.bias = 1 << 20;
    return m;
}

static void test_what_time_allows(const char *path)
{
    struct prof__arena a = { 0 };
    struct prof__module m = own_module(path);
    struct prof__code_address lookup = { &m, m.bias + address_in(path, "sample_walk") };
    struct prof__symbols s;

    CHECK_INT(prof__symbolize_until(&a, &lookup, 1, 1, &s, NULL), 1, "no time");
    CHECK_INT(s.n, 0, "nothing is known then");

    /* Less than is kept for symbols, so that debug information is not even opened. */
    int64_t soon = prof__monotonic_ns() + 900 * MS;
    CHECK_INT(prof__symbolize_until(&a, &lookup, 1, soon, &s, NULL), 1, "little time");
    CHECK(s.n == 1 && strcmp(s.line[0].function, "sample_walk") == 0 && !s.line[0].file,
          "names of symbols");

    CHECK_INT(prof__symbolize_until(&a, &lookup, 1, 0, &s, NULL), 0, "time enough");
    CHECK(s.n >= 1 && s.line[s.n - 1].file && s.line[s.n - 1].line, "lines");

    CHECK_INT(prof__symbolize_until(&a, &lookup, 1, 0, &s, NULL), 0, "again");
    CHECK(s.n >= 1 && s.line[s.n - 1].file, "and what is known needs no time");
    prof__arena_free(&a);
}

/* --- a section that takes long to decompress -------------------------------------------------- */

enum { INFLATED = 250 << 20 };

/* So many zeros, as zlib packs them. */
static size_t pack_zeros(char *to, size_t size)
{
    static char zeros[1 << 20];
    z_stream z = { .next_out = (Bytef *)to, .avail_out = (uInt)size };

    deflateInit(&z, 1);
    for (size_t done = 0; done < INFLATED; done += sizeof(zeros)) {
        z.next_in = (Bytef *)zeros;
        z.avail_in = sizeof(zeros);
        deflate(&z, done + sizeof(zeros) < INFLATED ? Z_NO_FLUSH : Z_FINISH);
    }
    deflateEnd(&z);
    return z.total_out;
}

/* A file with nothing but that as its debug information. */
static void write_packed(const char *path)
{
    static const char names[] = "\0.debug_info\0.debug_abbrev\0.shstrtab";
    static struct {
        Elf64_Ehdr elf;
        Elf64_Shdr section[4];
        char names[64], abbrev[8];
        Elf64_Chdr packed;
        char zeros[4 << 20];
    } f;
    size_t size = pack_zeros(f.zeros, sizeof(f.zeros));

    memcpy(f.elf.e_ident, ELFMAG, SELFMAG);
    f.elf.e_ident[EI_CLASS] = ELFCLASS64;
    f.elf.e_ident[EI_DATA] = ELFDATA2LSB;
    f.elf.e_machine = EM_X86_64;
    f.elf.e_shoff = offsetof(__typeof__(f), section);
    f.elf.e_shentsize = sizeof(f.section[0]);
    f.elf.e_shnum = 4;
    f.elf.e_shstrndx = 3;
    memcpy(f.names, names, sizeof(names));
    f.packed = (Elf64_Chdr) { .ch_type = ELFCOMPRESS_ZLIB, .ch_size = INFLATED, .ch_addralign = 1 };
    f.section[1] = (Elf64_Shdr) { .sh_name = 1,
                                  .sh_type = SHT_PROGBITS,
                                  .sh_flags = SHF_COMPRESSED,
                                  .sh_offset = offsetof(__typeof__(f), packed),
                                  .sh_size = sizeof(f.packed) + size };
    f.section[2] = (Elf64_Shdr) { .sh_name = 13,
                                  .sh_type = SHT_PROGBITS,
                                  .sh_offset = offsetof(__typeof__(f), abbrev),
                                  .sh_size = sizeof(f.abbrev) };
    f.section[3] = (Elf64_Shdr) { .sh_name = 27,
                                  .sh_type = SHT_STRTAB,
                                  .sh_offset = offsetof(__typeof__(f), names),
                                  .sh_size = sizeof(names) };
    CHECK(write_whole(path, (const char *)&f, offsetof(__typeof__(f), zeros) + size), "%s", path);
}

static void test_decompressing_ends_in_time(void)
{
    struct prof__arena a = { 0 };
    const char *path = temp_path("packed");
    struct prof__symbols s;

    write_packed(path);
    struct prof__module m = own_module(path);
    struct prof__code_address lookup = { &m, m.bias + 0x1000 };
    /* What is kept for symbols, and less than decompressing takes on any machine. */
    int64_t soon = prof__monotonic_ns() + 1010 * MS;
    CHECK_INT(prof__symbolize_until(&a, &lookup, 1, soon, &s, NULL), 1, "it ends half way");
    prof__arena_free(&a);
}

/* --- another thread is at it ------------------------------------------------------------------ */

static void *page;
static int gate[2];

/* Whoever touches the page stops here, until somebody writes to the gate. */
static void on_fault(int signal)
{
    char byte;

    (void)signal;
    if (read(gate[0], &byte, 1) == 1)
        mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

/* Looks up what it cannot read yet, and so stands still in the middle of it. */
static void *stand_still(void *unused)
{
    struct prof__arena a = { 0 };
    struct prof__symbols s;

    (void)unused;
    CHECK_INT(prof__symbolize(&a, page, 1, &s), 0, "the one that stood still");
    prof__arena_free(&a);
    return NULL;
}

static int each_name(void *count, uint64_t address, const char *name)
{
    (void)address, (void)name;
    ++*(int *)count;
    return 0;
}

static void test_another_thread_takes_all_the_time(void)
{
    struct sigaction action = { .sa_handler = on_fault };
    uint64_t own = (uint64_t)(uintptr_t)each_name;
    pthread_t thread;
    int n = 0;

    CHECK_INT(prof_symbols_until(&own, 1, 0, each_name, &n), 0, "a name of our own");
    CHECK_INT(n, 1, "is found");

    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(page, 4096, PROT_NONE);
    CHECK_INT(pipe(gate), 0, "pipe");
    sigaction(SIGSEGV, &action, NULL);
    pthread_create(&thread, NULL, stand_still, NULL);
    n = 1;
    /* Until it is there; then this says that time is up, and does not wait for the thread. */
    for (int tries = 0; n == 1 && tries < 1000; tries++) {
        n = 0;
        prof_symbols_until(&own, 1, prof__monotonic_ns() + 10 * MS, each_name, &n);
    }
    CHECK_INT(n, 0, "names while another thread stands still");
    CHECK_INT(prof_symbols_until(&own, 1, prof__monotonic_ns() + 10 * MS, each_name, &n), 1,
              "and it says so");
    CHECK(write(gate[1], "", 1) == 1, "on it goes");
    pthread_join(thread, NULL);
    CHECK_INT(prof_symbols_until(&own, 1, 0, each_name, &n), 0, "afterwards");
    CHECK_INT(n, 1, "it is found again");
    signal(SIGSEGV, SIG_DFL);
    munmap(page, 4096);
}

/* --- what a file may say ---------------------------------------------------------------------- */

enum { PAIRS = 1 << 20, ADDRESSES = 20000 };

static uint8_t *put(uint8_t *p, uint64_t address, uint8_t file)
{
    static const uint8_t set_address[] = { 0, 9, 2 };

    memcpy(p, set_address, sizeof(set_address));
    memcpy(p + 3, &address, sizeof(address));
    p += 11;
    *p++ = 4; /* the file */
    *p++ = file;
    *p++ = 1; /* a row */
    *p++ = 2; /* which ends a byte on, */
    *p++ = 1;
    *p++ = 0; /* and with it the sequence */
    *p++ = 1;
    *p++ = 1;
    return p;
}

/* Rows below all addresses and above them in turn: a walk from one to the other each time would
 * take a minute. */
static void test_a_line_program_that_goes_to_and_fro(void)
{
    static const uint8_t operands[] = { 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1 };
    uint8_t *program = malloc((size_t)PAIRS * 40), *p = program;
    struct prof__dwarf_pc *pc = calloc(ADDRESSES, sizeof(*pc));
    struct prof__query *q = calloc(ADDRESSES, sizeof(*q));

    for (size_t i = 0; i < PAIRS; i++) {
        p = put(p, 0x10, 1);
        p = put(p, 0x900000000, 1);
    }
    for (size_t i = 0; i < ADDRESSES; i++)
        pc[i] = (struct prof__dwarf_pc) { .address = 0x1000 + 16 * i, .query = &q[i] };
    p = put(p, 0x1000, 7); /* the last row is about one of them */
    struct prof__dwarf_lines l = {
        .program = program,
        .end = p,
        .operands = operands,
        .version = 4,
        .offset_size = 4,
        .min_advance = 1,
        .opcode_base = 13,
        .line_range = 14,
        .line_base = -5,
    };
    prof__deadline_set(0);
    alarm(60);
    prof__dwarf_lines_run(&l, pc, ADDRESSES);
    alarm(0);
    CHECK(pc[0].has_row && pc[0].file == 7, "the row behind them all");
    pc[0].has_row = false;
    prof__deadline_set(1);
    prof__dwarf_lines_run(&l, pc, ADDRESSES);
    CHECK(!pc[0].has_row, "past the deadline it does not get there");
    prof__deadline_set(0);
    free(program);
    free(pc);
    free(q);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    temp_dir_make();
    test_decompressing_ends_in_time();
    temp_dir_remove();
    for (int i = 1; i <= 2; i++) {
        char path[PATH_MAX];

        CHECK(realpath(argv[i], path), "%s", argv[i]);
        test_what_time_allows(path);
    }
    test_another_thread_takes_all_the_time();
    test_a_line_program_that_goes_to_and_fro();
    return check_report();
}
