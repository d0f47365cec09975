/*
 * server.c - prof_http_start() and prof_http_stop(): one server for each process, in one thread.
 *
 * The thread is a guest in somebody else's process, so it takes as little of it as can be:
 *
 *   signals       blocked, but for those by which a fault of its own shows (prof_helper_start()):
 *                 no other handler of the program's ever runs here
 *   descriptors   a table of its own, made by close_range(CLOSE_RANGE_UNSHARE), which keeps
 *                 nothing of the program's. A program that closes every descriptor does not hit
 *                 ours, nor do we keep its pipes open; children inherit nothing of us, by fork or
 *                 by exec. Even listening is done there, and its errors carried back. Where the
 *                 kernel or a filter refuses, or the process has a library that remembers numbers
 *                 (libunwind), close-on-exec and a fork handler stand in
 *   profiles      it is in none of them
 *
 * Two threads meet here, the program's and the server's; `control` is all they share. The server
 * thread owns its loop from opening to freeing it. prof_http_stop() cancels the thread where it
 * waits, and waits for it with a limit: one that is deep in a large profile is left to end by
 * itself.
 *
 * Around calls that are for processes of one thread the server's leaves (prof_helper_can_leave()).
 * Its loop stays, with all its connections, and a new thread goes on with it: what it had open it
 * has in a table of its own again (carry.h). Only who has been deep in a large profile for long
 * cannot leave then, and hands over when it is done.
 *
 * A forked child has no server and may start one: the fork handlers see to that.
 */
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <prof/capture.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <prof/vars.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "carry.h"
#include "clock.h"
#include "guard.h"
#include "loop.h"
#include "metrics.h"
#include "mhd.h"
#include "options.h"

#define STACK_BYTES (1024 * 1024)         /* names are looked up in debug information here */
#define STOP_NS     (SECOND_NS * 17 / 10) /* prof_http_stop() waits no longer */

enum state { STOPPED, STARTING, SERVING, STOPPING, MOVING };

/* The thread's part in MOVING. */
enum move { STAYS, IS_TO_LEAVE, HAS_LEFT, HAS_LOST_IT, LEAVES_LATE };

/* What a start hands to the new thread; on the starter's stack until it has reported. */
struct order {
    struct prof__loop *loop; /* to go on with, and nothing below counts; NULL: to be opened */
    int carried;             /* what brings its files; -1: they are here */
    bool alone;              /* the control socket, and no address */
    bool control;
    int control_fd, accepted_fd; /* as prof_http_control() was given them */
    struct prof__address address;
    const char *token, *hosts;
    unsigned max_connections;
    bool source;
    bool own; /* told by the thread */
    bool reported;
    int error;
    char reason[512];
};

/* Guarded by guard.h's lock. */
static struct {
    enum state state;
    enum move move;
    int move_error; /* of HAS_LOST_IT */
    pthread_t thread;
    bool own;   /* its descriptors are in a table of its own */
    bool alone; /* it serves on the control socket only */
    bool notes; /* prof_vars_start() wants its stop; of who starts and who stops */
    struct prof__carrier carrier;
    pid_t pid;               /* the process it serves in */
    struct prof__loop *loop; /* the thread's; NULL when it has gone, or was left to itself */
    struct prof__loop *left; /* those nobody may touch: a parent's, or one that lost its files */
    char name[320];          /* where it listens */
    struct prof__socket_file file; /* to be removed if the process exits while serving */
} control = { .carrier = { -1, -1, 0 } };

static bool is_changing(void)
{
    return control.state == STARTING || control.state == STOPPING || control.state == MOVING;
}

/* --- fork and exit ---------------------------------------------------------------------------- */

/* The thread, and whoever was starting or stopping it, stayed with the parent. */
static void forked(void)
{
    if (control.loop) {
        prof__loop_forked(control.loop);
        prof__loop_shelve(control.loop, &control.left);
    }
    control.loop = NULL;
    control.state = STOPPED;
    control.move = STAYS;
    control.file.path[0] = '\0';
    control.notes = control.alone = false;
    prof__metrics_forked();
    prof__carrier_close(&control.carrier.in);
    prof__carrier_close(&control.carrier.out);
}

static int start_thread(struct order *order);
static int leave(int timeout_ms);
static int come_back(void);

/* Before job.c says so: its threads have the server's table, so they leave it first. */
__attribute__((constructor(102))) static void set_up(void)
{
    prof__guard_in_child(forked);
    prof_helper_can_leave(leave, come_back);
}

