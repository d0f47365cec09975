/*
 * cmdline.c - the program's arguments, copied before main() can change them.
 *
 * Programs that set a title for ps write over argv, and /proc/self/cmdline shows that; what the
 * program was started with is known only at the start. glibc hands argv to constructors, also to
 * those of libraries that come later. The copy is mmapped: malloc may not be ready here.
 */
#include "cmdline.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static char *copy;
static size_t copy_size;

__attribute__((constructor)) static void copy_arguments(int argc, char **argv, char **envp)
{
    size_t size = 0, at = 0;

    (void)envp;
    if (argc <= 0 || !argv)
        return;
    for (int i = 0; i < argc && argv[i]; i++)
        size += strlen(argv[i]) + 1;
    char *p = size ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                   : MAP_FAILED;
    if (p == MAP_FAILED)
        return;
    for (int i = 0; i < argc && argv[i]; i++) {
        size_t n = strlen(argv[i]) + 1;

        memcpy(p + at, argv[i], n);
        at += n;
    }
    copy = p;
    copy_size = size - 1; /* all but the last NUL */
}

int prof__cmdline(const char **ret_data, size_t *ret_size)
{
    if (!copy)
        return -ENODATA;
    *ret_data = copy;
    *ret_size = copy_size;
    return 0;
}
