/* Lets calls on the store's file fail as a broken disk would, while a file says so: the number of the error, how many of a
 * hundred calls, and which calls (w writes, s syncs, t truncates). Preloaded into the daemon, whose own threads
 * come here instead of to the C library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_store(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "/store.redb") != NULL;
}

static int fails(int fd, char call) {
    const char *name = getenv("CRASH_FAULT");
    FILE *file = name && is_store(fd) ? fopen(name, "re") : NULL;
    if (!file) return 0;
    int error = 0, percent = 0;
    char calls[8] = "";
    int read = fscanf(file, "%d %d %7s", &error, &percent, calls);
    fclose(file);
    if (read != 3 || !strchr(calls, call) || rand() % 100 >= percent) return 0;
    errno = error;
    return 1;
}

#define FORWARD(name, ...) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__)

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return fails(fd, 'w') ? -1 : FORWARD(pwrite64, fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return fails(fd, 'w') ? -1 : FORWARD(pwrite, fd, bytes, count, at);
}

int fsync(int fd) {
    return fails(fd, 's') ? -1 : FORWARD(fsync, fd);
}

int fdatasync(int fd) {
    return fails(fd, 's') ? -1 : FORWARD(fdatasync, fd);
}

int ftruncate64(int fd, off64_t length) {
    return fails(fd, 't') ? -1 : FORWARD(ftruncate64, fd, length);
}

int ftruncate(int fd, off_t length) {
    return fails(fd, 't') ? -1 : FORWARD(ftruncate, fd, length);
}
