/*
 * test_call_number.c - tests lib/record/call_number.c: which system call an instruction makes. A
 * wrong answer would make another call than the program did, so in doubt there is none.
 */
#include "record/call_number.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "check.h"

static long number_at(const uint8_t *at, const uint8_t *const *sp)
{
    bool passed_on;
    long number = prof__call_number(at, sp, &passed_on);

    CHECK(number < 0 || passed_on == (*sp != NULL), "whether it is in syscall()");
    return number;
}

static void test_in_code_as_compilers_make_it(void)
{
    static const struct {
        const char *name;
        long number;
        uint8_t size, code[24]; /* ends where the syscall instruction begins */
    } cases[] = {
        { "mov $7, %eax", 7, 5, { 0xb8, 7, 0, 0, 0 } },
        { "xor %eax, %eax", 0, 2, { 0x31, 0xc0 } },
        { "then mov 8(%rsp), %rdi", 7, 10, { 0xb8, 7, 0, 0, 0, 0x48, 0x8b, 0x7c, 0x24, 8 } },
        { "then mov %rcx, %r10", 9, 8, { 0xb8, 9, 0, 0, 0, 0x49, 0x89, 0xca } },
        { "then xor $0x81, %sil", 202, 9, { 0xb8, 0xca, 0, 0, 0, 0x40, 0x80, 0xf6, 0x81 } },
        { "then mov $8, %r10d", 128, 11, { 0xb8, 128, 0, 0, 0, 0x41, 0xba, 8, 0, 0, 0 } },
        { "overwritten by mov %edi, %eax", -1, 7, { 0xb8, 7, 0, 0, 0, 0x89, 0xf8 } },
        { "overwritten by mov 8(%rsp), %eax", -1, 9, { 0xb8, 7, 0, 0, 0, 0x8b, 0x44, 0x24, 8 } },
        { "overwritten by mov $3, %eax", 3, 10, { 0xb8, 7, 0, 0, 0, 0xb8, 3, 0, 0, 0 } },
        { "then a call, which returns in eax", -1, 10, { 0xb8, 7, 0, 0, 0, 0xe8, 1, 2, 3, 4 } },
        { "then something not known here", -1, 7, { 0xb8, 7, 0, 0, 0, 0x0f, 0xa2 } },
        { "from a register, as in syscall()", -1, 3, { 0x48, 0x89, 0xf8 } },
        { "xor %eax, %eax to pass on, then mov $1, %eax", 1, 7, { 0x31, 0xc0, 0xb8, 1, 0, 0, 0 } },
        { "mov $0xb8, %esi before", 7, 10, { 0xbe, 0xb8, 0, 0, 0, 0xb8, 7, 0, 0, 0 } },
        { "then xor %r8d, %r8d", 7, 8, { 0xb8, 7, 0, 0, 0, 0x45, 0x31, 0xc0 } },
        { "from a register, then xor %r8d, %r8d", -1, 5, { 0x89, 0xf8, 0x45, 0x31, 0xc0 } },
        { "from a register, then mov $7, %r8d", -1, 8, { 0x89, 0xf8, 0x41, 0xb8, 7, 0, 0, 0 } },
        { "then mov $7, %rsi, of 64 bits",
          7,
          15,
          { 0xb8, 7, 0, 0, 0, 0x48, 0xbe, 7, 0, 0, 0, 0, 0, 0, 0 } },
        { "overwritten by xor $1, %ah", -1, 8, { 0xb8, 7, 0, 0, 0, 0x80, 0xf4, 1 } },
        { "nothing", -1, 0, { 0 } },
    };
    const uint8_t *none = NULL;
    /* The page before the code cannot be read. */
    uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED || mprotect(page, 4096, PROT_NONE) != 0) {
        CHECK(false, "mmap");
        return;
    }
    page += 4096;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        memset(page, 0xcc, 4096); /* int3 */
        memcpy(page + 100, cases[i].code, cases[i].size);
        CHECK_INT(number_at(page + 100 + cases[i].size, &none), cases[i].number, cases[i].name);
        memset(page, 0xcc, 4096);
        memcpy(page + 1, cases[i].code, cases[i].size);
        CHECK_INT(number_at(page + 1 + cases[i].size, &none), cases[i].number, cases[i].name);
        /* What was cut off may have said something else. */
        memcpy(page, cases[i].code, cases[i].size);
        long number = number_at(page + cases[i].size, &none);
        CHECK(number == -1 || number == cases[i].number, "%s: %ld", cases[i].name, number);
    }
    munmap(page - 4096, 8192);
}

