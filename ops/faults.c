/* A disk that fails, for tests: preloaded, it counts the calls of a process upon files below $SHIM_ROOT, and fails the one that
   $FAULT_AT names (from 1), and with FAULT_STAYS=1 every later one of its kind, too.

   $FAULT_CALL is the kind of call that is counted: open, read, write, fsync or rename. $FAULT_ERROR is the number that errno gets; 0
   makes a read or a write short, by half. When the call is made, its path goes to the file $FAULT_SAID; without $FAULT_AT, the
   file gets one byte a call, so that its length says how many there are. `tests/durable/failing_calls.rs` tries one after the other.

       cc -shared -fPIC -O2 -o faults.so ops/faults.c
       LD_PRELOAD=./faults.so SHIM_ROOT=/the/folder FAULT_CALL=write FAULT_AT=7 FAULT_ERROR=28 FAULT_SAID=/elsewhere PROGRAM */
#include "shim.h"
#include <stdatomic.h>

static atomic_long calls;

static void say(const char *text, size_t length) {
    const char *path = getenv("FAULT_SAID");
    if (path == NULL) return;
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) return;
    if (syscall(SYS_write, file, text, length) < 0) abort();
    syscall(SYS_close, file);
}

/* -1 where the call goes on as ever, otherwise the error that it has; 0: it is short. */
static int fault(const char *call, const char *path) {
    const char *kind = getenv("FAULT_CALL"), *at = getenv("FAULT_AT"), *error = getenv("FAULT_ERROR");
    if (kind == NULL || strcmp(kind, call) != 0) return -1;
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (at == NULL) {
        say(".", 1);
        return -1;
    }
    long chosen = atol(at);
    if (number < chosen || (number > chosen && getenv("FAULT_STAYS") == NULL)) return -1;
    if (number == chosen) say(path, strlen(path));
    return error == NULL ? EIO : atoi(error);
}

static int fault_of(const char *call, int file) {
    char path[PATH_MAX];
    return getenv("FAULT_CALL") != NULL && strcmp(getenv("FAULT_CALL"), call) == 0 && path_of(file, path) ? fault(call, path) : -1;
}

static int failed(int error) {
    errno = error;
    return -1;
}

static int open_at(int at, const char *name, int flags, mode_t mode) {
    int file = (int)syscall(SYS_openat, at, name, flags, mode);
    char path[PATH_MAX];
    if (file < 0 || !path_of(file, path)) return file;
    int error = fault("open", path);
    if (error < 0) return file;
    syscall(SYS_close, file);
    return failed(error == 0 ? EIO : error);
}


/* How much of a call is made, or that it fails. */
static int is_failed(const char *call, int file, size_t *length) {
    int error = fault_of(call, file);
    if (error == 0 && *length > 1) *length /= 2;
    return error > 0 ? failed(error) : 0;
}

ssize_t read(int file, void *data, size_t length) {
    return is_failed("read", file, &length) ? -1 : syscall(SYS_read, file, data, length);
}
ssize_t pread(int file, void *data, size_t length, off_t at) {
    return is_failed("read", file, &length) ? -1 : syscall(SYS_pread64, file, data, length, at);
}
ssize_t pread64(int file, void *data, size_t length, off_t at) { return pread(file, data, length, at); }
ssize_t write(int file, const void *data, size_t length) {
    return is_failed("write", file, &length) ? -1 : syscall(SYS_write, file, data, length);
}
ssize_t pwrite(int file, const void *data, size_t length, off_t at) {
    return is_failed("write", file, &length) ? -1 : syscall(SYS_pwrite64, file, data, length, at);
}
ssize_t pwrite64(int file, const void *data, size_t length, off_t at) { return pwrite(file, data, length, at); }
ssize_t writev(int file, const struct iovec *parts, int count) {
    size_t whole = (size_t)count;
    return is_failed("write", file, &whole) ? -1 : syscall(SYS_writev, file, parts, (int)whole);
}

static int sync_file(int call, int file) {
    int error = fault_of("fsync", file);
    return error < 0 ? (int)syscall(call, file) : failed(error == 0 ? EIO : error);
}
int fsync(int file) { return sync_file(SYS_fsync, file); }
int fdatasync(int file) { return sync_file(SYS_fdatasync, file); }

/* Names that are changed: renamed, linked, removed, made. RocksDB and cloison give whole paths. */
static int is_refused(const char *path) {
    int error = is_below(path) ? fault("rename", path) : -1;
    return error < 0 ? 0 : failed(error == 0 ? EIO : error);
}
int rename(const char *from, const char *to) {
    return is_refused(to) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int link(const char *from, const char *to) {
    return is_refused(to) ? -1 : (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int linkat(int at, const char *from, int there, const char *to, int flags) {
    return is_refused(to) ? -1 : (int)syscall(SYS_linkat, at, from, there, to, flags);
}
int unlink(const char *path) { return is_refused(path) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0); }
int mkdir(const char *path, mode_t mode) {
    return is_refused(path) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