/* A program that returns from main() while serving leaves no socket file behind. */
__attribute__((destructor)) static void remove_socket_file(void)
{
    struct prof__shield shield;

    prof__shield_raise(&shield);
    if (prof__guard_trylock()) { /* else another thread starts or stops it right now */
        if ((control.state == SERVING || control.state == MOVING) && control.pid == getpid())
            prof__socket_file_remove(&control.file);
        prof__guard_unlock();
    }
    prof__shield_lower(&shield);
}

/* --- the server's thread ---------------------------------------------------------------------- */

/* Go on with a loop that another thread had. */
static int take_over(struct order *order)
{
    int r = 0;

    if (order->carried >= 0)
        r = prof__table_leave(order->carried, 1) ? prof__carry_in(order->carried) : -EPERM;
    if (r < 0)
        snprintf(order->reason, sizeof(order->reason),
                 "what the server had open could not be taken to a new thread: %s", strerror(-r));
    return r;
}

static int open_loop(struct order *order, struct prof__loop **ret_loop)
{
    bool is_inherited = !order->alone && order->address.kind == PROF__ADDRESS_FD;
    int inherited = is_inherited ? order->address.fd : -1;
    int keep = order->alone ? order->control_fd : inherited;
    unsigned n_kept = order->accepted_fd >= 0 ? 2 : 1;

    if (keep >= 0 && fcntl(keep, F_GETFD) < 0) { /* before the table changes */
        snprintf(order->reason, sizeof(order->reason), "cannot listen on %s: %s",
                 order->alone ? "the control socket" : order->address.text, strerror(EBADF));
        return -EBADF;
    }
    bool own = prof__table_leave(keep, n_kept);
    struct prof__loop_setup setup = {
        .address = order->alone ? NULL : &order->address,
        .inherited_fd = inherited,
        .control = order->control,
        .control_fd = order->control_fd,
        .accepted_fd = order->accepted_fd,
        .own_descriptors = own,
        .token = order->token,
        .hosts = order->hosts,
        .max_connections = order->max_connections,
        .source = order->source,
    };
    int r = prof__loop_open(ret_loop, &setup, order->reason, sizeof(order->reason));
    if (r < 0)
        return r;
    if (own) {
        if (keep >= 0) /* our copies; the loop has its own */
            for (unsigned i = 0; i < n_kept; i++)
                close(keep + (int)i);
        prof__table_occupy_standard();
    }
    order->own = own;
    return 0;
}

/* Tell the starter, who then takes `order` away. */
static void report(struct order *order, int error, struct prof__loop *loop)
{
    prof__guard_lock();
    if (error == 0) {
        const struct prof__listener *listener = prof__loop_listener(loop);

        control.loop = loop;
        control.own = order->own;
        snprintf(control.name, sizeof(control.name), "%s", listener->name);
        control.file = listener->file;
    }
    order->error = error;
    order->reported = true;
    prof__guard_changed();
    prof__guard_unlock();
}

/* The thread was cancelled to make room. With the lock held, which it leaves meanwhile. True: the
 * loop is somebody else's now. */
static bool hand_over(struct prof__loop *loop)
{
    if (control.loop != loop || control.state != MOVING)
        return false;
    if (control.move == LEAVES_LATE) {
        prof__guard_unlock();
        struct order order = { .loop = loop, .carried = -1, .own = control.own };
        int r = start_thread(&order); /* it has this table, too */
        prof__guard_lock();
        control.state = r < 0 ? STOPPED : SERVING;
        control.move = STAYS;
        prof__guard_changed();
        return r == 0;
    }
    int r = control.own ? prof__carry_out(&control.carrier) : 0;
    control.move = r < 0 ? HAS_LOST_IT : HAS_LEFT;
    control.move_error = r;
    prof__guard_changed();
    return r == 0;
}

/* Cleanup handler: the thread was cancelled, or the loop has lost its descriptors. */
static void finish(void *arg)
{
    struct prof__loop *loop = arg;

    prof__guard_lock();
    bool handed_over = hand_over(loop);
    prof__guard_unlock();
    if (handed_over)
        return;
    bool closed = prof__loop_close(loop);
    prof__guard_lock();
    if (!closed)
        prof__loop_shelve(loop, &control.left);
    if (control.loop == loop) { /* else nobody waits any more, or another one serves by now */
        control.loop = NULL;
        prof__guard_changed();
    }
    prof__guard_unlock();
    if (closed)
        prof__loop_free(loop); /* now that nobody who forks knows of it */
}

static void *serve(void *arg)
{
    struct order *order = arg;
    struct prof__loop *loop = order->loop;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    int r = loop ? take_over(order) : open_loop(order, &loop);
    report(arg, r, loop);
    if (r < 0)
        return NULL;
    pthread_cleanup_push(finish, loop);
    prof__loop_run(loop);
    pthread_cleanup_pop(1);
    return NULL;
}

