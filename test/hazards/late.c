/*
 * late.c - libprof loaded by dlopen, when most of the static TLS reserve is used up: it loads or
 * is refused with a reason, and neither load nor unload hurts.
 *
 *   late PLUGIN TLS_LIBRARY...
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "check.h"

static void *allocate(void *arg)
{
    for (int i = 0; i < 1000; i++) {
        void *volatile p = malloc((size_t)i);
        free(p);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    int loaded = 0;

    for (int i = 2; i < argc; i++) {
        void *library = dlopen(argv[i], RTLD_NOW);
        int (*touch)(void) = library ? (int (*)(void))(uintptr_t)dlsym(library, "touch") : NULL;

        if (touch)
            loaded += touch();
        else /* the reserve is used up, which is what this is for */
            printf("%s\n", dlerror());
    }
    CHECK(loaded >= 10, "%d libraries have used up TLS", loaded);
    for (int i = 0; i < 3; i++) {
        void *plugin = dlopen(argv[1], RTLD_NOW);

        pthread_create(&thread, NULL, allocate, NULL);
        if (plugin) {
            int (*use)(void) = (int (*)(void))(uintptr_t)dlsym(plugin, "use_libprof");

            CHECK(use && use() == 0, "the plugin's libprof works");
        } else {
            const char *why = dlerror();

            CHECK(why && *why, "or there is a reason");
            printf("refused: %s\n", why ? why : "");
        }
        if (plugin)
            CHECK_INT(dlclose(plugin), 0, "dlclose");
        pthread_join(thread, NULL);
        allocate(NULL);
    }
    return check_report();
}
