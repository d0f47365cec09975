/*
 * late_tls.c - a library with 64 bytes of initial-exec TLS.
 */
static _Thread_local char used[64] __attribute__((tls_model("initial-exec")));

int touch(void);

int touch(void)
{
    used[0]++;
    return used[0];
}
