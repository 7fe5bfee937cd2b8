/* Preloaded into an engine: files whose path holds $FAULTY_PATH fail and dawdle as network storage does.
 *
 * The first $FAULTY_COUNT reads of them (-1: all) end in error number $FAULTY_ERRNO; every read takes $FAULTY_DELAY
 * microseconds. Opens of them count as reads.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed;

static int is_faulty_path(const char *path) {
    const char *wanted = getenv("FAULTY_PATH");
    return path && wanted && strstr(path, wanted) != NULL;
}

static int is_faulty(int descriptor) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_faulty_path(path);
}

static int fails(void) {
    const char *delay = getenv("FAULTY_DELAY"), *count = getenv("FAULTY_COUNT"), *number = getenv("FAULTY_ERRNO");
    if (delay) usleep(atoi(delay));
    if (!number) return 0;
    int limit = count ? atoi(count) : -1;
    if (limit >= 0 && __sync_fetch_and_add(&failed, 1) >= limit) return 0;
    errno = atoi(number);
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }

int open(const char *path, int flags, ...) {
    MODE(flags)
    if (is_faulty_path(path) && fails()) return -1;
    return REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    if (is_faulty_path(path) && fails()) return -1;
    return REAL(open64)(path, flags, mode);
}

FILE *fopen(const char *path, const char *how) {
    if (is_faulty_path(path) && fails()) return NULL;
    return REAL(fopen)(path, how);
}

FILE *fopen64(const char *path, const char *how) {
    if (is_faulty_path(path) && fails()) return NULL;
    return REAL(fopen64)(path, how);
}

ssize_t read(int descriptor, void *into, size_t count) {
    if (is_faulty(descriptor) && fails()) return -1;
    return REAL(read)(descriptor, into, count);
}

ssize_t pread(int descriptor, void *into, size_t count, off_t offset) {
    if (is_faulty(descriptor) && fails()) return -1;
    return REAL(pread)(descriptor, into, count, offset);
}

ssize_t pread64(int descriptor, void *into, size_t count, off64_t offset) {
    if (is_faulty(descriptor) && fails()) return -1;
    return REAL(pread64)(descriptor, into, count, offset);
}

size_t fread(void *into, size_t size, size_t count, FILE *file) {
    if (is_faulty(fileno(file)) && fails()) return 0;
    return REAL(fread)(into, size, count, file);
}
