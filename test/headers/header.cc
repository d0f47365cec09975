/*
 * header.cc - one public header, first and alone, and what it offers to start from.
 */
#include PROF_HEADER

#ifdef PROF_WRITE_OPTIONS_INIT
extern struct prof_write_options write_options;
struct prof_write_options write_options = PROF_WRITE_OPTIONS_INIT;

extern struct prof_stats stats;
struct prof_stats stats = PROF_STATS_INIT;
#endif
#ifdef PROF_HTTP_OPTIONS_INIT
extern struct prof_http_options http_options;
struct prof_http_options http_options = PROF_HTTP_OPTIONS_INIT;
#endif

int main(void)
{
    return 0;
}