/* Start it, and wait for its report. */
static int start_thread(struct order *order)
{
    struct prof_helper helper = PROF_HELPER_INIT;
    helper.name = "prof-http";
    helper.stack_bytes = STACK_BYTES;
    helper.run = serve;
    helper.arg = order;
    int r = prof_helper_start(&helper, &control.thread);
    if (r < 0) {
        snprintf(order->reason, sizeof(order->reason), "cannot start the server's thread: %s",
                 strerror(-r));
        return r;
    }
    prof__guard_lock();
    while (!order->reported)
        prof__guard_wait(UINT64_MAX);
    prof__guard_unlock();
    if (order->error < 0)
        pthread_join(control.thread, NULL); /* it is done but for returning */
    return order->error;
}

/* --- the program's side ----------------------------------------------------------------------- */

static int stop(void);

static int start(struct order *order)
{
    void *frame;

    prof__guard_lock();
    while (control.state == STOPPING)
        prof__guard_wait(UINT64_MAX);
    if (control.state == SERVING && control.alone && !order->alone) {
        prof__guard_unlock();
        stop(); /* to begin again, with both */
        prof__guard_lock();
    }
    if (control.state != STOPPED) {
        prof__guard_unlock();
        snprintf(order->reason, sizeof(order->reason), "already serving");
        return -EALREADY;
    }
    control.state = STARTING;
    control.pid = getpid();
    prof__guard_unlock();
    /* pthread_cancel() loads libgcc_s when it is first called, and ends the process if it cannot.
     * This loads it too, and only says so. */
    int r = backtrace(&frame, 1) < 1 ? -ENOMEM : 0;
    if (r == 0)
        r = start_thread(order);
    else
        snprintf(order->reason, sizeof(order->reason), "cannot serve: out of memory");
    /* Who serves without is as good a server; its pages say why there is none. A server that could
     * not come back has left its start to this one. */
    if (r == 0 && !control.notes)
        control.notes = prof_vars_start() == 0;
    if (r == 0 && prof_capture_start(NULL) < 0) /* they go on when the server stops */
        prof_set_last_error(0, "%s", "");
    prof__guard_lock();
    control.state = r < 0 ? STOPPED : SERVING;
    control.alone = r == 0 && order->alone;
    prof__guard_changed();
    prof__guard_unlock();
    return r;
}

static int stop(void)
{
    bool in_time = true;

    prof__guard_lock();
    while (is_changing())
        prof__guard_wait(UINT64_MAX);
    if (control.state != SERVING) {
        prof__guard_unlock();
        return -EALREADY;
    }
    control.state = STOPPING;
    if (control.loop) /* else it has ended by itself */
        prof__loop_stop_soon(control.loop);
    pthread_t thread = control.thread;
    prof__guard_unlock();
    pthread_cancel(thread); /* the first one ever may load a library */
    prof__guard_lock();

    uint64_t end_ns = now_ns() + STOP_NS;
    while (control.loop && in_time)
        in_time = prof__guard_wait(end_ns);
    bool left_alone = control.loop != NULL;
    control.loop = NULL;
    prof__guard_unlock();

    /* Not under the lock, which the thread gives up last. */
    if (left_alone)
        pthread_detach(thread);
    else
        pthread_join(thread, NULL);

    if (control.notes)
        prof_vars_stop();
    control.notes = false;
    prof__guard_lock();
    control.state = STOPPED;
    control.alone = false;
    control.file.path[0] = '\0';
    prof__guard_changed();
    prof__guard_unlock();
    return left_alone ? -EINPROGRESS : 0;
}

/* --- leaving, and coming back ----------------------------------------------------------------- */

/* With the lock held, left meanwhile. */
static int make_room(uint64_t end_ns)
{
    pthread_t thread = control.thread;
    bool in_time = true;

    if (control.own) /* without a carrier it leaves all the same: what it had open is lost then */
        prof__carrier_open(&control.carrier);
    control.state = MOVING;
    control.move = IS_TO_LEAVE;
    prof__guard_unlock();
    pthread_cancel(thread);
    prof__guard_lock();
    while (control.move == IS_TO_LEAVE && control.loop && in_time)
        in_time = prof__guard_wait(end_ns);
    bool late = control.move == IS_TO_LEAVE && control.loop;
    if (late)
        control.move = LEAVES_LATE;
    prof__guard_unlock();
    if (late)
        pthread_detach(thread);
    else
        pthread_join(thread, NULL);
    prof__guard_lock();
    prof__carrier_close(&control.carrier.out);
    if (late)
        prof__carrier_close(&control.carrier.in);
    return late ? -ETIMEDOUT : 0;
}

