/*
 * test_resume.c - tests lib/resume.c: which system call an instruction makes. A wrong answer would
 * make another call than the program did, so in doubt there is none.
 */
#include "resume.h"

#include <dlfcn.h>
#include <sys/syscall.h>

#include "check.h"

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
        { "nothing", -1, 0, { 0 } },
    };
    static uint8_t page[4096] __attribute__((aligned(4096)));

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        memset(page, 0xcc, sizeof(page)); /* int3 */
        memcpy(page + 100, cases[i].code, cases[i].size);
        CHECK_INT(prof__resume_number(page + 100 + cases[i].size), cases[i].number, cases[i].name);
        /* No byte before the page is looked at. */
        memset(page, 0xcc, sizeof(page));
        memcpy(page, cases[i].code, cases[i].size);
        CHECK_INT(prof__resume_number(page + cases[i].size), cases[i].number, cases[i].name);
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
    int found = 0;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const uint8_t *code = libc ? dlsym(libc, cases[i].name) : NULL;

        CHECK(code != NULL, "%s", cases[i].name);
        for (size_t at = 0; code && at < 64; at++)
            if (code[at] == 0x0f && code[at + 1] == 0x05) {
                CHECK_INT(prof__resume_number(code + at), cases[i].number, cases[i].name);
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
    test_in_libc();
    return check_report();
}
