/*
 * temp_dir.h - files of a test's own, gone when it ends.
 */
#ifndef TEST_TEMP_DIR_H
#define TEST_TEMP_DIR_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char temp_dir[PATH_MAX];

static inline void temp_dir_remove(void)
{
    DIR *d = opendir(temp_dir);

    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(temp_dir);
}

static inline void temp_dir_make(void)
{
    const char *parent = getenv("TMPDIR");
    char made[PATH_MAX];

    snprintf(made, sizeof(made), "%s/libprof-test-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(made) || !realpath(made, temp_dir)) {
        perror(made);
        exit(2);
    }
}

/* A path in it; one of four buffers in turn. */
static inline const char *temp_path(const char *name)
{
    static char path[4][PATH_MAX + NAME_MAX + 2];
    static unsigned turn;
    char *p = path[turn++ % 4];

    snprintf(p, sizeof(path[0]), "%s/%s", temp_dir, name);
    return p;
}

/* A whole file in memory, or NULL. */
static inline char *read_whole(const char *path, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *bytes = NULL;

    if (fd >= 0 && fstat(fd, &st) == 0 && (bytes = malloc((size_t)st.st_size + 1)) != NULL) {
        *ret_size = (size_t)st.st_size;
        if (read(fd, bytes, *ret_size) != (ssize_t)*ret_size) {
            free(bytes);
            bytes = NULL;
        }
    }
    if (fd >= 0)
        close(fd);
    return bytes;
}

/* A new file; one of that name goes first, as an installer does it. */
static inline bool write_whole(const char *path, const char *bytes, size_t size)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    bool ok = fd >= 0 && write(fd, bytes, size) == (ssize_t)size;

    if (fd >= 0)
        close(fd);
    return ok;
}

static inline bool copy_file(const char *from, const char *to)
{
    size_t size;
    char *bytes = read_whole(from, &size);
    bool ok = bytes && write_whole(to, bytes, size);

    free(bytes);
    return ok;
}

#endif
