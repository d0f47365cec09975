/*
 * fuzz_target.c - request targets: path, query, numbers and code addresses in them.
 */
#include "fuzz.h"
#include "params.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "seconds", "debug", "gc", "symbolize", "" };
    char *raw = malloc(size + 1);
    struct prof__target target;
    int64_t number;
    uint64_t address;

    memcpy(raw, data, size);
    raw[size] = '\0';
    size_t length = strlen(raw);
    if (prof__parse_int(raw, &number) == 0)
        FUZZ_PROMISE(length > 0);
    (void)prof__parse_address((const char *)data, size, &address);
    if (prof__target_parse(raw, &target) == 0) {
        FUZZ_PROMISE(strlen(target.path) <= length && strlen(target.query) <= length);
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            char value[16];
            int n = prof__param_text(target.query, names[i], value, sizeof(value));

            FUZZ_PROMISE(n < (int)sizeof(value));
            if (n >= 0)
                FUZZ_PROMISE(value[n] == '\0');
        }
    }
    free(raw);
    return 0;
}
