/*
 * job.h - writing a profile that takes seconds, in a thread of its own.
 *
 * The server's thread, or the program's, goes on serving: an exchange starts a job and then waits
 * for short times until it is done. A job whose exchange has closed, since the client has left or
 * the server stops, is told so and ends by itself; and so do all, with -EAGAIN, when the threads
 * have to leave (prof_helper_can_leave()).
 */
#ifndef PROF_HTTP_JOB_H
#define PROF_HTTP_JOB_H

#include <prof/prof.h>
#include <stdbool.h>

#include "buffer.h"

struct prof__job;

/* Start writing. Options are copied, those of the scan too. 0; -EAGAIN: as many are under way as
 * may be, or threads of ours have to leave just now; -ENOMEM and the like when there is no thread.
 */
int prof__job_start(struct prof__job **ret_job, struct prof_profile *p,
                    const struct prof_write_options *options, const struct prof_scan_options *scan);

/* Is it done? Then *ret_result is what prof_profile_write() has returned, with its sentence in
 * `message` if that is an error, and what was written is in *ret_body. */
bool prof__job_done(struct prof__job *job, int *ret_result, char *message, size_t size,
                    struct prof__buffer *ret_body);

/* Give it up, or what is left of it; NULL is allowed. */
void prof__job_close(struct prof__job *job);

#endif