/* --- callers of syscall() -------------------------------------------------------------------- */

enum { FUNCTION = 0x100, STUB = 0x200, WRAPPER = 0x300, CALLER = 0x400, SLOT = 0x800 };

/* A page of code: syscall() as libc has it, a stub for it, and what each case brings. */
static uint8_t code_page[4096] __attribute__((aligned(4096)));

static void put(size_t at, const void *code, size_t size)
{
    memcpy(code_page + at, code, size);
}

static size_t put_jump(size_t at, uint8_t op, size_t to)
{
    int32_t distance = (int32_t)to - (int32_t)at - 5;

    code_page[at] = op;
    put(at + 1, &distance, sizeof(distance));
    return at + 5;
}

/* ff 25: jmp *SLOT, ff 15: call *SLOT */
static size_t put_slot(size_t at, uint8_t op)
{
    int32_t distance = (int32_t)SLOT - (int32_t)at - 6;

    code_page[at] = 0xff;
    code_page[at + 1] = op;
    put(at + 2, &distance, sizeof(distance));
    return at + 6;
}

static void test_through_syscall(void)
{
    static const uint8_t function[] = {
        0xf3, 0x0f, 0x1e, 0xfa, /* endbr64 */
        0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca, 0x4d,
        0x89, 0xc2, 0x4d, 0x89, 0xc8, 0x4c, 0x8b, 0x4c, 0x24, 0x08, 0x0f, 0x05,
    };
    static const struct {
        const char *name;
        enum { DIRECT, BY_STUB, BY_SLOT, BY_WRAPPER, OTHER } call;
        long number;
        uint8_t size, code[24]; /* before the call, or within the wrapper */
    } cases[] = {
        { "mov $202, %edi", DIRECT, 202, 5, { 0xbf, 202, 0, 0, 0 } },
        { "then xor %eax, %eax", BY_STUB, 202, 7, { 0xbf, 202, 0, 0, 0, 0x31, 0xc0 } },
        { "without a stub", BY_SLOT, 202, 7, { 0xbf, 202, 0, 0, 0, 0x31, 0xc0 } },
        { "then push $0", BY_STUB, 202, 7, { 0xbf, 202, 0, 0, 0, 0x6a, 0 } },
        { "then push %rbx", BY_STUB, 202, 6, { 0xbf, 202, 0, 0, 0, 0x53 } },
        { "then mov $0, %eax", BY_STUB, 202, 10, { 0xbf, 202, 0, 0, 0, 0xb8, 0, 0, 0, 0 } },
        { "xor %edi, %edi", BY_STUB, 0, 2, { 0x31, 0xff } },
        { "then imul $1000, %eax, %eax, and lea 24(%rsp), %r8",
          BY_STUB,
          202,
          16,
          { 0xbf, 202, 0, 0, 0, 0x69, 0xc0, 0xe8, 3, 0, 0, 0x4c, 0x8d, 0x44, 0x24, 24 } },
        { "then movups %xmm0, (%rsp)",
          BY_STUB,
          202,
          9,
          { 0xbf, 202, 0, 0, 0, 0x0f, 0x11, 0x04, 0x24 } },
        { "then div %ecx, which is not known", BY_STUB, -1, 7, { 0xbf, 202, 0, 0, 0, 0xf7, 0xf1 } },
        { "then mov $0, %al", BY_STUB, 202, 7, { 0xbf, 202, 0, 0, 0, 0xb0, 0 } },
        { "then a jump", BY_STUB, -1, 7, { 0xbf, 202, 0, 0, 0, 0x74, 0 } },
        { "overwritten by set %dil",
          BY_STUB,
          -1,
          9,
          { 0xbf, 202, 0, 0, 0, 0x40, 0x0f, 0x94, 0xc7 } },
        { "then set %bh", BY_STUB, -1, 8, { 0xbf, 202, 0, 0, 0, 0x0f, 0x94, 0xc7 } },
        { "overwritten by cmov %esi, %edi",
          BY_STUB,
          -1,
          8,
          { 0xbf, 202, 0, 0, 0, 0x0f, 0x44, 0xfe } },
        { "mov $202, %r15d", BY_STUB, -1, 6, { 0x41, 0xbf, 202, 0, 0, 0 } },
        { "overwritten by mov %esi, %edi", BY_STUB, -1, 7, { 0xbf, 202, 0, 0, 0, 0x89, 0xf7 } },
        { "a wrapper", BY_WRAPPER, 202, 8, { 0xbf, 202, 0, 0, 0, 0x49, 0x89, 0xd0 } },
        { "a wrapper passes on its number", BY_WRAPPER, -1, 2, { 0x31, 0xc0 } },
        { "another function is called, which has jumped", OTHER, -1, 5, { 0xbf, 202, 0, 0, 0 } },
    };
    const uint8_t *at = code_page + FUNCTION + sizeof(function) - 2;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static const uint8_t before_wrapper[] = { 0xbf, 7, 0, 0, 0 };
        const void *entry = code_page + FUNCTION;
        size_t end;

        memset(code_page, 0xcc, sizeof(code_page));
        put(FUNCTION, function, sizeof(function));
        put(SLOT, &entry, sizeof(entry));
        put_slot(STUB, 0x25);
        if (cases[i].call == BY_WRAPPER) {
            put(WRAPPER, cases[i].code, cases[i].size);
            put_jump(WRAPPER + cases[i].size, 0xe9, STUB);
            put(CALLER, before_wrapper, sizeof(before_wrapper));
            end = put_jump(CALLER + sizeof(before_wrapper), 0xe8, WRAPPER);
        } else {
            size_t call = CALLER + cases[i].size;

            put(CALLER, cases[i].code, cases[i].size);
            end = cases[i].call == DIRECT    ? put_jump(call, 0xe8, FUNCTION)
                  : cases[i].call == BY_STUB ? put_jump(call, 0xe8, STUB)
                  : cases[i].call == BY_SLOT ? put_slot(call, 0x15)
                                             : put_jump(call, 0xe8, WRAPPER);
        }
        const uint8_t *back = code_page + end;
        CHECK_INT(number_at(at, &back), cases[i].number, cases[i].name);
        /* A page that is not there is no place to return to. */
        back = (const uint8_t *)64;
        CHECK_INT(number_at(at, &back), -1, "returns to nowhere");
    }
}

