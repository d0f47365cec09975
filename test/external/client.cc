/*
 * client.cc - somebody's C++ program, for build systems other than meson: it serves, and its heap
 * profile has its blocks. If the linker has dropped the hooks, it has not.
 */
#include <cstdio>
#include <memory>
#include <vector>

#include <prof/http.h>
#include <prof/prof.h>

int main()
{
    if (prof_http_start("127.0.0.1:0") < 0) {
        std::printf("cannot serve: %s\n", prof_last_error());
        return 1;
    }
    prof_set_heap_rate(1);
    std::make_unique<char[]>(2 << 20); /* until the rate is known here */

    std::vector<std::unique_ptr<char[]>> kept;
    for (int i = 0; i < 100; i++)
        kept.push_back(std::make_unique<char[]>(10000));

    struct prof_stats stats = PROF_STATS_INIT;
    prof_stats(&stats);
    prof_http_stop();
    if (!stats.heap_watched || stats.heap_inuse_bytes < 1000000) {
        std::printf("heap %s, %llu bytes in use\n", stats.heap_watched ? "watched" : "not watched",
                    static_cast<unsigned long long>(stats.heap_inuse_bytes));
        return 1;
    }
    return 0;
}
