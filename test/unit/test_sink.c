/*
 * test_sink.c - files that appear whole or not at all, whoever else writes the same name.
 */
#include "encode/sink.h"

#include <errno.h>
#include <pthread.h>

#include "check.h"
#include "temp_dir.h"

enum { THREADS = 4, ROUNDS = 300, PIECE = 1000, PIECES = 20 };

/* PIECES pieces of one letter, so that a reader sees whose it is and whether it is whole. */
static int write_letters(void *letter, prof_sink_fn *sink, void *arg)
{
    char piece[PIECE];

    memset(piece, *(char *)letter, sizeof(piece));
    for (int i = 0; i < PIECES; i++) {
        int r = sink(arg, piece, sizeof(piece));
        if (r < 0)
            return r;
    }
    return 0;
}

static int give_up(void *unused, prof_sink_fn *sink, void *arg)
{
    (void)unused;
    return sink(arg, "half", 4) < 0 ? -EIO : -ECANCELED;
}

static int files(void)
{
    DIR *d = opendir(temp_dir);
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static const char *same; /* the path that all write */
static int writers_left, failures;

static void *write_often(void *letter)
{
    for (int i = 0; i < ROUNDS; i++)
        if (prof__sink_file(same, write_letters, letter) != 0)
            __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
    __atomic_sub_fetch(&writers_left, 1, __ATOMIC_RELAXED);
    return NULL;
}

static bool is_whole(const char *path)
{
    size_t size = 0;
    char *bytes = read_whole(path, &size);
    bool whole = bytes && size == (size_t)PIECE * PIECES;

    for (size_t i = 1; whole && i < size; i++)
        whole = bytes[i] == bytes[0];
    free(bytes);
    return whole;
}

static void test_several_threads_write_one_path(void)
{
    pthread_t thread[THREADS];
    static char letter[THREADS] = { 'a', 'b', 'c', 'd' };
    int broken = 0, read = 0;

    same = temp_path("same");
    CHECK_INT(prof__sink_file(same, write_letters, &letter[0]), 0, "the first write");
    writers_left = THREADS;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, write_often, &letter[i]);
    while (__atomic_load_n(&writers_left, __ATOMIC_RELAXED)) {
        broken += !is_whole(same);
        read++;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    CHECK_INT(failures, 0, "writes that failed");
    CHECK_INT(broken, 0, "reads that found no whole file");
    CHECK(read > 0 && is_whole(same), "and in the end it is whole");
    CHECK_INT(files(), 1, "files left");
    unlink(same);
}

/* Names that the old scheme, and the first turns of this one, would take. */
static void test_what_lies_there_is_not_touched(void)
{
    const char *path = temp_path("x"), *victim = temp_path("victim");
    char name[64], taken[PATH_MAX + 64];
    char letter = 'e';
    size_t size = 0;
    struct stat st;

    CHECK(write_whole(victim, "precious", 8), "a file of somebody's");
    snprintf(name, sizeof(name), "x.%d.tmp", (int)getpid());
    snprintf(taken, sizeof(taken), "%s", temp_path(name));
    CHECK_INT(symlink(victim, taken), 0, "a link where the temporary file was expected");
    for (unsigned i = 0; i < 2000; i++) { /* more than the turns taken so far */
        snprintf(taken, sizeof(taken), "%s.%d.%u.tmp", path, (int)getpid(), i);
        if (i % 2 == 0)
            CHECK(symlink(victim, taken) == 0, "%s", taken);
    }
    CHECK_INT(prof__sink_file(path, write_letters, &letter), 0, "written beside them");
    CHECK(is_whole(path), "whole");
    char *bytes = read_whole(victim, &size);
    CHECK(bytes && size == 8 && memcmp(bytes, "precious", 8) == 0, "the other file is as it was");
    free(bytes);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600, "mode 0600");
}

static void test_an_error_leaves_nothing(void)
{
    int before = files();
    const char *path = temp_path("never");

    CHECK_INT(prof__sink_file(path, give_up, NULL), -ECANCELED, "the writer's error");
    CHECK_INT(files(), before, "files");
    CHECK_INT(prof__sink_file(temp_path("no/such/folder"), give_up, NULL), -ENOENT, "no folder");
    CHECK(strstr(prof_last_error(), "cannot create"), "%s", prof_last_error());
}

/* Whoever may not write a device must not replace it. */
static void test_a_special_file_is_never_replaced(void)
{
    const char *path = temp_path("pipe"), *locked = temp_path("socket");
    struct stat st;

    CHECK_INT(mkfifo(path, 0600), 0, "a pipe");
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    char letter = 'f', back[PIECE];
    CHECK_INT(prof__sink_file(path, write_letters, &letter), 0, "written to");
    CHECK(read(reader, back, sizeof(back)) == PIECE && back[0] == 'f', "it comes out");
    close(reader);
    CHECK(stat(path, &st) == 0 && S_ISFIFO(st.st_mode), "and is a pipe still");

    CHECK_INT(mknod(locked, S_IFSOCK | 0600, 0), 0, "a file that cannot be opened");
    CHECK_INT(prof__sink_file(locked, write_letters, &letter), -ENXIO, "refused");
    CHECK(stat(locked, &st) == 0 && S_ISSOCK(st.st_mode), "and is there still");
}

int main(void)
{
    temp_dir_make();
    test_several_threads_write_one_path();
    test_what_lies_there_is_not_touched();
    test_an_error_leaves_nothing();
    test_a_special_file_is_never_replaced();
    temp_dir_remove();
    return check_report();
}
