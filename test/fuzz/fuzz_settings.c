/*
 * fuzz_settings.c - the environment: a value is understood, and in range, or changes nothing.
 */
#include "base/settings.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "LIBPROF_HEAP_RATE", "LIBPROF_BLOCK_RATE",
                                         "LIBPROF_MUTEX_FRACTION", "LIBPROF_CPU_RATE",
                                         "LIBPROF_MEMORY_LIMIT" };
    char *value = malloc(size + 1);
    struct prof__settings s;

    memcpy(value, data, size);
    value[size] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        setenv(names[i], value, 1);
    prof__settings_read(&s, true);
    FUZZ_PROMISE(s.heap_rate >= -1 && s.heap_rate <= (int64_t)1 << 40);
    FUZZ_PROMISE(s.block_rate >= -1 && s.mutex_fraction >= -1);
    FUZZ_PROMISE(s.cpu_rate >= -1 && s.cpu_rate <= 250);
    FUZZ_PROMISE(s.memory_limit >= -1);
    free(value);
    return 0;
}