static void test_in_libc(void)
{
    static const struct {
        const char *name;
        long number;
    } cases[] = {
        { "poll", SYS_poll },
        { "epoll_wait", SYS_epoll_wait },
        { "pause", SYS_pause },
        { "read", SYS_read },
        { "write", SYS_write },
        { "accept", SYS_accept },
        { "connect", SYS_connect },
        { "recvfrom", SYS_recvfrom },
        { "sendto", SYS_sendto },
        { "semtimedop", SYS_semtimedop },
        { "msgrcv", SYS_msgrcv },
        { "clock_nanosleep", SYS_clock_nanosleep },
        { "getpriority", SYS_getpriority },
    };
    /* Not RTLD_DEFAULT: a sanitizer's interceptors have the same names. */
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    const uint8_t *none = NULL;
    int found = 0;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const uint8_t *code = libc ? dlsym(libc, cases[i].name) : NULL;

        CHECK(code != NULL, "%s", cases[i].name);
        for (size_t at = 0; code && at < 64; at++)
            if (code[at] == 0x0f && code[at + 1] == 0x05) {
                CHECK_INT(number_at(code + at, &none), cases[i].number, cases[i].name);
                found++;
                break;
            }
    }
    CHECK(found >= 8, "only %d of libc's functions could be looked at", found);
    if (libc)
        dlclose(libc);
}

int main(void)
{
    test_in_code_as_compilers_make_it();
    test_through_syscall();
    test_in_libc();
    return check_report();
}
