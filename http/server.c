#include <errno.h>
#include <prof/http.h>
int prof_http_start(const char *addr) { return -ENOSYS; }
int prof_http_start_options(const char *addr, const struct prof_http_options *opts) { return -ENOSYS; }
int prof_http_stop(void) { return -EALREADY; }
int prof_http_address(char *buf, size_t size) { return -ENOTCONN; }
