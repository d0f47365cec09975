/*
 * foreign.h - images of what is not ourselves: another process, and a core file.
 *
 * For tools. Neither is part of libprof: nothing here is linked into a program that is profiled.
 * Nothing is put into the other process, nothing is changed in it, and unless it is asked for
 * nothing of it is stopped.
 */
#ifndef PROF_IMAGE_FOREIGN_H
#define PROF_IMAGE_FOREIGN_H

#include <sys/user.h>

#include "image/image.h"
#include "symbol/modules.h"

/*
 * Another process, through process_vm_readv(2) and /proc/PID. Asks for what ptrace(2) calls
 * PTRACE_MODE_ATTACH, but attaches to nothing. Of a thread that waits the stack pointer is known
 * and the registers are not; of one that runs, neither.
 *
 * 0, -ENOMEM, -ESRCH, -EPERM, -ENOTSUP: of another processor; the sentence says what would help.
 */
int prof__image_process(struct prof__image *ret, pid_t pid);

/*
 * Registers and stack pointers of all threads, for which each is stopped for a moment: from the
 * next refresh() on, with every one. What a thread waits for in the kernel may answer EINTR, as
 * signal(7) says ("Interruption of system calls ... by stop signals"). A thread that does not stop
 * within 100 ms goes on and is counted among threads_silent.
 */
void prof__image_process_stop(struct prof__image *image, bool stop);

/* For how long the threads were stopped by the last refresh(), ns. */
int64_t prof__image_process_stopped_ns(const struct prof__image *image);

/*
 * A core file, of the kernel's or gdb's making. `sysroot` is where the files that it was mapped
 * from are: "" for here. `exe` stands for the program's own file, if it is elsewhere; NULL: it is
 * not. A file is used only if it has the build id that the core tells, where it tells one.
 *
 * 0, -ENOMEM, -errno of open(2), -ENOEXEC: is no core file, -ENOTSUP: one of another machine; the
 * sentence says which. A file that is cut short is read as far as it goes: image->absent_bytes.
 */
int prof__image_core(struct prof__image *ret, const char *path, const char *exe,
                     const char *sysroot);

/* What the kernel says of the process in the core. */
struct prof__core_about {
    int pid, signal;       /* 0: not told */
    const char *command;   /* "" if not told */
    const char *arguments; /* up to 80 bytes of them */
    size_t segments, threads;
    uint64_t file_bytes, absent_bytes; /* that there are; that should be too */
};
void prof__image_core_about(const struct prof__image *image, struct prof__core_about *ret);

/* Files that were mapped, are not in the core, and could not be had: "PATH: why", n of them. */
size_t prof__image_core_missing(const struct prof__image *image, const char *const **ret);

/* --- of both ---------------------------------------------------------------------------------- */

/* The objects whose code is mapped, with build ids from the image's memory: for symbolize.h. In
 * memory from `a`. 0 or -ENOMEM. */
int prof__image_modules(struct prof__image *image, struct prof__arena *a,
                        struct prof__modules *ret);

/* Ops of both. */
int prof__image_given_blocks(struct prof__image *image,
                             int (*each)(const struct prof__image_block *block, void *arg),
                             void *arg);
/* now_s() where there is no clock: when the youngest block was born. */
uint32_t prof__image_last_birth(struct prof__image *image);
const char *prof__image_function(struct prof__image *image, struct prof__arena *a, uint64_t pc);

/* A thread's pointers and all that its registers hold, as ptrace(2) and core(5) have them. */
void prof__image_take_registers(struct prof__image_thread *t, const struct user_regs_struct *r);

/* The build id that the object mapped at `start` has in memory; its size, 0: none to be had. */
uint8_t prof__image_build_id(struct prof__image *image, uint64_t start,
                             uint8_t ret_id[PROF__BUILD_ID_MAX]);

/* Why a process may not be read, and what would help, as the last error. Returns -EPERM. */
int prof__image_refused(pid_t pid);

#endif