static int leave(int timeout_ms)
{
    uint64_t end_ns = now_ns() + (uint64_t)timeout_ms * 1000000;
    struct prof__shield shield;
    bool in_time = true;
    int r = 0;

    prof__guard_enter(&shield);
    while (is_changing() && in_time)
        in_time = prof__guard_wait(end_ns);
    if (is_changing())
        r = -EBUSY;
    else if (control.state == SERVING && control.loop)
        r = make_room(end_ns);
    prof__guard_leave(&shield);
    return r;
}

static int come_back(void)
{
    struct prof__shield shield;
    int r = 0;

    prof__shield_raise(&shield);
    prof__guard_lock();
    struct order order = { .loop = control.loop,
                           .carried = control.carrier.in,
                           .own = control.own };
    bool wanted = control.state == MOVING && control.move != LEAVES_LATE;
    int lost = control.move == HAS_LOST_IT ? control.move_error : control.loop ? 0 : -EBADF;
    prof__guard_unlock();
    if (wanted) {
        if (lost)
            snprintf(order.reason, sizeof(order.reason),
                     "what the server had open could not be kept without its thread: %s",
                     strerror(-lost));
        r = lost ? lost : start_thread(&order);
        prof__guard_lock();
        prof__carrier_close(&control.carrier.in);
        if (r < 0 && control.loop) { /* whose files are closed by now */
            prof__socket_file_remove(&control.file);
            prof__loop_shelve(control.loop, &control.left);
            control.loop = NULL;
        }
        control.state = r < 0 ? STOPPED : SERVING;
        control.move = STAYS;
        prof__guard_changed();
        prof__guard_unlock();
    }
    prof__shield_lower(&shield);
    return r < 0 ? prof_set_last_error(r, "%s", order.reason) : 0;
}

/* -------------------------------------------------------------------------------------------- */

int prof_http_start(const char *addr)
{
    return prof_http_start_options(addr, NULL);
}

/* With what is asked for in `order` but the options. */
static int start_with(struct order *order, const struct prof_http_options *known)
{
    struct prof__shield shield;
    char own[32];

    order->token = known->token;
    order->hosts = known->hosts;
    order->max_connections = known->max_connections;
    order->source = known->source > 0;
    order->control = known->control > 0;
    snprintf(own, sizeof(own), "libprof-%d", (int)getpid());
    if (order->control && order->address.kind == PROF__ADDRESS_ABSTRACT &&
        strcmp(order->address.host, own) == 0)
        order->alone = true;
    prof__shield_raise(&shield);
    int r = start(order);
    prof__shield_lower(&shield);
    return r < 0 ? prof_set_last_error(r, "%s", order->reason) : 0;
}

int prof_http_start_options(const char *addr, const struct prof_http_options *opts)
{
    struct order order = { .carried = -1, .control_fd = -1, .accepted_fd = -1 };
    struct prof_http_options known;
    int r = prof__address_parse(addr, &order.address);

    if (r == 0)
        r = prof__mhd_need();
    if (r == 0)
        r = prof__options_read(opts, &known);
    return r < 0 ? r : start_with(&order, &known);
}

int prof_http_control(int listening, int accepted)
{
    struct order order = {
        .carried = -1, .alone = true, .control_fd = listening, .accepted_fd = accepted
    };
    struct prof_http_options known;
    int r = prof__mhd_need();

    if (accepted >= 0 && accepted != listening + 1)
        r = prof_set_last_error(-EINVAL, "the connection's number does not follow the socket's");
    if (r == 0)
        r = prof__options_read(NULL, &known);
    if (r == 0 && known.control < 0)
        r = prof_set_last_error(-ECANCELED, "LIBPROF_CONTROL=0 forbids it");
    return r < 0 ? r : start_with(&order, &known);
}

int prof_http_stop(void)
{
    struct prof__shield shield;

    prof__shield_raise(&shield);
    int r = stop();
    prof__shield_lower(&shield);
    if (r == -EALREADY)
        return prof_set_last_error(r, "not serving");
    if (r == -EINPROGRESS)
        return prof_set_last_error(r, "a request is still being answered; the address is free "
                                      "only when it is done");
    return r;
}

int prof_http_address(char *buf, size_t size)
{
    struct prof__shield shield;
    int r = -ENOTCONN;

    if (size && !buf)
        return prof_set_last_error(-EINVAL, "no buffer");
    prof__guard_enter(&shield);
    if (control.state == SERVING || control.state == MOVING)
        r = snprintf(buf, size, "%s", control.name);
    prof__guard_leave(&shield);
    return r < 0 ? prof_set_last_error(r, "not serving") : r;
}
