/*
 * output.c - written beside, and renamed when it is whole.
 */
#include "tool/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int output_open(const struct ctl_options *o, struct output *out)
{
    *out = (struct output) { .file = stdout, .path = o->output };
    if (!o->output)
        return CTL_OK;
    struct stat st;
    if (stat(o->output, &st) == 0 && !S_ISREG(st.st_mode)) { /* a pipe or a device: written to */
        out->path = NULL;
        out->file = fopen(o->output, "we");
    } else {
        snprintf(out->beside, sizeof(out->beside), "%s.%d.tmp", o->output, (int)getpid());
        int fd = open(out->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        out->file = fd >= 0 ? fdopen(fd, "w") : NULL;
    }
    if (!out->file)
        return ctl_say(CTL_FAILED, "%s cannot be written: %s.", o->output, strerror(errno));
    return CTL_OK;
}

int output_close(struct output *out, int status)
{
    if (out->file == stdout)
        return status;
    bool is_whole = fflush(out->file) == 0 && !ferror(out->file);
    is_whole = fclose(out->file) == 0 && is_whole;
    if (out->path) {
        if (status == CTL_OK && is_whole && rename(out->beside, out->path) == 0) {
            fprintf(stderr, "profctl: written to %s\n", out->path);
            return CTL_OK;
        }
        int error = errno;
        unlink(out->beside);
        errno = error;
    }
    return status != CTL_OK || is_whole
               ? status
               : ctl_say(CTL_FAILED, "%s cannot be written: %s.", out->path, strerror(errno));
}
